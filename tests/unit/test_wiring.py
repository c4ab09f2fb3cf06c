"""The agent opens the journal under the lock, and rebuilds a lost or broken one from the releases on disk."""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Busy, Failed, ReleaseError
from release_agent.journal.journal import StateDatabase
from release_agent.model import Request, State
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.roots import install, release

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.store.root import Root


REBUILD = """
import sys
from pathlib import Path
from release_agent.system.clock import SystemClock
from release_agent.journal.journal import StateDatabase
from release_agent.journal.rebuild import rebuild
from release_agent.store.root import Root
class Slow(StateDatabase):
    def end(self, record, kind):
        super().end(record, kind)
        if record.release.startswith("000002"):
            print("half way", flush=True)
            sys.stdin.read()
root = Root(Path(sys.argv[1]), SystemClock())
rebuild(Slow(root.database, write=True), root.releases(), root.current().name)
"""


@pytest.fixture
def parts(tmp_path: Path) -> Parts:
    """The parts of a container whose root is ``tmp_path/root``."""
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{tmp_path}/root"\n'
    repository = f'[[repository]]\nname = "api"\npath = "{tmp_path}/nowhere"\n'
    return Parts(configuration("[consul]\nenabled = false\n", app=app, repository=repository), SystemClock(), {})


def publish(root: Root, number: int) -> None:
    what = install(root, number)
    root.save(replace(what, published_at=f"2024-01-{number:02d}T00:00:00.000000Z"))
    root.publish(what.name)


def events(capsys: pytest.CaptureFixture[str]) -> list[str]:
    return [json.loads(line)["event"] for line in capsys.readouterr().err.splitlines()]


def test_a_new_roots_journal_is_new(parts: Parts, capsys: pytest.CaptureFixture[str]) -> None:
    with parts.locked(Request("d-1")) as context:
        assert context.journal.unfinished() == []

    assert events(capsys) == []


def test_a_lost_journal_is_rebuilt_and_said(parts: Parts, root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    for number in (1, 2):
        publish(root, number)

    with parts.locked(Request("d-1")) as context:
        assert context.journal.line() == [release(1).name, release(2).name]

    assert events(capsys) == ["journal.rebuilt"]


def test_a_broken_journal_is_set_aside_and_rebuilt(parts: Parts, root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    publish(root, 1)
    root.database.write_bytes(b"broken" * 1000)

    with parts.locked(Request("d-1")) as context:
        assert context.journal.line() == [release(1).name]

    assert events(capsys) == ["journal.set_aside", "journal.rebuilt"]
    (aside,) = root.own.glob("state.db.broken-*")
    assert aside.read_bytes() == b"broken" * 1000


def test_a_journal_that_was_made_and_never_written_is_rebuilt(parts: Parts, root: Root) -> None:
    publish(root, 1)
    root.database.touch()

    with parts.locked(Request("d-1")) as context:
        assert context.journal.line() == [release(1).name]


def test_a_rebuilding_that_was_killed_is_done_again_whole(parts: Parts, root: Root) -> None:
    for number in (1, 2, 3):
        publish(root, number)
    with subprocess.Popen(
        [sys.executable, "-P", "-c", REBUILD, root.path], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as rebuilding:
        assert rebuilding.stdout
        assert rebuilding.stdout.readline() == b"half way\n"
        rebuilding.kill()

    with parts.locked(Request("d-1")) as context:
        assert context.journal.line() == [release(number).name for number in (1, 2, 3)]
        assert context.journal.unfinished() == []


def test_a_journal_of_another_layout_is_refused_and_left_where_it_is(parts: Parts, root: Root) -> None:
    publish(root, 1)
    with StateDatabase(root.database, write=True):
        pass
    with sqlite3.connect(root.database) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()

    with pytest.raises(Failed, match="its layout is 99"), parts.locked(Request("d-1")):
        pass

    assert list(root.own.glob("state.db.broken-*")) == []


def test_a_good_journal_is_left_alone(parts: Parts, root: Root, capsys: pytest.CaptureFixture[str]) -> None:
    publish(root, 1)
    with parts.locked(Request("d-1")) as context:
        context.journal.pin("v1.0.0")
    capsys.readouterr()

    with parts.locked(Request("d-2")) as context:
        assert context.journal.pinned() == "v1.0.0"
    assert events(capsys) == []


def test_what_a_killed_run_left_is_gone_once_the_lock_is_held(parts: Parts, root: Root) -> None:
    install(root, 1, State.BUILT)
    (root.incoming / "left").touch()

    with parts.locked(Request("d-1")):
        assert not (root.incoming / "left").exists()


def test_the_lock_is_held_meanwhile_and_free_afterwards(parts: Parts, root: Root) -> None:
    with parts.locked(Request("d-1")):
        with pytest.raises(Busy), parts.locked(Request("d-2")):
            pass
        holder = root.holder()
        assert holder is not None
        assert holder["id"] == "d-1"

    with parts.locked(Request("d-3")):
        pass


def test_views_of_repositories_are_gone_afterwards(parts: Parts, root: Root) -> None:
    with parts.locked(Request("d-1")) as context, pytest.raises(ReleaseError):
        context.source.tags()

    assert list(root.incoming.iterdir()) == []
