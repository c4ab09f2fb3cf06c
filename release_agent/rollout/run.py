"""One rollout: wave after wave, watched in between; stopped when it goes wrong, and put back where that was asked for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from release_agent.errors import Exit, FleetStopped
from release_agent.model import Completed, timestamp
from release_agent.rollout.gate import Gate, Stopped, each
from release_agent.rollout.host.client import Trouble, deploy, took_it
from release_agent.rollout.model import ASKED, HostStage, Phase
from release_agent.rollout.policy.waves import in_turn, over_budget, whole_wave_lost
from release_agent.rollout.revert import Revert

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable

    from release_agent.rollout.bake import Watch
    from release_agent.rollout.console.lines import Console
    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.model import Host, Order, Rollout
    from release_agent.rollout.writer import Writer


class AwaitsApproval(Exception):
    """Nobody is here to ask."""


class RolloutRun:
    """Runs one rollout from wherever it is to its end; what it does to a host is written down before and after."""

    def __init__(
        self, rollout: Rollout, writer: Writer, client_of: Callable[[Host], HostClient], watch: Watch, console: Console
    ) -> None:
        """The lock is held, the plan written down."""
        self._rollout = rollout
        self._writer = writer
        self._client_of = client_of
        self._watch = watch
        self._console = console
        self._gate = Gate(rollout.options.progress_deadline)
        self._resumed = {host.name for host in rollout.at(HostStage.STARTING, HostStage.DEPLOYING)}

    async def go(self) -> Exit:
        """Run it on, forwards or back; returns how it ended. Cancelled, it leaves hosts as they are and says so in the record."""
        return await self._guarded(self._revert if self._rollout.reverting else self._forwards)

    async def revert(self) -> Exit:
        """Put back every host that took the revision; cancelled as go()."""
        self._rollout.reverting, self._rollout.ended_at = ASKED, None
        return await self._guarded(self._revert)

    async def _guarded(self, work: Callable[[], Awaitable[Exit]]) -> Exit:
        try:
            async with self._kept():
                return await work()
        except AwaitsApproval:
            return Exit.AWAITS_APPROVAL
        except asyncio.CancelledError:
            await self._leave("interrupted by whoever ran it")
            raise
        except FleetStopped as error:  # its lock or its record is lost, or this machine cannot go on
            await self._leave(error.message)
            return Exit.FLEET_FAILED
        except Exception as bug:
            await self._leave(f"a bug: {bug!r:.200}")
            raise

    async def _forwards(self) -> Exit:
        try:
            await self._waves()
        except Stopped as stopped:
            return await self._stopped(stopped)
        return await self._complete()

    # Waves

    async def _waves(self) -> None:
        rollout, waves = self._rollout, self._rollout.waves
        # What somebody left in the middle is followed to its end, whatever comes then.
        left = rollout.at(HostStage.STARTING, HostStage.DEPLOYING)
        await each(left, rollout.options.parallel, Gate(float("inf")), self._deploy)
        self._judge()  # what preflight found counts
        for number in range(rollout.wave, len(waves)):
            await self._gate.passable()
            rollout.wave = number
            await self._enter_and_save(Phase.RUNNING)
            self._console.tell("wave.started", wave=number + 1, waves=len(waves), hosts=len(waves[number]))
            for hosts in in_turn(waves[number]):
                await each(hosts, rollout.options.parallel, self._gate, self._deploy)
                self._gate.raise_if_stopped()
            if number + 1 < len(waves):
                await self._bake()
                if number == 0 and rollout.options.approve and not rollout.approved:
                    await self._approval()

    async def _deploy(self, host: Host) -> None:
        """Take one host to its end, whatever that is; it never raises for the host's own trouble."""
        if host.stage not in (HostStage.PENDING, HostStage.STARTING, HostStage.DEPLOYING):
            return
        rollout, deadline = self._rollout, self._rollout.options.deadline
        host.stage = HostStage.STARTING
        await self._writer.host(host)
        self._console.tell("host.started", host)
        agent, again, wish = self._client_of(host), host.name in self._resumed, deploy(rollout.revision, rollout.id)
        try:
            began = asyncio.get_running_loop().time()
            host.deployment = await agent.fire(wish, deadline, again=again)
            host.stage = HostStage.DEPLOYING
            self._console.tell("host.deploying", host, deployment=host.deployment)
            left = deadline - (asyncio.get_running_loop().time() - began)
            record = await agent.follow(host.deployment, left, wish.method)
            host.release = record.get("release")
            took_it(record, rollout.commits)
        except Trouble as trouble:
            host.stage = HostStage.UNREACHABLE if trouble.unreachable else HostStage.FAILED
            host.code, host.why = trouble.code, trouble.why
            self._judge()
        else:
            host.stage = HostStage.DONE
            self._gate.progressed()
        await self._writer.host(host)
        self._console.tell("host.finished", host)

    def _judge(self) -> None:
        """Stop where a budget is exceeded, or where no host of the wave is left, whatever the budgets."""
        rollout = self._rollout
        exceeded = over_budget(list(rollout.hosts.values()), rollout.options)
        if exceeded:
            self._gate.stop(exceeded)
        elif rollout.waves and whole_wave_lost(rollout.waves[rollout.wave]):
            self._gate.stop(f"no host of wave {rollout.wave + 1} took it, or stayed well")

    async def _bake(self) -> None:
        """Watch the hosts done so far, for a while or until something stops the rollout."""
        rollout = self._rollout
        if not rollout.options.bake:
            return
        self._console.tell("bake.started", seconds=rollout.options.bake, hosts=len(rollout.at(HostStage.DONE)))
        with self._gate.resting():
            watching = asyncio.create_task(self._watch_done())
            shut = asyncio.create_task(self._gate.shut.wait())
            try:
                await asyncio.wait((watching, shut), return_when=asyncio.FIRST_COMPLETED)
            finally:
                shut.cancel()
                if not watching.done():
                    watching.cancel()
            self._gate.raise_if_stopped()
            await watching
            await self._gate.passable()

    async def _watch_done(self) -> None:
        async for host, trouble in self._watch(self._rollout.at(HostStage.DONE), self._rollout.options.bake):
            host.stage = HostStage.UNREACHABLE if trouble.unreachable else HostStage.FAILED
            host.code, host.why = trouble.code, trouble.why
            await self._writer.host(host)
            self._console.tell("host.finished", host)
            self._judge()

    async def _approval(self) -> None:
        await self._gate.passable()
        await self._enter_and_save(Phase.WAITING)
        self._console.tell("approval.awaited")
        with self._gate.resting():
            answer = await self._console.ask(self._gate.approved)
            if answer is None:
                raise AwaitsApproval
            if not answer:
                self._gate.abort("not approved")
            self._gate.raise_if_stopped()
            self._rollout.approved = True
            await self._gate.passable()
        await self._enter_and_save(Phase.RUNNING)

    # Ends

    async def _complete(self) -> Exit:
        rollout = self._rollout
        whole = not rollout.at(HostStage.FAILED, HostStage.UNREACHABLE)
        # First what hosts follow: killed in between, whoever resumes comes here again.
        await self._follow(Completed(rollout.id, rollout.revision, rollout.commits))
        await self._end(Phase.COMPLETED if whole else Phase.PARTIAL)
        return Exit.OK if whole else Exit.FLEET_PARTIAL

    async def _follow(self, completed: Completed) -> None:
        """Let the fleet's hosts follow this rollout; what they followed before is kept, to go back to."""
        rollout = self._rollout
        before = await self._writer.completed(rollout)
        if before is None or before.id != rollout.id:
            rollout.replaced = before
            await self._writer.rollout(rollout)
            await self._writer.follow(rollout, completed)

    async def _stopped(self, stopped: Stopped) -> Exit:
        if stopped.aborted:
            await self._end(Phase.ABORTED, str(stopped))
            return Exit.FLEET_FAILED
        if self._rollout.options.revert and self._rollout.at(HostStage.DONE, HostStage.FAILED, HostStage.UNREACHABLE):
            self._rollout.reverting = str(stopped)
            return await self._revert()
        await self._end(Phase.FAILED, str(stopped))
        return Exit.FLEET_FAILED

    async def _revert(self) -> Exit:
        rollout, why = self._rollout, self._rollout.reverting
        await self._enter_and_save(Phase.REVERTING, why)
        followed = await self._writer.completed(rollout)
        if followed and followed.id == rollout.id:
            await self._writer.follow(rollout, rollout.replaced)
        whole = await Revert(rollout, self._writer, self._client_of, self._console).go()
        await self._end(Phase.REVERTED if whole else Phase.FAILED, why if whole else f"not all hosts could be put back ({why})")
        if not whole:
            return Exit.FLEET_FAILED
        return Exit.OK if why == ASKED else Exit.FLEET_REVERTED

    async def _end(self, phase: Phase, why: str = "") -> None:
        self._rollout.ended_at = timestamp()
        await self._enter_and_save(phase, why)

    async def _enter_and_save(self, phase: Phase, why: str = "") -> None:
        self._enter(phase, why)
        await self._writer.rollout(self._rollout)

    def _enter(self, phase: Phase, why: str = "") -> None:
        changed = phase is not self._rollout.phase
        self._rollout.phase, self._rollout.why = phase, why
        if changed:
            self._console.tell(f"rollout.{phase}", why=why)

    async def _leave(self, why: str) -> None:
        aborted = self._gate.is_aborted and not self._rollout.reverting
        self._rollout.ended_at = timestamp() if aborted else None
        self._enter(Phase.ABORTED if aborted else Phase.INTERRUPTED, why)
        with suppress(FleetStopped, TimeoutError):
            async with asyncio.timeout(3):
                await self._writer.rollout(self._rollout)

    # Meanwhile

    @asynccontextmanager
    async def _kept(self) -> AsyncIterator[None]:
        """Keep the lock, hear orders and watch the progress meanwhile; a lock that is lost ends it all."""
        tasks = [
            asyncio.create_task(work) for work in (self._writer.keep_lock(), self._writer.orders(self._obey), self._gate.watch())
        ]
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

    async def _obey(self, order: Order) -> None:
        self._console.tell("order.heard", verb=order.verb, who=order.who)
        if self._rollout.reverting:
            return  # it came before the way back began, on which there is nothing to wait for
        if order.verb == "pause":
            self._gate.pause()
            await self._enter_and_save(Phase.PAUSED, f"by {order.who}")
        elif order.verb == "resume":
            await self._enter_and_save(Phase.RUNNING)
            self._gate.resume()
        elif order.verb == "approve":
            self._rollout.approved = True
            await self._writer.rollout(self._rollout)
            self._gate.approved.set()
        elif order.verb == "abort":
            self._gate.abort(f"aborted by {order.who}")
