"""Signals, process groups and ports for the demo."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import subprocess


class EndAskedError(Exception):
    """A signal asked the demo to end."""


class Signals:
    """Signals that ask for the end: noted when they come, obeyed between steps, so that no step is left half done."""

    NUMBERS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)

    def __init__(self) -> None:
        """Start to note the signals."""
        self.got = 0
        for number in self.NUMBERS:
            signal.signal(number, self._note)

    def _note(self, number: int, _frame: object) -> None:
        self.got = number

    def check(self) -> None:
        """Raise if a signal has come."""
        if self.got:
            raise EndAskedError


def end(process: subprocess.Popen[Any], patience: float) -> None:
    """End a process and its group by TERM, and by KILL if they take longer than ``patience`` seconds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        _signal_group(process, number)
        deadline = time.monotonic() + patience
        while _signal_group(process, 0):
            if time.monotonic() > deadline:
                break
            time.sleep(0.05)
        else:
            return


def _signal_group(process: subprocess.Popen[Any], number: int) -> bool:
    """Send a signal; returns False if the process has ended."""
    process.poll()  # otherwise it would stay as a zombie
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return False
    return True


def free_ports(count: int) -> list[int]:
    """Return ports that nobody listens on, for TCP and for UDP."""
    ports: dict[int, None] = {}
    with contextlib.ExitStack() as held:
        while len(ports) < count:
            tcp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_STREAM))
            tcp.bind(("127.0.0.1", 0))
            port = tcp.getsockname()[1]
            udp = held.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
            with contextlib.suppress(OSError):
                udp.bind(("127.0.0.1", port))
                ports[port] = None
    return list(ports)
