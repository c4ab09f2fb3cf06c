"""A fleet's lock on this machine: flock(2) on a file that says who holds it; the kernel frees it, however the holder ends."""

from __future__ import annotations

import fcntl
import json
import os
from dataclasses import asdict
from typing import TYPE_CHECKING
from urllib.parse import quote

from release_agent.rollout.model import Holder
from release_agent.system import processes

if TYPE_CHECKING:
    from pathlib import Path


class FileLock:
    """The lock of one fleet; everything raises OSError."""

    def __init__(self, folder: Path, app: str, environment: str) -> None:
        """Nothing is touched yet."""
        # A comma is in no name once that is quoted.
        self._path = folder / f"{quote(environment, safe='')},{quote(app, safe='')}.lock"
        self._descriptor = -1

    def acquire(self, holder: Holder) -> bool:
        """Take it; False where somebody else has it."""
        descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            pid = os.getpid()
            body = {**asdict(holder), "pid": pid, "started": processes.started(pid)}
            os.ftruncate(descriptor, 0)
            os.pwrite(descriptor, json.dumps(body).encode(), 0)
        except BlockingIOError:
            os.close(descriptor)
            return False
        except BaseException:
            os.close(descriptor)
            raise
        self._descriptor = descriptor
        return True

    def holder(self) -> Holder | None:
        """Return who holds it at this moment.

        Reads alone: taking the lock to look would keep it, for that moment, from whoever wants it.
        """
        try:
            body = json.loads(self._path.read_text(encoding="utf-8"))
            alive = processes.started(body.pop("pid")) == body.pop("started")
            return Holder(**body) if alive else None
        except (FileNotFoundError, ValueError, KeyError, TypeError, AttributeError):  # nobody, or it is being written
            return None

    def release(self) -> None:
        """Let go of it."""
        descriptor, self._descriptor = self._descriptor, -1
        if descriptor >= 0:
            try:
                os.ftruncate(descriptor, 0)
            finally:
                os.close(descriptor)
