"""The gate that a rollout's hosts pass before their start."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

from release_agent.rollout.policy.steps import Stop

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_LOOK = 0.5  # seconds


class Gate:
    """A gate that a pause shuts for a while, and a stop for good.

    The progress deadline works like Nomad's: each host that is staged or becomes healthy restarts it. It does not
    count during a pause, a bake or a wait for approval, or while the record is away and no host may start.
    """

    def __init__(self, progress_deadline: float, on_stop: Callable[[str], None], is_away: Callable[[], bool]) -> None:
        """Open the gate.

        ``progress_deadline`` in seconds; ``on_stop`` gets the reason of each stop; ``is_away``: whether the record is away.
        """
        self._progress_deadline = progress_deadline
        self._on_stop = on_stop
        self._is_away = is_away
        self._open = asyncio.Event()
        self._open.set()
        self._resting = 0
        self._last = asyncio.get_running_loop().time()
        self.stopped: Stop | None = None
        """The reason why no more hosts start."""
        self.approved = asyncio.Event()
        self.shut = asyncio.Event()
        """Set once no more hosts start."""

    def stop(self, why: str) -> None:
        """Start no more hosts; a later reason does not replace the first."""
        if not self.stopped:
            self._shut_for(Stop(why))

    def abort(self, why: str) -> None:
        """Stop by a person's order, which replaces any other reason."""
        self._shut_for(Stop(why, aborted=True))
        self.approved.set()  # no answer is needed any more

    def _shut_for(self, stop: Stop) -> None:
        self.stopped = stop
        self._on_stop(stop.why)
        self._open.set()
        self.shut.set()

    def pause(self) -> None:
        """Start no more hosts for now."""
        if not self.stopped:
            self._open.clear()

    def resume(self) -> None:
        """End the pause."""
        self.progressed()
        self._open.set()

    @property
    def is_paused(self) -> bool:
        """Return whether the rollout is paused."""
        return not self._open.is_set()

    async def opened(self) -> None:
        """Wait until the pause ends; a stop also ends the wait."""
        await self._open.wait()

    def progressed(self) -> None:
        """Restart the progress deadline."""
        self._last = asyncio.get_running_loop().time()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """Stop the progress deadline during the block."""
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1
            self.progressed()

    async def watch(self) -> None:
        """Stop the rollout after too long without progress; runs until it is cancelled."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._resting or self.is_paused or self._is_away():
                self.progressed()
            elif asyncio.get_running_loop().time() - self._last > self._progress_deadline:
                self.stop(f"no host became healthy within {self._progress_deadline:g} s")
