"""Run one rollout from its current state to its end: ask the policy for the next step, and do it."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, TypeVar

from release_agent.errors import Exit, FleetStopped
from release_agent.model import Completed
from release_agent.rollout.checkpoint import judge
from release_agent.rollout.gate import Gate
from release_agent.rollout.host.answers import require_success
from release_agent.rollout.host.model import HostError, NotStartedError, deployment, note_failure
from release_agent.rollout.model import ASKED, HostStage, Phase
from release_agent.rollout.parallel import alongside, in_parallel
from release_agent.rollout.policy import steps
from release_agent.rollout.policy.budgets import too_many_lost
from release_agent.rollout.policy.orders import ABORT
from release_agent.rollout.policy.waves import applications_of
from release_agent.rollout.policy.way_back import later_with_same_commits
from release_agent.rollout.revert import Revert
from release_agent.rollout.staging import Staging
from release_agent.rollout.verification import Verification

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from release_agent.rollout.bake import Watch
    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.model import Host, Order, Rollout
    from release_agent.rollout.observer import Observer
    from release_agent.rollout.writer import Writer

T = TypeVar("T")

_LEAVING = 3.0  # seconds to write down the state of an abandoned rollout


@dataclass(frozen=True)
class HostAccess:
    """The access to the hosts of a rollout."""

    client_of: Callable[[Host], HostClient]
    watch: Watch


class _AwaitsApprovalError(Exception):
    """No person can approve."""


class RolloutRun:
    """Runs one rollout, whose lock is held; writes down each change of a host before and after it."""

    def __init__(self, rollout: Rollout, writer: Writer, hosts: HostAccess, observer: Observer) -> None:
        """Call this in the event loop that runs the rollout."""
        self._rollout = rollout
        self._writer = writer
        self._hosts = hosts
        self._observer = observer
        self._gate = Gate(rollout.options.progress_deadline, self._stopping, lambda: writer.is_away)
        self._leftover = {host.name for host in rollout.at(*steps.IN_FLIGHT)}
        self._entered = self._baked = self._passed = self._verified = self._put_back = False
        self._asking = False

    async def go(self) -> Exit:
        """Continue the rollout or its revert, and return its end; when cancelled, leave hosts as they are and record that."""
        try:
            await self._take_over()
            # A lost lock ends the run.
            orders = self._writer.orders(self._rollout.id, self._obey)
            async with alongside(self._writer.keep_lock(), orders, self._gate.watch(), self._write_stop()):
                return await self._steps()
        except _AwaitsApprovalError:
            return Exit.AWAITS_APPROVAL
        except asyncio.CancelledError as cancelled:
            await self._leave(" by ".join(["stopped", *map(str, cancelled.args)]))
            raise
        except FleetStopped as error:  # its lock or its record is lost, or this machine lacks resources
            await self._leave(error.message)
            return Exit.FLEET_FAILED
        except Exception as bug:
            await self._leave(f"a bug: {bug!r:.200}")
            raise

    async def revert(self) -> Exit:
        """Roll back every host that took the revision; cancelled as go()."""
        self._rollout.reverting = ASKED
        return await self.go()

    async def _take_over(self) -> None:
        """Replace an earlier operator: its step is over, and orders from the time without an operator count."""
        rollout = self._rollout
        rollout.begin("")
        rollout.stopping = ""
        if rollout.aborted:
            self._gate.abort(rollout.aborted)
        if not rollout.reverting:
            await self._enter(Phase.RUNNING)
        await self._writer.heed(rollout.id, self._obey)
        self._stop_if_too_many_lost()  # the earlier operator may not have come to that

    async def _steps(self) -> Exit:
        while True:
            step = steps.next_step(self._rollout, self._situation())
            if isinstance(step, steps.Finish):
                await self._finish(step)
                return step.exit
            await self._do(step)

    def _situation(self) -> steps.Situation:
        gate = self._gate
        return steps.Situation(
            gate.stopped, gate.is_paused, self._entered, self._baked, self._passed, self._verified, self._put_back
        )

    async def _do(self, step: steps.Step) -> None:
        match step:
            case steps.FollowLeftover(hosts) | steps.Deploy(hosts):
                gate = self._gate if isinstance(step, steps.Deploy) else None
                await in_parallel(hosts, self._rollout.options.parallel, self._deploy, gate=gate)
            case steps.StageFirst(hosts):
                await self._stage(hosts)
            case steps.EnterWave(wave):
                await self._enter_wave(wave)
            case steps.Bake(hosts, seconds):
                await self._bake(hosts, seconds)
            case steps.RunGate(command):
                await self._run_gate(command)
            case steps.Verify(hosts):
                await self._verify(hosts)
            case steps.AskApproval():
                await self._ask_approval()
            case steps.WaitWhilePaused():
                await self._begin("")
                await self._gate.opened()
                self._verified = False  # hosts may have changed since the plan
            case steps.PutBack(why):
                await self._revert(why)

    # Forwards

    async def _begin(self, step: str, **details: object) -> None:
        """Write down the current step for those who watch, and tell it; empty: none."""
        self._rollout.begin(step)
        with self._gate.resting():  # the record may be away
            await self._writer.rollout(self._rollout)
        if step:
            self._observer.tell(f"{step}.started", None, **details)

    async def _stage(self, hosts: Sequence[Host]) -> None:
        await self._begin("staging", hosts=len(hosts))
        await Staging(self._rollout, self._writer, self._hosts.client_of, self._observer).of(hosts, self._gate)
        if not self._gate.stopped:
            self._rollout.staged = True
            await self._writer.rollout(self._rollout)

    async def _enter_wave(self, wave: int) -> None:
        rollout = self._rollout
        rollout.wave, self._entered, self._baked, self._passed = wave, True, False, False
        rollout.begin("")
        await self._enter(Phase.RUNNING)
        waves = rollout.waves
        apps = applications_of(waves[wave])
        self._observer.tell("wave.started", wave=wave + 1, waves=len(waves), hosts=len(waves[wave]), apps=apps)

    async def _deploy(self, host: Host) -> None:
        """Deploy to one host and note the result; never raises for the host's own errors."""
        host.stage = HostStage.STARTING
        await self._writer.host(host)
        self._observer.tell("host.started", host)
        try:
            await self._deployed(host)
        except HostError as error:
            note_failure(host, error)
            self._stop_if_too_many_lost()
        except NotStartedError:
            host.stage, host.deployment, host.phase = HostStage.PENDING, None, ""
        else:
            host.stage = HostStage.DONE
            self._gate.progressed()
        await self._writer.host(host)
        self._observer.tell("host.finished", host)

    async def _deployed(self, host: Host) -> None:
        rollout = self._rollout

        async def under_way(identity: str, phase: str) -> None:
            host.phase = phase
            if (host.deployment, host.stage) != (identity, HostStage.DEPLOYING):
                host.deployment, host.stage = identity, HostStage.DEPLOYING
                await self._writer.host(host)
                self._observer.tell("host.deploying", host, deployment=identity)

        client, gate = self._hosts.client_of(host), self._gate
        wanted = deployment(rollout, host.before, lambda: not gate.stopped)
        again = host.name in self._leftover
        record = await client.run(wanted, rollout.options.deadline, under_way, again=again, known=host.deployment)
        host.release = record.get("release")
        require_success(record, rollout.commits_of(host))

    def _stop_if_too_many_lost(self) -> None:
        why = too_many_lost(self._rollout)
        if why:
            self._gate.stop(why)

    def _stopping(self, why: str) -> None:
        if not self._rollout.reverting:
            self._rollout.stopping = why
            self._observer.tell("rollout.stopping", why=why)

    async def _write_stop(self) -> None:
        """Write down the reason of a stop for those who watch, because hosts in flight may continue for long."""
        await self._gate.shut.wait()
        await self._writer.rollout(self._rollout)

    async def _bake(self, hosts: Sequence[Host], seconds: float) -> None:
        """Watch hosts for a while, or until something stops the rollout."""
        await self._begin("bake", seconds=seconds, hosts=len(hosts))
        await self._unless_shut(self._watch(hosts, seconds))
        self._baked = True

    async def _unless_shut(self, work: Coroutine[Any, Any, T]) -> T | None:
        """Return the result of work; None if the rollout stops first. The progress deadline does not count during the work."""
        with self._gate.resting():
            working = asyncio.create_task(work)
            shut = asyncio.create_task(self._gate.shut.wait())
            try:
                await asyncio.wait((working, shut), return_when=asyncio.FIRST_COMPLETED)
                return await working if working.done() else None
            finally:
                for task in (working, shut):
                    task.cancel()
                await asyncio.wait((working, shut))

    async def _watch(self, hosts: Sequence[Host], seconds: float) -> None:
        async for found in self._hosts.watch(hosts, seconds):
            for host, error in found:
                note_failure(host, error)
            await asyncio.gather(*(self._writer.host(host) for host, _ in found))
            for host, _ in found:
                self._observer.tell("host.finished", host)
            self._stop_if_too_many_lost()  # only now, because a stop ends the watch

    async def _run_gate(self, command: str) -> None:
        rollout = self._rollout
        await self._begin("gate", wave=rollout.wave + 1)
        judged = await self._unless_shut(judge(command, rollout))
        if judged is None:
            return
        self._observer.tell("gate.finished", wave=rollout.wave + 1, exit=judged.code, output=judged.output)
        self._passed = judged.goes_on
        if judged.asks_a_person:
            rollout.asked, rollout.approved = rollout.wave, False
            self._gate.approved.clear()
            await self._writer.rollout(rollout)
        elif not judged.goes_on:
            self._gate.stop(f"{judged.describe()} (after wave {rollout.wave + 1})")

    async def _verify(self, hosts: Sequence[Host]) -> None:
        await self._begin("verification", hosts=len(hosts))
        verification = Verification(self._rollout, self._writer, self._hosts.client_of, self._observer)
        await self._unless_shut(verification.of(hosts))
        self._stop_if_too_many_lost()
        self._verified = True

    async def _ask_approval(self) -> None:
        await self._enter(Phase.WAITING)
        self._observer.tell("approval.awaited")
        with self._gate.resting():
            self._asking = True
            answer = await self._observer.ask(self._gate.approved)
            self._asking = False
            if answer is None:
                raise _AwaitsApprovalError
            if not answer:
                self._rollout.aborted = "not approved"
                self._gate.abort(self._rollout.aborted)
            if self._gate.stopped:  # an abort also answers
                return
            self._rollout.approved = True
            await self._gate.opened()
        if not self._gate.stopped:
            await self._enter(Phase.RUNNING)

    # Back

    async def _revert(self, why: str) -> None:
        rollout = self._rollout
        rollout.reverting = why
        await self._enter(Phase.REVERTING, why)
        later: dict[str, Completed] = {}
        for application in rollout.applications:
            fleet = (application.name, rollout.environment)
            followed = await self._writer.completed(*fleet)
            if followed and followed.id == rollout.id:
                await self._writer.follow(*fleet, application.replaced)
            same = later_with_same_commits(rollout.id, application, followed)
            later |= {application.name: same} if same else {}
        await Revert(rollout, self._writer, self._hosts.client_of, self._observer).go(later)
        self._put_back = True

    # Ends

    async def _finish(self, end: steps.Finish) -> None:
        if end.is_success and self._rollout.counts:
            await self._let_hosts_follow()
        await self._enter(end.phase, end.why)

    async def _let_hosts_follow(self) -> None:
        """Set the revision of each fleet, and keep the one before for a revert.

        Call this before writing down the end: if an operator is killed in between, the next one does this again.
        """
        rollout = self._rollout
        for application in rollout.applications:
            fleet = (application.name, rollout.environment)
            before = await self._writer.completed(*fleet)
            if before is None or before.id != rollout.id:
                application.replaced = before
                await self._writer.rollout(rollout)
                await self._writer.follow(*fleet, Completed(rollout.id, rollout.revision, application.commits))

    async def _enter(self, phase: Phase, why: str = "") -> None:
        self._show(phase, why)
        await self._writer.rollout(self._rollout)

    def _show(self, phase: Phase, why: str = "") -> None:
        changed = phase is not self._rollout.phase
        self._rollout.enter(phase, why)
        if changed:
            self._observer.tell(f"rollout.{phase}", why=why)

    async def _leave(self, why: str) -> None:
        self._show(steps.left_as(self._rollout, self._gate.stopped), why)
        with suppress(FleetStopped, TimeoutError):
            async with asyncio.timeout(_LEAVING):
                await self._writer.rollout(self._rollout)

    # Orders

    async def _obey(self, order: Order) -> None:
        rollout, gate = self._rollout, self._gate
        self._observer.tell("order.heard", verb=order.verb, who=order.who)
        if order.verb == ABORT and not rollout.reverting:
            rollout.aborted = rollout.stopping = f"ordered by {order.who}"
            await self._writer.rollout(rollout)
        elif not (rollout.reverting or gate.stopped):  # otherwise no more hosts start
            await self._go_on_as(order)
        await self._writer.acknowledge(order)
        if rollout.aborted:
            gate.abort(rollout.aborted)  # the last step, which may end the run immediately

    async def _go_on_as(self, order: Order) -> None:
        if order.verb == "pause":
            self._gate.pause()
            await self._enter(Phase.PAUSED, f"by {order.who}")
        elif order.verb == "resume":
            await self._enter(Phase.WAITING if self._asking else Phase.RUNNING)
            self._gate.resume()
        elif order.verb == "approve":
            self._rollout.approved = True
            await self._writer.rollout(self._rollout)
            self._gate.approved.set()
