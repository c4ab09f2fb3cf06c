"""Roll back each host to its previous release, without waves; report each host whose rollback failed."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from release_agent.errors import Code
from release_agent.rollout.host.answers import require_success
from release_agent.rollout.host.client import FIRST_CONTACT, PASSING
from release_agent.rollout.host.model import HostError, rollback
from release_agent.rollout.model import HostStage
from release_agent.rollout.parallel import in_parallel
from release_agent.rollout.policy.waves import one_after_the_other
from release_agent.rollout.policy.way_back import TOUCHED, WayBack, boots_since, stays_as_noted, way_back

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from release_agent.model import Completed
    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.observer import Observer
    from release_agent.rollout.writer import Writer

_LOOK = 2.0  # seconds
_NOT_OURS = "its history does not show that this rollout deployed it"


class Revert:
    """The revert of one rollout."""

    def __init__(self, rollout: Rollout, writer: Writer, client_of: Callable[[Host], HostClient], observer: Observer) -> None:
        """``client_of`` makes the client of a host."""
        self._later: Mapping[str, Completed] = {}
        self._rollout = rollout
        self._writer = writer
        self._client_of = client_of
        self._observer = observer

    async def go(self, later: Mapping[str, Completed]) -> None:
        """Roll back every host that this rollout changed, the last applications first; a host whose rollback failed is stuck.

        ``later``: by application, a later rollout that completed with the same commits, to which the live releases now belong.
        """
        self._later = later
        self._observer.tell("revert.started", hosts=len(self._rollout.at(*TOUCHED)))
        for part in reversed(one_after_the_other(list(self._rollout.hosts.values()))):
            touched = [host for host in part if host.stage in TOUCHED]
            await in_parallel(touched, self._rollout.options.parallel, self._put_back)

    async def _put_back(self, host: Host) -> None:
        """Roll back one host and note the result; never raises for the host's own errors."""
        try:
            if not await self._try(host):
                return
        except HostError as error:
            if stays_as_noted(host):
                return
            host.stage, host.code, host.why = HostStage.STUCK, error.code, error.why
        await self._writer.host(host)
        self._observer.tell("host.finished", host)

    async def _try(self, host: Host) -> bool:
        """Return whether there is a result to note."""
        client, deadline = self._client_of(host), self._rollout.options.deadline
        now = asyncio.get_running_loop().time
        end = now() + deadline
        live = await self._idle(client, host, deadline)
        later = self._later.get(host.app)
        way = way_back(host, live, brought=False if later else None)
        if way is WayBack.READ_HISTORY:
            since = boots_since(self._rollout, host, live)
            brought = await client.brought(live.release or "", self._rollout.id, since)
            way = way_back(host, live, brought=brought)
        if way is WayBack.LEAVE_ALONE:
            return False
        if way is WayBack.MOVED_ON:
            raise _moved_on(live, f"it belongs to the later rollout {later.id}" if later else _NOT_OURS)
        if way is WayBack.NO_TARGET:
            raise HostError(Code.NO_TARGET, "it had no live release before")
        if way is WayBack.ROLL_BACK:
            await self._roll_back(client, host, live, end)
        host.stage, host.code, host.why = HostStage.REVERTED, "", ""
        return True

    async def _idle(self, client: HostClient, host: Host, deadline: float) -> HostStatus:
        """Return a host's status once it is not busy; usually it still finishes this rollout's deployment."""
        now = asyncio.get_running_loop().time
        end = now() + deadline
        first_contact = min(FIRST_CONTACT, deadline)
        if stays_as_noted(host):  # the next application waits for it
            live = await client.look(min(PASSING, deadline), first_contact=0.0)
        else:
            live = await client.look(deadline, first_contact=first_contact)
        while live.busy and now() < end:
            await asyncio.sleep(_LOOK)
            live = await client.look(end - now(), first_contact=first_contact)
        if live.busy:
            raise HostError(Code.HOST_LATE, "a run there has not ended within the deadline; the host continues on its own")
        return live

    async def _roll_back(self, client: HostClient, host: Host, live: HostStatus, end: float) -> None:
        """Roll back a host, unless somebody else deploys to it before the host hears of the rollback."""
        now = asyncio.get_running_loop().time
        again = host.stage is HostStage.REVERTING
        if not again:
            host.stage, host.release = HostStage.REVERTING, live.release
        await self._writer.host(host)
        self._observer.tell("host.reverting", host)

        async def under_way(identity: str, phase: str) -> None:
            host.deployment, host.phase = identity, phase

        try:
            record = await client.run(rollback(host, self._rollout), end - now(), under_way, again=again)
            require_success(record)
        except HostError as error:
            if error.code != Code.OVERTAKEN:
                raise
            live = await client.look(PASSING, first_contact=0.0)
            if live.release != host.before:
                raise _moved_on(live, "another run came before the rollback") from error
            host.release = live.release
        else:
            host.release = record.get("release")


def _moved_on(live: HostStatus, why: str) -> HostError:
    """Make the error for a host with a live release that this revert does not touch."""
    runs = f"runs {live.revision or live.release} now; {why}" if live.release else "has no live release now"
    return HostError(Code.HOST_MOVED_ON, runs)
