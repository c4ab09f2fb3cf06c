"""The journal's file: the agent makes it, reads it beside a writer, and handles a lost or broken one."""

from __future__ import annotations

import gc
import os
import signal
import sqlite3
import subprocess
import sys
from contextlib import closing, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.journal.database import is_broken, set_aside
from release_agent.journal.journal import StateDatabase
from release_agent.model import Request
from support.privileges import unprivileged
from support.roots import small_disk

if TYPE_CHECKING:
    from collections.abc import Callable

WRITER = """
import sys
from pathlib import Path
from release_agent.journal.journal import StateDatabase
from release_agent.model import Request
journal = StateDatabase(Path(sys.argv[1]), write=True)
journal.begin(Request("killed"), "2024-01-01T00:00:00.000000Z")
print("journaled", flush=True)
sys.stdin.read()
"""
HALF_WRITER = """
import os, sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("PRAGMA cache_size = 2")  # pages: what does not fit is written before the commit
db.execute("BEGIN")
for number in range(200):
    db.execute("INSERT INTO setting VALUES (?,?)", (f"s-{number}", "x" * 1000))
os.kill(os.getpid(), 9)
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the journal is."""
    return tmp_path / "state.db"


def written(path: Path, count: int = 1) -> Path:
    """Make a journal in which something is."""
    with StateDatabase(path, write=True) as journal:
        for number in range(count):
            journal.begin(Request(f"d-{number}"), "2024-01-01T00:00:00.000000Z")
            journal.hook(f"d-{number}", "build", "make", "exited with 0", "x" * 2000)
    return path


def ids(path: Path, *, write: bool = False) -> list[str]:
    """The deployments in a journal, newest first."""
    with StateDatabase(path, write=write) as journal:
        return [entry["id"] for entry in journal.history()]


def unusable(path: Path, *, write: bool = False) -> Failed:
    with pytest.raises(Failed) as failed:
        ids(path, write=write)
    assert str(path) in failed.value.message
    return failed.value


def test_reading_where_nothing_is_finds_an_empty_journal_and_makes_no_file(path: Path) -> None:
    assert ids(path) == []
    assert ids(path.parent / "nowhere" / "state.db") == []

    assert list(path.parent.iterdir()) == []


def test_what_was_journaled_is_there_for_the_next_run(path: Path) -> None:
    written(path, 3)

    assert ids(path) == ids(path, write=True) == ["d-2", "d-1", "d-0"]


def test_what_was_journaled_outlives_a_kill(path: Path) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", WRITER, path], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout
        assert process.stdout.readline() == "journaled\n"
        os.kill(process.pid, signal.SIGKILL)

    assert ids(path) == ["killed"]


def test_a_reader_undoes_what_a_killed_writer_left_half_written(path: Path) -> None:
    written(path)
    subprocess.run([sys.executable, "-P", "-c", HALF_WRITER, path], check=False)
    assert path.with_name("state.db-journal").exists()

    assert ids(path) == ["d-0"]
    assert [file.name for file in path.parent.iterdir()] == ["state.db"]


def test_others_may_not_read_what_hooks_said(path: Path) -> None:
    assert written(path).stat().st_mode & 0o777 == 0o640


def test_a_reader_leaves_no_file_beside_it(path: Path) -> None:
    written(path)

    before = {file.name for file in path.parent.iterdir()}

    ids(path)

    assert {file.name for file in path.parent.iterdir()} == before


def test_a_reader_cannot_write(path: Path) -> None:
    with StateDatabase(written(path)) as journal:
        with pytest.raises(Failed) as failed:
            journal.pin("v1")
        assert journal.pinned() is None

    assert failed.value.code is Code.JOURNAL_BROKEN


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


@pytest.mark.needs("mount")
def test_a_full_disk_is_said_so(tmp_path: Path) -> None:
    with (
        small_disk(tmp_path / "disk", "128k") as disk,
        StateDatabase(disk / "state.db", write=True) as journal,
        pytest.raises(Failed) as failed,
    ):
        journal.hook("d-1", "build", "make", "exited with 0", "x" * (1 << 18))

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


def opened(path: Path) -> list[str]:
    """The files beside ``path`` that this process has open."""
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [link.name for link in links if link.parent == path.parent]


@pytest.mark.parametrize("write", [False, True])
def test_no_descriptor_is_open_after_the_context(path: Path, write: bool) -> None:
    with StateDatabase(written(path), write=write) as journal:
        journal.history()
        assert opened(path) == ["state.db"]

    assert opened(path) == []


def _another_layout(path: Path) -> None:
    with closing(sqlite3.connect(written(path))) as db:
        db.execute("PRAGMA user_version = 99")


def _no_database(path: Path) -> None:
    path.write_bytes(b"not a database, for sure" * 100)


def _being_made(path: Path) -> None:
    path.touch()


@pytest.mark.parametrize("spoil", [_another_layout, _no_database, _being_made])
def test_no_descriptor_stays_open_in_a_reader_that_could_not_use_the_file(path: Path, spoil: Callable[[Path], None]) -> None:
    spoil(path)
    gc.disable()
    try:
        with suppress(Failed), StateDatabase(path):
            assert opened(path) == []
        assert opened(path) == []
    finally:
        gc.enable()


def test_no_descriptor_stays_open_in_a_writer_that_could_not_use_the_file(path: Path) -> None:
    _another_layout(path)
    with pytest.raises(Failed) as failed:
        StateDatabase(path, write=True)

    assert failed.value.__traceback__, "its frames are still there"
    assert opened(path) == []


def test_what_is_written_in_a_transaction_is_there_whole_or_not_at_all(path: Path) -> None:
    with StateDatabase(written(path), write=True) as journal:
        with pytest.raises(Failed), journal.transaction():  # noqa: PT012 - the second of two
            journal.begin(Request("d-1"), "2024-01-01T00:00:00.000000Z")
            journal.begin(Request("d-1"), "2024-01-01T00:00:00.000000Z")
        assert ids(path) == ["d-0"]
        with journal.transaction():
            journal.begin(Request("d-2"), "2024-01-01T00:00:00.000000Z")

    assert ids(path) == ["d-2", "d-0"]


def test_who_may_not_read_the_journal_is_told_which_user_to_be(open_place: Path) -> None:
    place = open_place / "state.db"
    with StateDatabase(place, write=True):
        pass
    os.chown(place, 12345, 12345)

    with unprivileged(), pytest.raises(Failed) as refused, StateDatabase(place):
        pass

    assert refused.value.hint == f"run it as 12345, who owns {place}, or as root"
