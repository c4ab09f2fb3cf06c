"""One rollout: wave after wave, watched in between; stopped when it goes wrong, and put back where that was asked for."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from release_agent.errors import Exit, LockLost, RecordUnreachable
from release_agent.model import timestamp
from release_agent.rollout.agent import Trouble, deploy, took_it
from release_agent.rollout.model import Completed, Phase, Stage
from release_agent.rollout.plan import in_turn, over_budget, whole_wave_lost
from release_agent.rollout.revert import Revert
from release_agent.rollout.window import Gate, Stopped, each

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    from release_agent.rollout.agent import Agent
    from release_agent.rollout.bake import Watch
    from release_agent.rollout.console import Console
    from release_agent.rollout.model import Host, Order, Rollout
    from release_agent.rollout.writer import Writer


class AwaitsApproval(Exception):
    """Nobody is here to ask."""


class Run:
    """Runs one rollout from wherever it is to its end; what it does to a host is written down before and after."""

    def __init__(
        self, rollout: Rollout, writer: Writer, agent_of: Callable[[Host], Agent], watch: Watch, console: Console
    ) -> None:
        """The lock is held, the plan written down."""
        self._rollout = rollout
        self._writer = writer
        self._agent_of = agent_of
        self._watch = watch
        self._console = console
        self._gate = Gate(rollout.options.progress_deadline)
        self._resumed = {host.name for host in rollout.at(Stage.STARTING, Stage.DEPLOYING)}

    async def go(self) -> Exit:
        """Run it; returns how it ended. Cancelled, it leaves hosts as they are and says so in the record."""
        try:
            async with self._kept():
                if self._rollout.phase is Phase.REVERTING:
                    return await self._revert(self._rollout.why)
                try:
                    await self._waves()
                except Stopped as stopped:
                    return await self._stopped(stopped)
                return await self._complete()
        except AwaitsApproval:
            return Exit.AWAITS_APPROVAL
        except asyncio.CancelledError:
            await self._leave("interrupted by whoever ran it")
            raise
        except (LockLost, RecordUnreachable) as error:
            self._enter(Phase.INTERRUPTED, error.message)
            return Exit.FLEET_FAILED

    async def revert(self) -> Exit:
        """Put back every host that took the revision."""
        async with self._kept():
            code = await self._revert("asked for")
        return Exit.OK if code is Exit.FLEET_REVERTED else code

    # Waves

    async def _waves(self) -> None:
        rollout, waves = self._rollout, self._rollout.waves
        self._judge_budgets()  # what preflight found counts
        for number in range(rollout.wave, len(waves)):
            await self._gate.passable()
            rollout.wave = number
            await self._enter_and_save(Phase.RUNNING)
            self._console.tell("wave.started", wave=number + 1, waves=len(waves), hosts=len(waves[number]))
            for hosts in in_turn(waves[number]):
                await each(hosts, rollout.options.parallel, self._gate, self._deploy)
                self._gate.raise_if_stopped()
            if whole_wave_lost(waves[number]):
                message = f"no host of wave {number + 1} took it"
                raise Stopped(message)
            if number + 1 < len(waves):
                await self._bake()
                if number == 0 and rollout.options.approve and not rollout.approved:
                    await self._approval()

    async def _deploy(self, host: Host) -> None:
        """Take one host to its end, whatever that is; it never raises for the host's own trouble."""
        if host.stage not in (Stage.PENDING, Stage.STARTING, Stage.DEPLOYING):
            return
        rollout, deadline = self._rollout, self._rollout.options.deadline
        host.stage = Stage.STARTING
        await self._writer.host(host)
        self._console.tell("host.started", host)
        agent, again = self._agent_of(host), host.name in self._resumed
        try:
            began = asyncio.get_running_loop().time()
            host.deployment = await agent.fire(deploy(rollout.revision, rollout.id), deadline, again=again)
            host.stage = Stage.DEPLOYING
            self._console.tell("host.deploying", host, deployment=host.deployment)
            record = await agent.follow(host.deployment, deadline - (asyncio.get_running_loop().time() - began))
            host.release = record.get("release")
            took_it(record)
        except Trouble as trouble:
            host.stage = Stage.UNREACHABLE if trouble.unreachable else Stage.FAILED
            host.code, host.why = trouble.code, trouble.why
        else:
            host.stage = Stage.DONE
            self._gate.progressed()
        await self._writer.host(host)
        self._console.tell("host.finished", host)
        self._judge_budgets()

    def _judge_budgets(self) -> None:
        exceeded = over_budget(list(self._rollout.hosts.values()), self._rollout.options)
        if exceeded:
            self._gate.stop(exceeded)

    async def _bake(self) -> None:
        """Watch the hosts done so far; one that turns sick has failed."""
        rollout = self._rollout
        if not rollout.options.bake:
            return
        self._console.tell("bake.started", seconds=rollout.options.bake, hosts=len(rollout.at(Stage.DONE)))
        with self._gate.resting():
            async for host, trouble in self._watch(rollout.at(Stage.DONE), rollout.options.bake):
                host.stage = Stage.UNREACHABLE if trouble.unreachable else Stage.FAILED
                host.code, host.why = trouble.code, trouble.why
                await self._writer.host(host)
                self._console.tell("host.finished", host)
                self._judge_budgets()
                self._gate.raise_if_stopped()
            await self._gate.passable()

    async def _approval(self) -> None:
        await self._enter_and_save(Phase.WAITING)
        self._console.tell("approval.awaited", resume=f"release-agent rollout approve {self._rollout.id}")
        with self._gate.resting():
            answer = await self._console.ask(self._gate.approved)
        if answer is None:
            raise AwaitsApproval
        if not answer:
            self._gate.abort("not approved")
        self._gate.raise_if_stopped()
        self._rollout.approved = True
        await self._enter_and_save(Phase.RUNNING)

    # Ends

    async def _complete(self) -> Exit:
        rollout = self._rollout
        whole = not rollout.at(Stage.FAILED, Stage.UNREACHABLE)
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
        if self._rollout.options.revert and self._rollout.at(Stage.DONE, Stage.FAILED, Stage.UNREACHABLE):
            return await self._revert(str(stopped))
        await self._end(Phase.FAILED, str(stopped))
        return Exit.FLEET_FAILED

    async def _revert(self, why: str) -> Exit:
        await self._enter_and_save(Phase.REVERTING, why)
        followed = await self._writer.completed(self._rollout)
        if followed and followed.id == self._rollout.id:
            await self._writer.follow(self._rollout, self._rollout.replaced)
        whole = await Revert(self._rollout, self._writer, self._agent_of, self._console).go()
        await self._end(Phase.REVERTED if whole else Phase.FAILED, why)
        return Exit.FLEET_REVERTED if whole else Exit.FLEET_FAILED

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
        self._enter(Phase.INTERRUPTED, why)
        with suppress(LockLost, RecordUnreachable, TimeoutError):
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
        lost: list[LockLost] = []

        def ended(task: asyncio.Task[None]) -> None:
            if not task.cancelled() and isinstance(task.exception(), LockLost) and main:
                lost.append(task.exception())  # type: ignore[arg-type]
                main.cancel()

        tasks[0].add_done_callback(ended)
        try:
            yield
        except asyncio.CancelledError:
            if lost:
                raise lost[0] from None
            raise
        finally:
            for task in tasks:
                task.cancel()

    async def _obey(self, order: Order) -> None:
        self._console.tell("order.heard", verb=order.verb, who=order.who)
        if order.verb == "pause":
            self._gate.pause()
            await self._enter_and_save(Phase.PAUSED, f"by {order.who}")
        elif order.verb == "resume":
            await self._enter_and_save(Phase.RUNNING)
            self._gate.resume()
        elif order.verb == "approve":
            self._gate.approved.set()
        elif order.verb == "abort":
            self._gate.abort(f"aborted by {order.who}")
