"""Waiting for something to become true."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# Looks, not seconds: a minute on a quiet machine, and longer the less a busy one lets this process do.
_LOOKS = 3000
_PAUSE = 0.02


def eventually(what: Callable[[], Any], because: str = "", *, pause: float = _PAUSE, looks: int = _LOOKS) -> Any:
    """Return the first true answer; fails if there is none in many looks. ``pause``: seconds between two of them."""
    standing = threading.Event()
    for _ in range(looks):
        answer = what()
        if answer:
            return answer
        standing.wait(pause)
    message = f"never came true: {because or what}"
    raise AssertionError(message)


def ended(process: Endable) -> int:
    """Wait for the end of a process, and return its exit code."""
    eventually(lambda: process.poll() is not None, "the process ends")
    code = process.poll()
    assert code is not None
    return code


class Endable(Protocol):
    """A process that may have ended."""

    def poll(self) -> int | None:
        """Return the exit code, if it has ended."""


def freeze(pid: int) -> None:
    """Stop a process, and wait until it stands still: a signal takes effect when its process next runs."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_frozen(pid), f"process {pid} stands still")


def is_frozen(pid: int) -> bool:
    """Whether a process is stopped, by proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
