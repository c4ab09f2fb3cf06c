"""Waiting for something to become true."""

from __future__ import annotations

import os
import signal
import threading
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable

# Long enough for the busiest machine: a test that passes never waits for it.
_PATIENCE = 60.0
_PAUSE = 0.02


def eventually(what: Callable[[], Any], because: str = "", patience: float = _PATIENCE) -> Any:
    """Return the first true answer; fails if none comes within ``patience`` seconds."""
    deadline = time.monotonic() + patience
    pause = threading.Event()
    while time.monotonic() < deadline:
        answer = what()
        if answer:
            return answer
        pause.wait(_PAUSE)
    message = f"never came true: {because or what}"
    raise AssertionError(message)


def freeze(pid: int) -> None:
    """Stop a process, and wait until it stands still: a signal takes effect when its process next runs."""
    os.kill(pid, signal.SIGSTOP)
    eventually(lambda: is_frozen(pid), f"process {pid} stands still")


def is_frozen(pid: int) -> bool:
    """Whether a process is stopped, by proc(5)."""
    return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "T"
