"""Watch hosts that took a revision before other hosts take it."""

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

    def __call__(self, hosts: Sequence[Host], seconds: float) -> AsyncIterator[list[tuple[Host, HostError]]]:
        """Yield the hosts that a look found unhealthy or lost; each host comes once."""


class AskAgents:
    """Asks each host's agent for its last known health."""

    def __init__(self, client_of: Callable[[Host], HostClient], deadline: float) -> None:
        """``client_of`` makes the client of a host; ``deadline``: seconds for temporary trouble at the last look."""
        self._client_of = client_of
        self._deadline = deadline

    async def __call__(self, hosts: Sequence[Host], seconds: float) -> AsyncIterator[list[tuple[Host, HostError]]]:
        """Look at all hosts every two seconds; a host that does not answer at the last look is lost."""
        now = asyncio.get_running_loop().time
        end, watched = now() + seconds, list(hosts)
        while True:
            last = now() >= end
            seen = await self._look(watched, self._deadline if last else 0.0)
            found = [(host, error) for host, error in seen if not error.unreachable or last]
            for host, _ in found:
                watched.remove(host)
            yield found
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
                why = f"its health after its deployment is {seen.condition}"
                return HostError(Code.HOST_SICK, why) if seen.health == _SICK else None

        found = await asyncio.gather(*(ask(host) for host in hosts))
        return [(host, error) for host, error in zip(hosts, found, strict=True) if error]


class AskConsul:
    """Asks Consul for the critical hosts, with one question for all hosts."""

    def __init__(self, sick: Callable[[], Mapping[str, str]], otherwise: Watch) -> None:
        """``sick`` blocks for a moment and returns the reason by host; raises OSError if Consul does not answer."""
        self._sick = sick
        self._otherwise = otherwise

    async def __call__(self, hosts: Sequence[Host], seconds: float) -> AsyncIterator[list[tuple[Host, HostError]]]:
        """Look every two seconds; if Consul does not answer, ask the agents for the rest of the time.

        At the end it asks them in any case, because Consul notices a lost host only after the TTL of its check.
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
            names = [name for name in watched if name in sick]
            yield [
                (watched.pop(name), HostError(Code.HOST_SICK, f"its check in Consul is critical: {sick[name]}")) for name in names
            ]
            if last:
                async for found in self._otherwise(list(watched.values()), 0.0):
                    yield found
                return
            await asyncio.sleep(min(_LOOK, max(0.0, end - now())))
