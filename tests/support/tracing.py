"""Inject signals and failures into the calls of a process, by strace(1)."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import warm
from support.waiting import eventually, is_frozen

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

_LONGEST = 60  # seconds until strace has detached


@contextmanager
def traced(pid: int, *injected: str) -> Iterator[None]:
    """Trace a process; ``injected``: strace's arguments for the injection."""
    command = ["strace", "-f", "-qq", "-o", "/dev/null", "-p", str(pid), *injected]
    tracer = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    status = Path(f"/proc/{pid}/status")
    eventually(lambda: f"TracerPid:\t{tracer.pid}\n" in status.read_text(), "it is traced")
    try:
        yield
    finally:
        tracer.send_signal(signal.SIGINT)
        tracer.wait(timeout=_LONGEST)


def killed_at(
    call: str, number: int, command: Sequence[object], environment: Mapping[str, str], descriptors: Sequence[int]
) -> int:
    """Run a program that gets signal 9 at its ``number``-th call of a kind; returns -9 or its exit code."""
    program = warm.start(command, environment, descriptors, stopped=True)
    try:
        eventually(lambda: is_frozen(program.pid), "it stands still")
        with traced(program.pid, "-e", f"trace={call}", "-e", f"inject={call}:signal=KILL:when={number}"):
            os.kill(program.pid, signal.SIGCONT)
            return program.wait(_LONGEST * 5)
    finally:
        program.kill()
