"""Back to what each host ran before: at once, without waves; and what could not be put back is named."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from release_agent.errors import Code
from release_agent.rollout.agent import FIRST_CONTACT, Trouble, roll_back, took_it
from release_agent.rollout.model import Stage
from release_agent.rollout.window import Gate, each

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.agent import Agent, Seen
    from release_agent.rollout.console import Console
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.writer import Writer

_LOOK = 2.0
_TOUCHED = (Stage.DONE, Stage.FAILED, Stage.UNREACHABLE, Stage.STARTING, Stage.DEPLOYING, Stage.REVERTING, Stage.STUCK)


class Revert:
    """The way back of one rollout."""

    def __init__(self, rollout: Rollout, writer: Writer, agent_of: Callable[[Host], Agent], console: Console) -> None:
        """Nothing is done yet."""
        self._rollout = rollout
        self._writer = writer
        self._agent_of = agent_of
        self._console = console

    async def go(self) -> bool:
        """Put back every host that this rollout changed; returns whether all of them are."""
        # One that preflight found not to be there may have followed the rollout since, by itself.
        hosts = [host for host in self._rollout.at(*_TOUCHED) if host.wave >= 0 or host.stage is Stage.UNREACHABLE]
        self._console.tell("revert.started", hosts=len(hosts))
        await each(hosts, self._rollout.options.parallel, Gate(float("inf")), self._put_back)
        return not self._rollout.at(Stage.STUCK)

    async def _put_back(self, host: Host) -> None:
        """Take one host back, whatever that comes to; one that never changed is left alone."""
        try:
            if not await self._ask(host):
                return
        except Trouble as trouble:
            if host.wave < 0 and trouble.unreachable:
                return  # still not there: nobody deployed to it
            host.stage, host.code, host.why = Stage.STUCK, trouble.code, trouble.why
        await self._writer.host(host)
        self._console.tell("host.finished", host)

    async def _ask(self, host: Host) -> bool:
        agent, deadline = self._agent_of(host), self._rollout.options.deadline
        now = asyncio.get_running_loop().time
        began = now()
        seen = await agent.look(min(FIRST_CONTACT, deadline))
        while seen.busy and now() - began < deadline:  # with what this rollout began, mostly: it ends by itself
            await asyncio.sleep(_LOOK)
            seen = await agent.look(min(FIRST_CONTACT, deadline))
        if host.stage is not Stage.REVERTING and not self._is_ours(host, seen):
            return self._left_alone(host, seen)
        if host.before is None and host.wave >= 0:
            raise Trouble(Code.NO_TARGET, "nothing was live there before")
        again, host.stage = host.stage is Stage.REVERTING, Stage.REVERTING
        await self._writer.host(host)
        self._console.tell("host.reverting", host)
        wish = roll_back(host.before or "", self._rollout.id)  # empty: the one before, by the host's own history
        host.deployment = await agent.fire(wish, deadline - (now() - began), again=again)
        record = await agent.follow(host.deployment, deadline - (now() - began), wish.method)
        took_it(record)
        host.stage, host.release, host.code, host.why = Stage.REVERTED, record.get("release"), "", ""
        return True

    def _is_ours(self, host: Host, seen: Seen) -> bool:
        """Whether what is live there is what this rollout brought."""
        if seen.release == host.before:
            return False
        return seen.commits == self._rollout.commits or seen.release == host.release

    def _left_alone(self, host: Host, seen: Seen) -> bool:
        """Note what is there instead; returns whether there is anything to note."""
        if seen.release == host.before and host.stage in (Stage.DONE, Stage.STARTING, Stage.DEPLOYING, Stage.STUCK):
            host.stage, host.code, host.why = Stage.REVERTED, "", ""
            return True
        if host.stage is Stage.DONE:
            raise Trouble(Code.HOST_MOVED_ON, f"runs {seen.revision or 'nothing'} now, which this rollout did not bring")
        # It never took the revision, or went back by itself: why it failed stays to be read.
        return False
