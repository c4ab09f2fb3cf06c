"""Write down hosts during a rollout: many in one transaction, and again after a failure of the store."""

from __future__ import annotations

import asyncio
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, TypeVar

from release_agent.errors import LockLost, RecordUnreachable, ReleaseError
from release_agent.rollout.policy.orders import in_rank

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from release_agent.model import Completed
    from release_agent.rollout.model import Host, Order, Rollout
    from release_agent.rollout.record.port import RolloutStore

T = TypeVar("T")

_LETTING_GO = 3.0  # seconds
_RETRY = 2.0
_RENEWAL = 5.0  # seconds; a third of the lock's life
_LOOK = 1.0  # seconds between looks for an order
_APART = 0.03  # seconds between writes of hosts; hosts that arrive between two writes share a transaction


class Writer:
    """The record, for an event loop: its calls block, and one thread makes all of them."""

    def __init__(self, record: RolloutStore, patience: float, on_away: Callable[[str], None]) -> None:
        """``patience``: seconds to wait for a record that does not answer; ``on_away`` gets the reason, "" afterwards."""
        self._record = record
        self._patience = patience
        self._on_away = on_away
        self.is_away = False
        """Whether the record did not answer the last call."""
        self._one = asyncio.Lock()
        self._thread = ThreadPoolExecutor(max_workers=1)
        self._waiting: dict[str, Host] = {}
        self._next: asyncio.Task[None] | None = None
        self._next_at = 0.0

    async def host(self, host: Host) -> None:
        """Return once the host is written down; hosts that arrive during the wait go together."""
        self._waiting[host.name] = host
        if self._next is None:
            self._next = asyncio.create_task(self._flush())
        await asyncio.shield(self._next)

    async def _flush(self) -> None:
        now = asyncio.get_running_loop().time
        await asyncio.sleep(self._next_at - now())
        async with self._one:
            self._next_at = now() + _APART
            hosts, self._waiting, self._next = list(self._waiting.values()), {}, None
            await self._do(lambda: self._record.save_hosts(hosts))

    @asynccontextmanager
    async def _turn(self) -> AsyncIterator[None]:
        """Take the turn of a write other than of hosts; it must not overtake hosts that wait, even if nobody awaits them."""
        if self._next:
            await asyncio.wait([self._next])
        async with self._one:
            yield

    async def rollout(self, rollout: Rollout) -> None:
        """Return once everything except the hosts is written down."""
        async with self._turn():
            await self._do(lambda: self._record.save(rollout))

    async def completed(self, app: str, environment: str) -> Completed | None:
        """Return the revision for a fleet."""
        async with self._one:
            return await self._do(lambda: self._record.completed(app, environment))

    async def follow(self, app: str, environment: str, completed: Completed | None) -> None:
        """Return once the revision for a fleet is written down."""
        async with self._turn():
            await self._do(lambda: self._record.follow(app, environment, completed))

    async def _do(self, call: Callable[[], T]) -> T:
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            try:
                try:
                    return await self._call(call)
                except LockLost:
                    # The lock may have been lost with Consul's leader, and no process has taken it since.
                    await self._call(self._record.renew)
                    return await self._call(call)
            except RecordUnreachable:
                if now() - began > self._patience:
                    raise
                await asyncio.sleep(_RETRY)

    async def once(self, call: Callable[[RolloutStore], T]) -> T:
        """Do one operation on the record, once; raises its errors."""
        return await self._call(lambda: call(self._record))

    async def let_go(self) -> None:
        """Release the lock after all writes, best effort; the session expires on its own."""
        with suppress(ReleaseError, TimeoutError):
            async with asyncio.timeout(_LETTING_GO), self._turn():
                await self._call(self._record.release)

    async def _call(self, call: Callable[[], T]) -> T:
        try:
            done = await asyncio.get_running_loop().run_in_executor(self._thread, call)
        except RecordUnreachable as error:
            if not self.is_away:
                self._on_away(error.message)
            self.is_away = True
            raise
        if self.is_away:
            self._on_away("")
        self.is_away = False
        return done

    async def keep_lock(self) -> None:
        """Renew the lock until it is lost; raises LockLost. If the record does not answer, hosts can end but not start."""
        while True:
            await asyncio.sleep(_RENEWAL)
            try:
                await self._call(self._record.renew)
            except RecordUnreachable:
                continue  # the next write waits until the record answers

    async def orders(self, identity: str, obey: Callable[[Order], Awaitable[None]]) -> None:
        """Obey the orders that people give from elsewhere, forever."""
        while True:
            await asyncio.sleep(_LOOK)
            with suppress(RecordUnreachable):
                await self.heed(identity, obey)

    async def heed(self, identity: str, obey: Callable[[Order], Awaitable[None]]) -> None:
        """Obey the orders that wait, an abort first; ``obey`` acknowledges them."""
        for order in in_rank(await self._call(lambda: self._record.waiting(identity))):
            await obey(order)

    async def acknowledge(self, order: Order) -> None:
        """Return once an order is removed. If this operator is killed before, the next one obeys the order again."""
        async with self._turn():
            await self._do(lambda: self._record.acknowledge(order))
