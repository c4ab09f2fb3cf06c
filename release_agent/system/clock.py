"""Time that never goes back, and sleeps that a signal ends."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


import signal
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING

from release_agent.errors import Cancelled, Code

if TYPE_CHECKING:
    from collections.abc import Iterator

_SLICE = 0.1


class Clock(Protocol):
    """Time that cannot go back, and a sleep that ends with Cancelled when a signal asks for it."""

    def now(self) -> float:
        """Return seconds since some moment."""

    def sleep(self, seconds: float) -> None:
        """Wait; raises Cancelled where a signal asked to stop and nothing shields."""

    def check(self) -> None:
        """Raise Cancelled where a signal asked to stop and nothing shields."""

    def shielded(self) -> AbstractContextManager[None]:
        """Return a context in which signals wait: a rollback is not to be cancelled."""


class SystemClock:
    """The monotonic clock; TERM and INT make the next sleep or check raise Cancelled.

    Handlers only take note: what must not be torn apart (swap and journal) is
    never interrupted, since it does not sleep.
    """

    def __init__(self) -> None:
        """No signal has come."""
        self._signal: signal.Signals | None = None
        self._shields = 0

    def listen(self) -> None:
        """Take TERM and INT as requests to stop; a terminal that hangs up changes nothing."""
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._note)
        signal.signal(signal.SIGHUP, signal.SIG_IGN)

    def _note(self, number: int, _frame: object) -> None:
        self._signal = signal.Signals(number)

    def now(self) -> float:
        """Return seconds since some moment."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Wait; a signal ends it within a tenth of a second, with Cancelled unless shielded."""
        end = self.now() + seconds
        while True:
            self.check()
            left = end - self.now()
            if left <= 0:
                return
            time.sleep(min(left, _SLICE))

    def check(self) -> None:
        """Raise Cancelled where a signal asked to stop and nothing shields."""
        if self._signal and not self._shields:
            raise Cancelled(Code.CANCELLED, f"stopped by {self._signal.name}", hint="deploy again at will")

    @contextmanager
    def shielded(self) -> Iterator[None]:
        """Make signals wait: what goes on in here is not to be cancelled."""
        self._shields += 1
        try:
            yield
        finally:
            self._shields -= 1
