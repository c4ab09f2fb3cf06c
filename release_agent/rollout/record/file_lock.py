"""Locks of fleets on this machine: each has a lock file that names its holder."""

from __future__ import annotations

from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import quote

from release_agent.rollout.model import Holder
from release_agent.system.flock import Flock

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path


class FileLock:
    """The lock of one fleet; every method raises OSError."""

    def __init__(self, folder: Path, app: str, environment: str) -> None:
        """Name the lock file of a fleet; the file is made by acquire()."""
        self.fleet = (app, environment)
        # No quoted name contains a comma.
        self._file = Flock(folder / f"{quote(environment, safe='')},{quote(app, safe='')}.lock", 0o600)

    def acquire(self, holder: Holder) -> bool:
        """Take the lock; returns False if another process has it."""
        if not self._file.acquire():
            return False
        try:
            self._file.sign(asdict(holder))
        except BaseException:
            self._file.release()
            raise
        return True

    def holder(self) -> Holder | None:
        """Return the current holder of the lock."""
        body = self._file.holder()
        try:
            return Holder.from_json(body) if body else None
        except TypeError:  # the signature is not a rollout's
            return None

    def release(self) -> None:
        """Free the lock."""
        self._file.release()


class FileLocks:
    """The locks of the fleets of one rollout, all of them or none; every method raises OSError."""

    def __init__(self, locks: Sequence[FileLock]) -> None:
        """``locks``: taken in this order, which is the same for all processes."""
        self._locks = locks

    def acquire(self, holder: Holder) -> FileLock | None:
        """Take all locks, or none; returns a lock that another process has."""
        taken: list[FileLock] = []
        try:
            for lock in self._locks:
                if not lock.acquire(holder):
                    return lock
                taken.append(lock)
            taken = []
            return None
        finally:
            for lock in taken:
                lock.release()

    def release(self) -> None:
        """Free all locks."""
        for lock in self._locks:
            lock.release()
