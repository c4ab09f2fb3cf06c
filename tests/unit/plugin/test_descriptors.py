"""No call leaves a descriptor of the journal open in supervisord, which would later close another file's."""

from __future__ import annotations

import gc
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
from supervisor.states import SupervisorStates
from supervisor.xmlrpc import RPCError

from release_agent.health import Health
from release_agent.journal.journal import StateDatabase
from release_agent.plugin.rpcinterface import ReleaseRPCInterface, make_rpcinterface
from support.configuration import write
from support.roots import install
from support.runs import Runs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from release_agent.store.root import Root

LOCKER = """
import sqlite3, sys
db = sqlite3.connect(sys.argv[1], isolation_level=None)
db.execute("BEGIN EXCLUSIVE")
print("locked", flush=True)
sys.stdin.read()
"""
CALLS: dict[str, tuple[Any, ...]] = {"getStatus": (), "getHistory": (5,), "getDeployment": ("d-1",)}


@pytest.fixture(autouse=True)
def collector_off() -> Iterator[None]:
    """Only what is closed is closed: nothing is collected."""
    gc.disable()
    yield
    gc.enable()


@pytest.fixture
def release(tmp_path: Path, root: Root) -> ReleaseRPCInterface:
    """The plugin in a supervisord without programs, for a root in which one release is live."""
    root.publish(install(root, 1).name)
    with StateDatabase(root.database, write=True) as journal:
        Runs(journal).deploy("1")
        journal.found(Health.of())
    config = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{root.path}"\n[[repository]]\nname = "api"\npath = "/nowhere"\n'
    options = SimpleNamespace(mood=SupervisorStates.RUNNING, logger=SimpleNamespace(error=lambda *_, **__: None))
    supervisord = SimpleNamespace(options=options, process_groups={})
    return make_rpcinterface(supervisord, config=write(tmp_path / "release-agent.toml", config))


def _opened(root: Root) -> list[str]:
    links = [entry.readlink() for entry in Path("/proc/self/fd").iterdir() if entry.is_symlink()]
    return [link.name for link in links if link.name.startswith("state.db") and link.parent == root.own]


@pytest.mark.parametrize("method", CALLS)
def test_call_that_succeeds_leaves_none(release: ReleaseRPCInterface, root: Root, method: str) -> None:
    with StateDatabase(root.database):
        assert _opened(root) == ["state.db"], "it can be seen"

    assert getattr(release, method)(*CALLS[method])

    assert _opened(root) == []


def _garbage_in_a_row(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.executescript("UPDATE deployment SET record = '[1]', outcome = NULL; UPDATE setting SET value = '{'")


def _other_tables(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.executescript("DROP TABLE deployment; DROP TABLE setting")


def _other_layout(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA user_version = 9")


def _no_database(database: Path) -> None:
    database.write_bytes(b"no database at all" * 100)


def _torn(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:100] + bytes(8192))


@pytest.mark.parametrize("spoil", [_garbage_in_a_row, _other_tables, _other_layout, _no_database, _torn])
@pytest.mark.parametrize("method", CALLS)
def test_call_that_fails_leaves_none_while_its_fault_is_still_held(
    release: ReleaseRPCInterface, root: Root, method: str, spoil: Callable[[Path], None]
) -> None:
    spoil(root.database)

    with pytest.raises(RPCError) as fault:
        getattr(release, method)(*CALLS[method])

    assert fault.value.__traceback__, "its frames are still there"
    assert _opened(root) == []


def test_unknown_deployment_leaves_none(release: ReleaseRPCInterface, root: Root) -> None:
    with pytest.raises(RPCError, match="there is no deployment d-9"):
        release.getDeployment("d-9")

    assert _opened(root) == []


def test_journal_that_another_process_keeps_locked_leaves_none(release: ReleaseRPCInterface, root: Root) -> None:
    with subprocess.Popen(
        [sys.executable, "-P", "-c", LOCKER, root.database], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    ) as locker:
        assert locker.stdout
        assert locker.stdout.readline() == b"locked\n"
        for method, arguments in CALLS.items():
            with pytest.raises(RPCError, match="locked"):
                getattr(release, method)(*arguments)

        assert _opened(root) == []
        assert locker.stdin
        locker.stdin.close()
