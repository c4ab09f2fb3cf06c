"""A lock file: one process holds it, and the file names the holder."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from release_agent.system.flock import Flock

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock file is."""
    return tmp_path / "lock"


def test_one_holder_at_a_time(path: Path) -> None:
    first, second = Flock(path, 0o600), Flock(path, 0o600)
    assert first.acquire()
    assert not second.acquire()
    assert not first.acquire(), "nor twice"

    first.release()

    assert second.acquire()
    second.release()


def test_holder_is_known_once_it_has_signed_and_until_it_lets_go(path: Path) -> None:
    lock, looking = Flock(path, 0o600), Flock(path, 0o600)
    assert looking.holder() is None
    lock.acquire()
    assert looking.holder() is None
    lock.sign({"id": "d-1"})

    holder = looking.holder()

    assert holder
    assert (holder["id"], holder["pid"]) == ("d-1", os.getpid())
    lock.release()
    assert looking.holder() is None
    assert path.read_text().strip() == ""


def test_a_shorter_signature_covers_a_longer_one(path: Path) -> None:
    lock = Flock(path, 0o600)
    lock.acquire()
    lock.sign({"id": "d-1", "revision": "x" * 500})
    lock.sign({"id": "d-1"})

    assert lock.holder() == json.loads(path.read_text())
    assert "x" not in path.read_text()
    lock.release()


@pytest.mark.parametrize("started", ["null", "1", '"x"'])
def test_a_process_that_is_gone_holds_nothing(path: Path, started: str) -> None:
    path.write_text(f'{{"id": "d-1", "pid": {2**22 + 1}, "started": {started}}}')

    assert Flock(path, 0o600).holder() is None


def test_a_lock_that_is_not_held_can_be_let_go(path: Path) -> None:
    Flock(path, 0o600).release()

    assert not path.exists()


def test_permissions_are_those_asked_for(path: Path) -> None:
    lock = Flock(path, 0o600)
    lock.acquire()
    lock.release()

    assert path.stat().st_mode & 0o777 == 0o600


def test_huge_file_in_place_of_the_lock_is_cut_and_not_filled(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)
    lock = Flock(path, 0o600)
    assert lock.acquire()
    lock.sign({"id": "d-1"})

    assert (lock.holder() or {})["id"] == "d-1"
    lock.release()
    assert path.stat().st_size < 1000
