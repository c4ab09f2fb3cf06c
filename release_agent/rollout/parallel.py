"""Work on several hosts at a time, with other work in parallel."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence

    from release_agent.rollout.gate import Gate
    from release_agent.rollout.model import Host

LOOKS = 200  # number of hosts for parallel looks, which cost a host almost nothing


async def in_parallel(
    hosts: Sequence[Host], most: int, work: Callable[[Host], Awaitable[None]], *, gate: Gate | None = None
) -> None:
    """Work on ``most`` hosts at a time, in order, until the gate is shut for good; started ones are finished.

    An error of ``work`` is not about a single host: it ends all of them, and is raised.
    """
    waiting = iter(hosts)

    async def worker() -> None:
        for host in waiting:
            if gate:
                await gate.opened()
                if gate.stopped:
                    return
            await work(host)

    try:
        async with asyncio.TaskGroup() as group:
            for _ in range(min(most, len(hosts))):
                group.create_task(worker())
    except ExceptionGroup as several:
        raise several.exceptions[0] from several


@asynccontextmanager
async def alongside(*works: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Run tasks beside the body, until its end; an error of one of them ends the body, and is raised."""
    tasks = [asyncio.create_task(work) for work in works]
    main = asyncio.current_task()
    failed: list[BaseException] = []

    def ended(task: asyncio.Task[None]) -> None:
        error = None if task.cancelled() else task.exception()
        if error and main:
            failed.append(error)
            main.cancel()

    for task in tasks:
        task.add_done_callback(ended)
    try:
        yield
    except asyncio.CancelledError:
        if failed:
            raise failed[0] from None
        raise
    finally:
        for task in tasks:
            task.cancel()
