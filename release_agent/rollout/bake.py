"""Hosts that took a revision, watched for a while before others take it."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

from release_agent.errors import Code
from release_agent.health import HealthState
from release_agent.rollout.host.model import HostError
from release_agent.rollout.parallel import LOOKS

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable, Mapping, Sequence

    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.model import Host

_LOOK = 2.0
_SICK = HealthState.CRITICAL


class Watch(Protocol):
    """Watches hosts for some seconds."""

    def __call__(self, hosts: Sequence[Host], seconds: float) -> AsyncIterator[tuple[Host, HostError]]:
        """Yield each host that becomes unhealthy or is lost, once, when it does."""


class AskAgents:
    """Asks each host's agent how it was last found."""

    def __init__(self, client_of: Callable[[Host], HostClient], deadline: float) -> None:
        """``client_of`` makes the client of a host; ``deadline``: seconds for trouble that passes at the last look."""
        self._client_of = client_of
        self._deadline = deadline

    async def __call__(self, hosts: Sequence[Host], seconds: float) -> AsyncIterator[tuple[Host, HostError]]:
        """Look at all of them every two seconds; one that does not answer at the last look is lost."""
        now = asyncio.get_running_loop().time
        end, watched = now() + seconds, list(hosts)
        while True:
            last = now() >= end
            for host, error in await self._look(watched, self._deadline if last else 0.0):
                if not error.unreachable or last:
                    watched.remove(host)
                    yield host, error
            if last:
                return
            await asyncio.sleep(min(_LOOK, max(0.0, end - now())))

    async def _look(self, hosts: Sequence[Host], patience: float) -> list[tuple[Host, HostError]]:
        at_once = asyncio.Semaphore(LOOKS)

        async def ask(host: Host) -> HostError | None:
            async with at_once:
                try:
                    seen = await self._client_of(host).look(patience, first_contact=0.0)
                except HostError as error:
                    return error
                return HostError(Code.HOST_SICK, "it is critical after its deployment") if seen.health == _SICK else None

        found = await asyncio.gather(*(ask(host) for host in hosts))
        return [(host, error) for host, error in zip(hosts, found, strict=True) if error]


class AskConsul:
    """Asks Consul which hosts are critical: one question, however many hosts."""

    def __init__(self, sick: Callable[[], Mapping[str, str]], otherwise: Watch) -> None:
        """``unhealthy`` blocks for a moment and returns the reason by host; raises OSError if Consul does not answer."""
        self._sick = sick
        self._otherwise = otherwise

    async def __call__(self, hosts: Sequence[Host], seconds: float) -> AsyncIterator[tuple[Host, HostError]]:
        """Look every two seconds; where Consul is away, the agents are asked for what is left of the time.

        At the end they are asked in any case: of a host that is gone Consul knows after its check's time to live.
        """
        now = asyncio.get_running_loop().time
        end, watched = now() + seconds, {host.name: host for host in hosts}
        while True:
            last = now() >= end
            try:
                sick = await asyncio.to_thread(self._sick)
            except OSError:
                async for found in self._otherwise(list(watched.values()), max(0.0, end - now())):
                    yield found
                return
            for name in set(sick) & set(watched):
                yield watched.pop(name), HostError(Code.HOST_SICK, f"Consul has it critical: {sick[name]}")
            if last:
                async for found in self._otherwise(list(watched.values()), 0.0):
                    yield found
                return
            await asyncio.sleep(min(_LOOK, max(0.0, end - now())))
