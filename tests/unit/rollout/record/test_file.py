"""The record of rollouts in a file: its place, its readers, and the messages if it cannot be used."""

from __future__ import annotations

import json
import os
import sqlite3
import stat
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, RecordUnreachable
from release_agent.model import Completed
from release_agent.rollout.model import Order
from release_agent.rollout.record.file import FileRolloutStore, default_path
from release_agent.system.flock import Flock
from support.rollouts import a_rollout

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_where_a_users_state_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert default_path({"XDG_STATE_HOME": "/var/state"}).as_posix() == "/var/state/release-agent/rollouts.db"
    for unset in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):
        assert default_path(unset) == tmp_path / ".local/state/release-agent/rollouts.db"


def test_user_without_a_home_is_asked_for_another_place(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HOME")
    monkeypatch.setattr(os, "getuid", lambda: 54_321)  # as in a container that runs under any id

    with pytest.raises(RecordUnreachable, match=r"this user \(54321\) has no home directory") as refused:
        default_path({})

    assert "XDG_STATE_HOME" in refused.value.hint
    assert default_path({"XDG_STATE_HOME": "/var/state"}).is_relative_to("/var/state")


def test_it_is_for_this_user_alone(tmp_path: Path) -> None:
    path = tmp_path / "state" / "release-agent" / "rollouts.db"

    FileRolloutStore(path).begin(a_rollout())

    assert _mode(path.parent) == 0o700
    assert {_mode(file) for file in path.parent.iterdir()} == {0o600}
    assert [file.name for file in path.parent.glob("*.lock")] == ["production,api.lock"]


def test_record_may_be_opened_while_another_writes(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    first = FileRolloutStore(path)
    first.begin(a_rollout("rollout-1"))

    assert FileRolloutStore(path).read("rollout-1") == a_rollout("rollout-1")


def test_abort_that_waits_in_an_older_agents_file_waits_on(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    begun = FileRolloutStore(path)
    begun.begin(a_rollout("rollout-1"))
    begun.release()
    with closing(sqlite3.connect(path)) as older:
        older.executescript(
            "DROP TABLE frozen; DROP TABLE waiting;"
            "CREATE TABLE wish (rollout TEXT PRIMARY KEY, body TEXT NOT NULL); PRAGMA user_version = 1;"
            """INSERT INTO wish VALUES ('rollout-1', '{"verb": "abort", "who": "ada@ops", "at": "2026-11-01T10:00:00Z"}')"""
        )

    store = FileRolloutStore(path)

    (order,) = store.waiting("rollout-1")
    assert (order.verb, order.who) == ("abort", "ada@ops")
    store.take("rollout-1")
    store.acknowledge(order)
    assert store.waiting("rollout-1") == []


def _no_directory(path: Path) -> None:
    path.parent.write_text("a file where a directory is to be")


def _no_database(path: Path) -> None:
    path.parent.mkdir()
    path.write_text("this is no database, and long enough for SQLite to see that it is none" * 20)


def _another_layout(path: Path) -> None:
    path.parent.mkdir()
    with sqlite3.connect(path) as db:
        db.execute("PRAGMA user_version = 99")
    db.close()


@pytest.mark.parametrize(
    ("spoil", "why"),
    [
        (_no_directory, "File exists|Not a directory"),
        (_no_database, "file is not a database"),
        (_another_layout, "made by a newer version of release-agent"),
    ],
)
def test_file_that_cannot_be_used_is_said_in_words(tmp_path: Path, spoil: object, why: str) -> None:
    path = tmp_path / "state" / "rollouts.db"
    spoil(path)  # type: ignore[operator]

    with pytest.raises(RecordUnreachable, match=why) as refused:
        FileRolloutStore(path)

    assert refused.value.code == Code.RECORD_UNREACHABLE
    assert str(path) in refused.value.message
    assert "XDG_STATE_HOME" in refused.value.hint


def _link(place: Path) -> None:
    place.symlink_to(place.with_name("elsewhere"))


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _link])
@pytest.mark.parametrize("name", ["rollouts.db", "rollouts.db-journal"])
def test_record_that_is_no_file_is_refused_and_neither_waited_for_nor_followed(
    tmp_path: Path, name: str, make: Callable[[Path], None]
) -> None:
    make(tmp_path / name)

    with pytest.raises(RecordUnreachable, match=f"{name} is not a regular file") as refused:
        FileRolloutStore(tmp_path / "rollouts.db")

    assert "remove it if it is not a file" in refused.value.hint
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir, _link])
def test_lock_that_is_no_file_is_refused_and_neither_waited_for_nor_followed(
    tmp_path: Path, make: Callable[[Path], None]
) -> None:
    record = FileRolloutStore(tmp_path / "rollouts.db")
    (tmp_path / "elsewhere").touch()
    make(tmp_path / "production,api.lock")

    for use in (lambda: record.begin(a_rollout()), lambda: record.holder("api", "production")):
        with pytest.raises(RecordUnreachable, match=r"production,api\.lock"):
            use()

    assert record.all() == []
    assert (tmp_path / "elsewhere").read_bytes() == b""


def test_begin_that_fails_leaves_no_rollout_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    record = FileRolloutStore(path)
    rollout = a_rollout("rollout-2")
    rollout.hosts["host-1"].why = object()  # type: ignore[assignment]

    with pytest.raises(RecordUnreachable):
        record.begin(rollout)

    assert record.all() == []
    FileRolloutStore(path).begin(a_rollout("rollout-1"))


def _add(path: Path, **more: str) -> None:
    """Write into every row as a newer agent would."""
    with closing(sqlite3.connect(path)) as db:
        for table, column in (("rollout", "plan"), ("host", "body"), ("completed", "body"), ("waiting", "body")):
            for (body,) in db.execute(f"SELECT {column} FROM {table}").fetchall():  # noqa: S608 - names from here
                values = (json.dumps(json.loads(body) | more), body)
                db.execute(f"UPDATE {table} SET {column} = ? WHERE {column} = ?", values)  # noqa: S608
        db.commit()


def test_what_a_newer_agent_added_hides_nothing(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    rollout, completed = a_rollout(), Completed("rollout-0", "v1.3.0", {"api": "b" * 40})
    order = Order("pause", "eve@laptop")
    running, looking = FileRolloutStore(path), FileRolloutStore(path)
    running.begin(rollout)
    running.follow("api", "production", completed)
    looking.order(rollout.id, order)
    lock = tmp_path / "production,api.lock"

    _add(path, rehearsed="yes")
    lock.write_text(json.dumps(json.loads(lock.read_text()) | {"page": "https://deploy.example"}))

    assert looking.read(rollout.id) == rollout
    assert [found.id for found in looking.all()] == [rollout.id]
    assert looking.completed("api", "production") == completed
    holder = looking.holder("api", "production")
    assert holder
    assert (holder.id, holder.who) == (rollout.id, rollout.who)
    assert looking.running(rollout)
    assert running.waiting(rollout.id) == [order]


def test_lock_that_no_rollout_signed_names_nobody(tmp_path: Path) -> None:
    lock = Flock(tmp_path / "production,api.lock", 0o600)
    lock.acquire()
    lock.sign({"id": "d-1"})

    assert FileRolloutStore(tmp_path / "rollouts.db").holder("api", "production") is None
    lock.release()
