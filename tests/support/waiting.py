"""Wait until a condition is true."""

from __future__ import annotations

import os
import signal
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Callable

# The limit counts looks, not seconds: a minute on an idle machine, and longer on a busy one.
_LOOKS = 3000
_PAUSE = 0.02


def eventually(what: Callable[[], Any], because: str = "", *, pause: float = _PAUSE, looks: int = _LOOKS) -> Any:
    """Return the first true answer; fails if many looks find none. ``pause``: seconds between two looks."""
    standing = threading.Event()
    for _ in range(looks):
        answer = what()
        if answer:
            return answer
        standing.wait(pause)
    message = f"never came true: {because or what}"
    raise AssertionError(message)


def ended(process: Endable) -> int:
    """Wait for the end of a process; returns its exit code."""
    eventually(lambda: process.poll() is not None, "the process ends")
    code = process.poll()
    assert code is not None
    return code


class Endable(Protocol):
    """A process that may have ended."""

    def poll(self) -> int | None:
        """Return the exit code if the process has ended."""


def freeze(pid: int) -> None:
    """Stop a process, and wait until it is stopped: a signal takes effect when its process next runs."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_frozen(pid), f"process {pid} stands still")


def is_frozen(pid: int) -> bool:
    """Return whether a process is stopped, by proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
