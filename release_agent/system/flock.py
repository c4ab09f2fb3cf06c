"""Lock a file that names its holder, by flock(2). The kernel frees the lock whenever the holder ends."""

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


_LONGEST = 64 * 1024  # bytes; a holder's signature has a few hundred


class Flock:
    """One lock file, to take or to look at; every method raises OSError."""

    def __init__(self, path: Path, mode: int) -> None:
        """``mode``: permissions of the file, if it has to be made."""
        self._path = path
        self._mode = mode
        self._descriptor = -1

    def acquire(self) -> bool:
        """Take the lock without waiting; returns False if another process holds it."""
        # Close-on-exec: a program that outlives this process must not keep the lock.
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
        """Return whether this object holds the lock."""
        return self._descriptor >= 0

    def sign(self, holder: dict[str, Any]) -> None:
        """Write the holder of the lock, with the pid and the start of this process."""
        pid = os.getpid()
        body = json.dumps({**holder, "pid": pid, "started": processes.started(pid)}).encode()
        if os.fstat(self._descriptor).st_size > _LONGEST:  # another program wrote it
            os.ftruncate(self._descriptor, 0)
        # Spaces overwrite the rest of an earlier, longer text; a reader would take it for a part of this one.
        os.pwrite(self._descriptor, body.ljust(os.fstat(self._descriptor).st_size), 0)

    def holder(self) -> dict[str, Any] | None:
        """Return the holder's signature, with ``pid`` and ``started``; None without a holder or a signature.

        It only reads the file: to try the lock would make it busy for others for a moment.
        """
        try:
            holder: dict[str, Any] = json.loads(read_regular(self._path, _LONGEST, follow=False))
            since = processes.started(holder["pid"])
            return holder if since is not None and since == holder["started"] else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, RecursionError):
            return None

    def release(self) -> None:
        """Blank the file and free the lock; do nothing if it is not held.

        Blanks keep the file's disk space, so that the next holder can sign on a full disk. A failed write is not
        an error, because readers ignore the signature of a process that has ended.
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
