"""Lock the root for one run at a time; the lock has the id of the run."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from release_agent.errors import Busy, Code
from release_agent.system.disk import explained, unusable
from release_agent.system.flock import Flock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from release_agent.model import Request
    from release_agent.system.clock import Clock

_POLL = 0.05  # seconds
_LATEST = 1 << 40  # seconds since 1970


class Lock:
    """The lock of one root, in a file that names the run that holds it.

    Its directory is also locked, because a person or a hook may remove the file during a run.
    """

    def __init__(self, path: Path, clock: Clock) -> None:
        """``clock`` waits for a lock that another run holds."""
        self._path = path
        self._clock = clock
        self._file = Flock(path, 0o644)
        self._directory = -1

    def holder(self) -> dict[str, Any] | None:
        """Return the run that holds the lock: id, pid, started, since, action, revision.

        None if there is none, or if the file does not name a run.
        """
        try:
            holder = self._file.holder()
        except OSError:
            return None
        return holder if holder and _names_a_run(holder) else None

    @contextmanager
    def held(self, holder: Request, *, wait: bool) -> Iterator[None]:
        """Hold the lock; if another run has it, wait (``wait``) or raise Busy."""
        self._acquire(wait=wait)
        try:
            self._sign(holder.id, holder.action, holder.revision or holder.release, time.time())
            yield
        finally:
            self._release()

    def _acquire(self, *, wait: bool) -> None:
        try:
            while not self._acquired():
                if not wait:
                    raise busy(self.holder())
                self._clock.sleep(_POLL)
        except OSError as error:
            raise unusable(self._path, error) from error

    def _acquired(self) -> bool:
        if not self._file.acquire():
            return False
        self._directory = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            fcntl.flock(self._directory, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            self._release()
            return False
        return True

    def _release(self) -> None:
        self._file.release()
        descriptor, self._directory = self._directory, -1
        if descriptor >= 0:
            os.close(descriptor)

    def describe(self, revision: str) -> None:
        """Write the revision of the run into the lock; do nothing unless this object holds it."""
        holder = self.holder() if self._file.is_held else None
        if holder:
            self._sign(holder["id"], holder["action"], revision, holder["since"])

    def _sign(self, identity: str, action: str, revision: str, since: float) -> None:
        with explained(self._path):
            self._file.sign({"id": identity, "since": since, "action": action, "revision": revision})


def _names_a_run(holder: dict[str, Any]) -> bool:
    """Return whether a signature is a run's; another program may have written it."""
    try:
        "".join(holder[name] for name in ("id", "action", "revision")).encode()
        return bool(type(holder["pid"]) is int and abs(holder["since"]) < _LATEST)
    except (KeyError, TypeError, ValueError):
        return False


def busy(holder: dict[str, Any] | None, pid: int = 0) -> Busy:
    """Make the error for a held lock; ``holder``: from Lock.holder(); ``pid``: of the run, used if there is no holder."""
    if not holder:
        what = f"another deployment is starting: pid {pid}" if pid else "another run holds the lock"
        return Busy(Code.BUSY, what, hint="try again when that run has ended")
    what = f"{holder['action']} {holder['revision']}".strip()
    age = max(0, int(time.time() - holder["since"]))
    return Busy(
        Code.BUSY,
        f"another deployment is already running: {holder['id']} ({what}, pid {holder['pid']}), for {age} s",
        hint="try again when that run has ended; `release-agent status` shows its phase",
    )
