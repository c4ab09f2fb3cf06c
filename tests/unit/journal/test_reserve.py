"""The journal takes a rollback on a full disk."""

from __future__ import annotations

import os
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.journal.database import is_broken
from release_agent.journal.journal import StateDatabase
from release_agent.model import Record, Request, Stage, timestamp
from support.roots import small_disk

if TYPE_CHECKING:
    from pathlib import Path


def fill(disk: Path) -> None:
    """Use up every byte and every inode."""
    with suppress(OSError), (disk / "filler").open("wb", buffering=0) as file:
        while True:
            file.write(bytes(4096))
    with suppress(OSError):
        for number in range(10_000):
            (disk / f"empty-{number}").touch()


@pytest.mark.needs("mount")
def test_reverting_is_journaled_when_the_new_release_has_used_up_the_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m", 100) as disk:
        path = disk / "state.db"
        with StateDatabase(path, write=True) as journal:
            journal.begin(Request("one"), timestamp())
            journal.reserve()
            record = Record("one")
            journal.stage(Stage.PUBLISHING, record)
            fill(disk)

            journal.stage(Stage.REVERTING, record)
            record.outcome, record.error = "rolled-back", {"message": "x" * 5000}
            journal.end(record, None)

        with StateDatabase(path) as journal:
            assert journal.unfinished() == []


@pytest.mark.needs("mount")
def test_journal_that_has_no_room_to_reserve_is_a_full_disk(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m", 100) as disk, StateDatabase(disk / "state.db", write=True) as journal:
        fill(disk)

        with pytest.raises(Failed) as full:
            journal.reserve()

    assert full.value.code is Code.DISK_FULL


@pytest.mark.parametrize("name", ["state.db", "state.db-journal", "state.db-wal"])
def test_pipe_in_place_of_the_journal_is_refused_without_waiting(tmp_path: Path, name: str) -> None:
    path = tmp_path / "state.db"
    if name != path.name:
        StateDatabase(path, write=True).__exit__()
        (tmp_path / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / name)

    assert is_broken(path)
    for write in (True, False):
        with pytest.raises(Failed) as refused:
            StateDatabase(path, write=write)
        assert refused.value.code is Code.JOURNAL_BROKEN
