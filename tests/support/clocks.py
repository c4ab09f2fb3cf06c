"""A clock that tests move."""

from __future__ import annotations

from contextlib import nullcontext
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from contextlib import AbstractContextManager


class FakeClock:
    """A clock that moves only by sleeps and by :meth:`advance`."""

    def __init__(self, on_sleep: Callable[[], None] = lambda: None) -> None:
        """Call ``on_sleep`` at the end of each sleep."""
        self._began = self._time = 1000.0
        self._on_sleep = on_sleep

    @property
    def spent(self) -> float:
        """Seconds that have passed."""
        return self._time - self._began

    def now(self) -> float:
        return self._time

    def advance(self, seconds: float) -> None:
        """Move the time on."""
        self._time += seconds

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.advance(seconds)
        self._on_sleep()

    def check(self) -> None:
        """Do nothing: no signal comes."""

    def shielded(self) -> AbstractContextManager[None]:
        return nullcontext()
