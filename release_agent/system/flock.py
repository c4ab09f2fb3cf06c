"""A lock on a file that says who holds it: flock(2). The kernel frees it when its holder ends, however it ends."""

from __future__ import annotations

import fcntl
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from release_agent.system import processes
from release_agent.system.disk import read_regular, require_regular

if TYPE_CHECKING:
    from pathlib import Path


_LONGEST = 64 * 1024  # bytes; what a holder signs has a few hundred


class Flock:
    """One lock file, as this process takes it or looks at it; everything raises OSError."""

    def __init__(self, path: Path, mode: int) -> None:
        """``mode``: permissions of the file, if it has to be made."""
        self._path = path
        self._mode = mode
        self._descriptor = -1

    def acquire(self) -> bool:
        """Take the lock without waiting; returns False if somebody else holds it."""
        # Close-on-exec: a program that is started, and outlives this process, must not go on holding it.
        flags = os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK
        descriptor = os.open(self._path, flags, self._mode)
        try:
            require_regular(descriptor, self._path)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    @property
    def is_held(self) -> bool:
        """Return whether acquire() took the lock here, and it was not released since."""
        return self._descriptor >= 0

    def sign(self, holder: dict[str, Any]) -> None:
        """Write who holds the lock, with the pid of this process and when it started."""
        pid = os.getpid()
        body = json.dumps({**holder, "pid": pid, "started": processes.started(pid)}).encode()
        if os.fstat(self._descriptor).st_size > _LONGEST:  # somebody else's
            os.ftruncate(self._descriptor, 0)
        # Spaces cover what a longer text left: nobody who reads in between takes half of it for the whole.
        os.pwrite(self._descriptor, body.ljust(os.fstat(self._descriptor).st_size), 0)

    def holder(self) -> dict[str, Any] | None:
        """Return what the holder signed, with ``pid`` and ``started``; None if nobody holds the lock, or has not signed yet.

        It only reads: taking the lock to look would make it busy for that moment.
        """
        try:
            holder: dict[str, Any] = json.loads(read_regular(self._path, _LONGEST, follow=False))
            since = processes.started(holder["pid"])
            return holder if since is not None and since == holder["started"] else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def release(self) -> None:
        """Blank the file and free the lock; does nothing if it is not held.

        Blanks keep the file's room, so that the next holder can sign on a full disk. What cannot be written is not
        an error: nobody takes the signature of a process that has ended for a holder.
        """
        if not self.is_held:
            return
        descriptor, self._descriptor = self._descriptor, -1
        try:
            with suppress(OSError):
                os.pwrite(descriptor, b" " * os.fstat(descriptor).st_size, 0)
        finally:
            with suppress(OSError):
                os.close(descriptor)
