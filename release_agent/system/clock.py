"""Measure monotonic time, and sleep until a signal comes."""

from __future__ import annotations

import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Protocol

from release_agent.errors import Cancelled, Code

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

_SLICE = 0.1


def cancel(number: int) -> NoReturn:
    """Raise Cancelled for a signal."""
    raise Cancelled(Code.CANCELLED, f"stopped by {signal.Signals(number).name}", hint="deploy again")


class Clock(Protocol):
    """Monotonic time, and a sleep that a signal ends by raising Cancelled."""

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""

    def sleep(self, seconds: float) -> None:
        """Wait; raises Cancelled if a signal has asked to stop, unless shielded."""

    def check(self) -> None:
        """Raise Cancelled if a signal has asked to stop, unless shielded."""

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context in which signals wait; a rollback must not be cancelled."""


class SystemClock:
    """The monotonic clock; TERM and INT make the next sleep or check raise Cancelled.

    The handlers only set a mark. So a signal never interrupts steps that belong together (swap and
    journal), because they neither sleep nor check.
    """

    def __init__(self) -> None:
        self._signal: signal.Signals | None = None
        self._shields = 0

    def listen(self) -> None:
        """Take TERM and INT as requests to stop, and ignore HUP: a terminal that hangs up changes nothing."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, number: int, _frame: object) -> None:
        self._signal = signal.Signals(number)

    def now(self) -> float:
        """Return seconds since an arbitrary moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; raises Cancelled within 0.1 s after a signal, unless shielded."""
        end = self.now() + seconds
        while True:
            self.check()
            left = end - self.now()
            if left <= 0:
                return
            time.sleep(min(left, _SLICE))

    def check(self) -> None:
        """Raise Cancelled if a signal has asked to stop, unless shielded."""
        if self._signal and not self._shields:
            cancel(self._signal)

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Make signals wait until the context ends."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
