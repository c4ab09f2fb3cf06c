"""The root's lock: one run at a time, and who it is."""

from __future__ import annotations

import fcntl
import json
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from release_agent.errors import Busy, Code
from release_agent.system import processes
from release_agent.system.disk import explained, unusable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from release_agent.model import Request
    from release_agent.system.clock import Clock

_POLL = 0.05


class Lock:
    """flock(2) on a file that says who holds it; the kernel frees it when the holder ends, however it ends."""

    def __init__(self, path: Path, clock: Clock) -> None:
        """Nothing is touched yet."""
        self._path = path
        self._clock = clock
        self._held = -1

    def holder(self) -> dict[str, Any] | None:
        """Return the run that holds the lock: id, pid, action, revision, since; None where nobody does.

        Reads alone: taking the lock to look would make a deployment of this moment busy.
        """
        try:
            if not self._path.is_file():  # a pipe would be waited for
                return None
            holder: dict[str, Any] = json.loads(self._path.read_text(encoding="utf-8"))
            return holder if processes.started(holder["pid"]) == holder["started"] else None
        except (OSError, ValueError, KeyError, TypeError):
            return None

    @contextmanager
    def held(self, holder: Request, *, wait: bool) -> Iterator[None]:
        """Hold the lock; raises Busy, or waits for it."""
        try:
            # Close-on-exec: a hook's daemon must not go on holding it.
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        except OSError as error:
            raise unusable(self._path, error) from error
        try:
            self._acquire(descriptor, wait=wait)
            self._held = descriptor
            self._sign(holder.id, holder.action, holder.revision or holder.release)
            yield
            os.ftruncate(descriptor, 0)
        finally:
            os.close(descriptor)

    def _acquire(self, descriptor: int, *, wait: bool) -> None:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                if not wait:
                    raise busy(self.holder()) from None
                self._clock.sleep(_POLL)
            else:
                return

    def describe(self, revision: str) -> None:
        """Say what is being deployed, once that is known."""
        holder = self.holder()
        if holder:
            self._sign(holder["id"], holder["action"], revision, holder["since"])

    def _sign(self, identity: str, action: str, revision: str, since: float | None = None) -> None:
        pid = os.getpid()
        what = {"id": identity, "pid": pid, "started": processes.started(pid), "since": since or time.time()}
        body = json.dumps(what | {"action": action, "revision": revision}).encode()
        # First the text, then what a longer one left: whoever reads in between sees no half of it as whole.
        with explained(self._path):
            os.pwrite(self._held, body.ljust(os.fstat(self._held).st_size), 0)


def busy(holder: dict[str, Any] | None) -> Busy:
    """Make the error for a root that ``holder`` works in, as Lock.holder() tells of it."""
    if not holder:
        return Busy(Code.BUSY, "another run holds the lock", hint="try again when it is done")
    what = f"{holder['action']} {holder['revision']}".strip()
    age = max(0, int(time.time() - holder["since"]))
    return Busy(
        Code.BUSY,
        f"deployment {holder['id']} ({what}, pid {holder['pid']}) has been running for {age} s",
        hint="try again when it is done; `release-agent status` shows its phase",
    )
