"""Back to what each host ran before: at once, without waves; and what could not be put back is named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from release_agent.errors import Code
from release_agent.rollout.gate import Gate, each
from release_agent.rollout.host.client import FIRST_CONTACT, Trouble, roll_back, took_it
from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.console.lines import Console
    from release_agent.rollout.host.client import HostClient, HostStatus
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.writer import Writer

_LOOK = 2.0
_TOUCHED = (
    HostStage.DONE,
    HostStage.FAILED,
    HostStage.UNREACHABLE,
    HostStage.STARTING,
    HostStage.DEPLOYING,
    HostStage.REVERTING,
    HostStage.STUCK,
)


class Revert:
    """The way back of one rollout."""

    def __init__(self, rollout: Rollout, writer: Writer, client_of: Callable[[Host], HostClient], console: Console) -> None:
        """Nothing is done yet."""
        self._rollout = rollout
        self._writer = writer
        self._client_of = client_of
        self._console = console

    async def go(self) -> bool:
        """Put back every host that this rollout changed; returns whether all of them are."""
        # Those that preflight left out, too: they may have followed the rollout since, by themselves.
        hosts = self._rollout.at(*_TOUCHED)
        self._console.tell("revert.started", hosts=len(hosts))
        await each(hosts, self._rollout.options.parallel, Gate(float("inf")), self._put_back)
        return not self._rollout.at(HostStage.STUCK)

    async def _put_back(self, host: Host) -> None:
        """Take one host back, whatever that comes to; one that never changed is left alone."""
        try:
            if not await self._ask(host):
                return
        except Trouble as trouble:
            if host.wave < 0 and host.stage is not HostStage.REVERTING:
                return  # nobody deployed to it, and why it was left out stays to be read
            host.stage, host.code, host.why = HostStage.STUCK, trouble.code, trouble.why
        await self._writer.host(host)
        self._console.tell("host.finished", host)

    async def _ask(self, host: Host) -> bool:
        agent, deadline = self._client_of(host), self._rollout.options.deadline
        now = asyncio.get_running_loop().time
        began = now()
        seen = await agent.look(min(FIRST_CONTACT, deadline))
        while seen.busy and now() - began < deadline:  # with what this rollout began, mostly: it ends by itself
            await asyncio.sleep(_LOOK)
            seen = await agent.look(min(FIRST_CONTACT, deadline))
        if seen.busy:
            raise Trouble(Code.HOST_LATE, "still busy after its deadline; it goes on by itself")
        if host.stage is not HostStage.REVERTING and not await self._is_ours(agent, host, seen):
            return self._left_alone(host, seen)
        if host.before is None and host.wave >= 0:
            raise Trouble(Code.NO_TARGET, "nothing was live there before")
        again, host.stage = host.stage is HostStage.REVERTING, HostStage.REVERTING
        await self._writer.host(host)
        self._console.tell("host.reverting", host)
        wish = roll_back(host.before or "", self._rollout.id)  # empty: the one before, by the host's own history
        host.deployment = await agent.fire(wish, deadline - (now() - began), again=again, after=host.deployment)
        record = await agent.follow(host.deployment, deadline - (now() - began), wish.method)
        took_it(record)
        host.stage, host.release, host.code, host.why = HostStage.REVERTED, record.get("release"), "", ""
        return True

    async def _is_ours(self, agent: HostClient, host: Host, seen: HostStatus) -> bool:
        """Whether what is live there is what this rollout brought, also to a host that followed it by itself."""
        if seen.release is None or seen.release == host.before:
            return False
        if host.deployment is None:
            # It is not known to have been fired: equal commits may be a person's.
            return await agent.brought(seen.release, self._rollout.id, self._rollout.started_at)
        return seen.commits == self._rollout.commits or seen.release == host.release

    def _left_alone(self, host: Host, seen: HostStatus) -> bool:
        """Note what is there instead; returns whether there is anything to note."""
        if seen.release == host.before and host.stage in (
            HostStage.DONE,
            HostStage.STARTING,
            HostStage.DEPLOYING,
            HostStage.STUCK,
        ):
            host.stage, host.code, host.why = HostStage.REVERTED, "", ""
            return True
        if host.stage in (HostStage.DONE, HostStage.STARTING, HostStage.DEPLOYING):
            raise Trouble(Code.HOST_MOVED_ON, f"runs {seen.revision or 'nothing'} now, which this rollout did not bring")
        # It never took the revision, or went back by itself: why it failed stays to be read.
        return False
