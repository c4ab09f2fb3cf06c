"""The record of rollouts in a file: where it is, who may read it, what is said when it cannot be used."""

from __future__ import annotations

import sqlite3
import stat
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, RecordUnreachable
from release_agent.rollout.record.file import FileRolloutStore, default_path
from support.rollouts import a_rollout

if TYPE_CHECKING:
    from pathlib import Path


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def test_file_is_where_a_users_state_is(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))

    assert default_path({"XDG_STATE_HOME": "/var/state"}).as_posix() == "/var/state/release-agent/rollouts.db"
    for unset in ({}, {"XDG_STATE_HOME": ""}, {"XDG_STATE_HOME": "relative"}):
        assert default_path(unset) == tmp_path / ".local/state/release-agent/rollouts.db"


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
        (_another_layout, "made by another version of release-agent"),
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


def test_begin_that_fails_leaves_no_rollout_and_no_lock(tmp_path: Path) -> None:
    path = tmp_path / "rollouts.db"
    record = FileRolloutStore(path)
    rollout = a_rollout("rollout-2")
    rollout.hosts["host-1"].why = object()  # type: ignore[assignment]

    with pytest.raises(RecordUnreachable):
        record.begin(rollout)

    assert record.all() == []
    FileRolloutStore(path).begin(a_rollout("rollout-1"))
