"""A few hosts at a time, while nothing speaks against the next."""

from __future__ import annotations

import asyncio
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Iterator, Sequence

    from release_agent.rollout.model import Host

_LOOK = 0.5


class Stopped(Exception):
    """No further host is begun; ``aborted``: a person said so."""

    def __init__(self, why: str, *, aborted: bool = False) -> None:
        """Say why."""
        super().__init__(why)
        self.aborted = aborted


class Gate:
    """What every host passes before it is begun: shut for a while by a pause, for good by a stop.

    The progress deadline is Nomad's: begun anew by each host that is done, not counted while there is a pause,
    a bake or a person to wait for.
    """

    def __init__(self, progress_deadline: float) -> None:
        """Open."""
        self._progress_deadline = progress_deadline
        self._open = asyncio.Event()
        self._open.set()
        self._resting = 0
        self._stopped: Stopped | None = None
        self._last = asyncio.get_running_loop().time()
        self.approved = asyncio.Event()
        self.shut = asyncio.Event()
        """Set once no further host is begun."""

    def stop(self, why: str) -> None:
        """Begin no further host; the first reason counts."""
        self._stopped = self._stopped or Stopped(why)
        self._open.set()
        self.shut.set()

    def abort(self, why: str) -> None:
        """Stop because a person says so, which counts more than any other reason."""
        self._stopped = Stopped(why, aborted=True)
        self._open.set()
        self.shut.set()
        self.approved.set()  # who waits for an answer has one

    @property
    def is_aborted(self) -> bool:
        """Whether a person has stopped it."""
        return bool(self._stopped and self._stopped.aborted)

    def pause(self) -> None:
        """Begin no further host for now."""
        if not self._stopped:
            self._open.clear()

    def resume(self) -> None:
        """Go on."""
        self.progressed()
        self._open.set()

    async def passable(self) -> None:
        """Wait while there is a pause; raises Stopped."""
        await self._open.wait()
        self.raise_if_stopped()

    def raise_if_stopped(self) -> None:
        """Raise Stopped where no further host may be begun."""
        if self._stopped:
            raise self._stopped

    def progressed(self) -> None:
        """Begin the progress deadline anew."""
        self._last = asyncio.get_running_loop().time()

    @contextmanager
    def resting(self) -> Iterator[None]:
        """While nothing is to progress, the progress deadline does not count."""
        self._resting += 1
        try:
            yield
        finally:
            self._resting -= 1
            self.progressed()

    async def watch(self) -> None:
        """Stop where nothing progressed for too long; for ever."""
        while True:
            await asyncio.sleep(_LOOK)
            if self._resting or not self._open.is_set():
                self.progressed()
            elif asyncio.get_running_loop().time() - self._last > self._progress_deadline:
                self.stop(f"no host became healthy within {self._progress_deadline:g} s")


async def each(hosts: Sequence[Host], most: int, gate: Gate, work: Callable[[Host], Awaitable[None]]) -> None:
    """Work on ``most`` hosts at a time, in order, until the gate is shut for good; those begun are finished.

    What ``work`` raises is no host's own trouble: it ends all of them, and is raised.
    """
    waiting = iter(hosts)

    async def worker() -> None:
        for host in waiting:
            try:
                await gate.passable()
            except Stopped:
                return
            await work(host)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(most, len(hosts))):
                group.create_task(worker())
    except ExceptionGroup as several:
        raise several.exceptions[0] from several
