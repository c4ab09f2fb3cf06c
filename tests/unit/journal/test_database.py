"""The journal's file: made, lost, broken, rebuilt."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.journal.journal import StateDatabase, is_broken, set_aside
from release_agent.model import Request, State
from support.privileges import unprivileged
from support.roots import release, small_disk

if TYPE_CHECKING:
    from pathlib import Path

WRITER = """
import sys
from pathlib import Path
from release_agent.journal.journal import StateDatabase
from release_agent.model import Request
journal = StateDatabase(Path(sys.argv[1]), write=True)
journal.open(Request("killed"), "2024-01-01T00:00:00.000000Z")
print("journaled", flush=True)
sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "state.db"


def written(path: Path, count: int = 1) -> Path:
    """Make a journal in which something is."""
    journal = StateDatabase(path, write=True)
    for number in range(count):
        journal.open(Request(f"d-{number}"), "2024-01-01T00:00:00.000000Z")
        journal.hook(f"d-{number}", "build", "make", "exited with 0", "x" * 2000)
    journal.close_database()
    return path


def unusable(path: Path, *, write: bool = False) -> Failed:
    with pytest.raises(Failed) as failed:
        StateDatabase(path, write=write).history()
    assert str(path) in failed.value.message
    return failed.value


def test_reading_where_nothing_is_finds_an_empty_journal_and_makes_no_file(path: Path) -> None:
    assert StateDatabase(path).history() == []
    assert StateDatabase(path.parent / "nowhere" / "state.db").is_empty()

    assert list(path.parent.iterdir()) == []


def test_what_was_journaled_is_there_for_the_next_run(path: Path) -> None:
    written(path, 3)

    assert [entry["id"] for entry in StateDatabase(path).history()] == ["d-2", "d-1", "d-0"]
    assert len(StateDatabase(path, write=True).history()) == 3


def test_what_was_journaled_outlives_a_kill(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "journaled\n"
        os.kill(process.pid, signal.SIGKILL)

    assert [left.request.id for left in StateDatabase(path).unfinished()] == ["killed"]


def test_others_may_not_read_what_hooks_said(path: Path) -> None:
    assert written(path).stat().st_mode & 0o777 == 0o640


def test_a_reader_leaves_no_file_beside_it(path: Path) -> None:
    written(path)

    StateDatabase(path).history()

    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


def test_a_reader_cannot_write(path: Path) -> None:
    with pytest.raises(Failed) as failed:
        StateDatabase(written(path)).pin("v1")

    assert failed.value.code is Code.JOURNAL_BROKEN
    assert StateDatabase(path).pinned() is None


def test_a_good_journal_is_not_broken_nor_is_a_missing_one(path: Path) -> None:
    assert not is_broken(path)
    assert not is_broken(written(path))


@pytest.mark.parametrize("content", [b"not a database, for sure" * 100, b"SQLite format 3\0" + b"\xff" * 4000])
def test_a_file_that_is_no_journal_is_broken(path: Path, content: bytes) -> None:
    path.write_bytes(content)

    assert is_broken(path)
    assert unusable(path).code is unusable(path, write=True).code is Code.JOURNAL_BROKEN


def test_a_journal_with_a_page_torn_in_the_middle_is_broken(path: Path) -> None:
    written(path, 40)
    with path.open("r+b") as file:
        file.seek(path.stat().st_size // 2)
        file.write(b"\xff" * 8192)

    assert is_broken(path)


def test_a_journal_that_lost_its_end_is_broken(path: Path) -> None:
    written(path, 40)
    os.truncate(path, path.stat().st_size // 2)

    assert is_broken(path)


def test_a_journal_of_another_layout_is_refused(path: Path) -> None:
    with sqlite3.connect(written(path)) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    error = unusable(path, write=True)

    assert error.code is unusable(path).code is Code.JOURNAL_BROKEN
    assert "its layout is 99, not 1" in error.message


def test_a_journal_that_may_not_be_read_is_unusable_and_not_broken(open_place: Path) -> None:
    path = written(open_place / "state.db")
    path.chmod(0o600 if os.geteuid() == 0 else 0)

    with unprivileged():
        error = unusable(path)
        assert not is_broken(path)
    path.chmod(0o600)

    assert error.code is Code.JOURNAL_BROKEN


def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "128k") as disk:
        journal = StateDatabase(disk / "state.db", write=True)
        with pytest.raises(Failed) as failed:
            journal.hook("d-1", "build", "make", "exited with 0", "x" * (1 << 18))
        journal.close_database()

    assert failed.value.code is Code.DISK_FULL


def test_a_broken_journal_is_set_aside_with_what_belongs_to_it(path: Path) -> None:
    path.write_bytes(b"broken")
    path.with_name("state.db-journal").write_bytes(b"hot")

    aside = set_aside(path)

    assert aside.read_bytes() == b"broken"
    assert aside.with_name(aside.name + "-journal").read_bytes() == b"hot"
    assert aside.name.startswith("state.db.broken-")
    assert len(list(path.parent.iterdir())) == 2


def test_two_broken_journals_can_be_set_aside(path: Path) -> None:
    asides = []
    for _ in range(2):
        path.write_bytes(b"broken")
        asides.append(set_aside(path))

    assert all(aside.exists() for aside in asides)
    assert asides[0] != asides[1]


def rebuilt(path: Path, states: dict[int, State], current: int | None) -> StateDatabase:
    """Rebuild a journal from releases that were published on the day of their number."""
    releases = [release(n, state, published_at=f"2024-01-{n:02d}T00:00:00.000000Z") for n, state in states.items()]
    journal = StateDatabase(path, write=True)
    journal.rebuild(releases, release(current).name if current else None)
    return journal


def test_a_journal_is_rebuilt_from_the_releases_there_are(path: Path) -> None:
    journal = rebuilt(path, {1: State.HEALTHY, 2: State.FAILED, 3: State.HEALTHY}, 3)

    assert journal.line() == [release(1).name, release(3).name]
    assert journal.unfinished() == []
    assert [(entry["outcome"], entry["trigger"]) for entry in journal.history()] == [
        ("deployed", "rebuilt"),
        ("rolled-back", "rebuilt"),
        ("deployed", "rebuilt"),
    ]
    assert journal.history()[0]["started_at"] == "2024-01-03T00:00:00.000000Z"
    assert journal.last_number() == 3


def test_a_rebuilt_journal_knows_what_tags_named_and_what_was_live_when(path: Path) -> None:
    journal = rebuilt(path, {1: State.HEALTHY, 3: State.HEALTHY}, 3)
    second_of_january = 1704153600

    assert journal.deployed_commits("v1.0.0") == release(1).commits
    assert journal.live_at(second_of_january) == release(1).name


def test_a_live_release_that_is_not_the_newest_ends_the_rebuilt_line(path: Path) -> None:
    journal = rebuilt(path, {1: State.HEALTHY, 2: State.HEALTHY, 3: State.HEALTHY}, 2)

    assert journal.line() == [release(1).name, release(2).name]
    assert journal.history()[0]["release"] == release(2).name
    assert journal.live_at(4102444800) == release(2).name


def test_releases_that_were_never_published_are_not_in_a_rebuilt_journal(path: Path) -> None:
    journal = StateDatabase(path, write=True)

    journal.rebuild([release(1), release(2, State.BUILT, published_at="2024-01-02T00:00:00.000000Z")], None)

    assert journal.is_empty()


def test_a_failed_release_that_is_live_is_not_on_the_rebuilt_line(path: Path) -> None:
    journal = rebuilt(path, {1: State.FAILED, 2: State.HEALTHY}, 1)

    assert journal.line() == [release(2).name]
