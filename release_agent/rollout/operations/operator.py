"""The operator of a rollout, who plans, starts, continues and reverts it."""

from __future__ import annotations

import asyncio
import shlex
from contextlib import suppress
from functools import cached_property
from typing import TYPE_CHECKING, Protocol, TypeVar

from release_agent.errors import Code, Exit, Misconfigured, Refused
from release_agent.model import timestamp
from release_agent.repository.revision import check_revision
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import Host, Order, Phase, Rollout, rollout_id, who_am_i
from release_agent.rollout.operations.look import standing
from release_agent.rollout.operations.results import Result, RolloutPlan, ended
from release_agent.rollout.policy.budgets import over_budget
from release_agent.rollout.policy.orders import ABORT, overruled_by_resume
from release_agent.rollout.policy.preflight import nobody_left, one_revision, refuse_other_commits
from release_agent.rollout.policy.waves import assign_waves
from release_agent.rollout.preflight import Preflight
from release_agent.rollout.record.port import locked, refuse_if_frozen
from release_agent.rollout.run import HostAccess, RolloutRun
from release_agent.rollout.writer import Writer

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from release_agent.model import Completed
    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.observer import Observer
    from release_agent.rollout.operations.results import StartRequest
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import PreflightResult
    from release_agent.rollout.record.port import RolloutStore

T = TypeVar("T")

_LOOK = 1.0  # seconds
_LOOKS = 5  # looks until a paused rollout has resumed; its operator looks for orders once per second
_ASKED = 3  # hosts to ask for their password before a rollout continues
_PATIENCE = 900.0  # seconds to wait for a record that does not answer


class FleetAccess(Protocol):
    """The access to hosts and the record, with the credentials."""

    user: str
    password_file: str

    @property
    def record(self) -> RolloutStore:
        """The record of rollouts."""

    def adopt(self, rollout: Rollout) -> None:
        """Use the credentials that a rollout was started with; raises Misconfigured if they are not on this machine."""

    def host_access(self, rollout: Rollout) -> HostAccess:
        """Return the access to the hosts of a rollout."""

    def client_of(self, host: Host) -> HostClient:
        """Return the client of one host."""


class Operator:
    """Runs one rollout at a time, in one event loop. Every method raises RecordUnreachable if the record does not answer."""

    def __init__(
        self, access: FleetAccess, observer: Observer, sleep: Callable[[float], Awaitable[None]] = asyncio.sleep
    ) -> None:
        """``observer`` follows the rollout; ``sleep`` waits for some seconds."""
        self._access = access
        self._observer = observer
        self._sleep = sleep

    @cached_property
    def _writer(self) -> Writer:
        def away(why: str) -> None:
            self._observer.tell("record.away" if why else "record.back", why=why)

        return Writer(self._access.record, _PATIENCE, away)

    async def plan(self, wanted: StartRequest) -> RolloutPlan:
        """Look at every host and plan a rollout, without changes.

        Raises Refused, and FleetStopped if no host answers. Unless it is a dry run, it also raises Locked if another
        rollout of the fleet runs, and Refused if the fleet is frozen.
        """
        if not wanted.promote_from:
            check_revision(wanted.revision)
        preflight = Preflight(self._access.client_of, wanted.options, self._observer)
        self._observer.preflight(preflight.asking, wanted.options)
        try:
            return await self._looked(preflight, wanted)
        finally:
            self._observer.end()

    async def _looked(self, preflight: Preflight, wanted: StartRequest) -> RolloutPlan:
        writer = None if wanted.dry_run else self._writer
        hosts = [Host(**vars(target), order=order) for order, target in enumerate(wanted.hosts)]
        found = await preflight.look(hosts)
        # Check before the next questions to hosts, and after: they may be busy with another rollout.
        await _refuse_if_not_free(writer, found, wanted.options)
        promoted = await self._promoted(wanted, found)
        await preflight.wait_for_busy(hosts)
        revision = one_revision(promoted, wanted.promote_from) if promoted else wanted.revision
        await preflight.check(hosts, revision, found)
        refuse_other_commits(found.applications, promoted, wanted.promote_from)
        await _refuse_if_not_free(writer, found, wanted.options)
        assign_waves(hosts, wanted.options.waves, by_zone=wanted.options.by_zone)
        rollout = self._planned(wanted, hosts, found)
        rollout.revision = revision
        if writer:
            rollout.id = rollout_id(after=await writer.once(lambda record: record.newest(rollout.fleets)))
        return RolloutPlan(rollout, found.changes, over_budget(hosts, wanted.options) or nobody_left(hosts))

    def _planned(self, wanted: StartRequest, hosts: list[Host], found: PreflightResult) -> Rollout:
        return Rollout(
            id=rollout_id(),
            applications=found.applications,
            environment=found.environment,
            revision=wanted.revision,
            options=wanted.options,
            hosts={host.name: host for host in hosts},
            who=who_am_i(),
            started_at=timestamp(),
            user=self._access.user,
            password_file=self._access.password_file,
            service=wanted.service,
            whole=wanted.whole,
            reason=wanted.reason,
            promoted_from=wanted.promote_from,
        )

    async def _promoted(self, wanted: StartRequest, found: PreflightResult) -> dict[str, Completed]:
        """Return the completed rollout of each application in the environment to promote from, if any; raises Refused."""
        if not wanted.promote_from:
            return {}
        names = [application.name for application in found.applications]
        completed = await self._writer.once(lambda record: {name: record.completed(name, wanted.promote_from) for name in names})
        for name, of_one in completed.items():
            if of_one is None:
                raise Refused(
                    Code.NO_ROLLOUT,
                    f"no rollout of the whole fleet of {name} in {wanted.promote_from} has completed: no revision to promote",
                    hint=f"roll out a revision in {wanted.promote_from} first, or run `release-agent rollout start REVISION`",
                )
        return {name: of_one for name, of_one in completed.items() if of_one}

    async def start(self, plan: RolloutPlan) -> Result:
        """Write a plan down and run it to its end; raises Locked, Refused (frozen)."""
        rollout = plan.rollout
        for left in await self._writer.once(lambda record: record.all()):
            if not left.has_ended and set(left.fleets) & set(rollout.fleets):
                self._observer.tell("rollout.supersedes", id=left.id, phase=str(left.phase), revision=left.revision)
        await self._uninterrupted(lambda record: record.begin(rollout))
        return await self._run(rollout, lambda run: run.go())

    async def resume(self, identity: str, gate: str = "") -> Result:
        """Continue after a pause, or continue an abandoned rollout; raises NoTarget, Locked, Misconfigured, Refused (frozen).

        ``gate``: the command from the person; a command that only the record names does not run.
        """
        record = self._access.record
        found = await asyncio.to_thread(standing, record, identity)
        if found.running and found.rollout.stopping:
            raise ended(found.rollout)
        if found.rollout.phase is Phase.PAUSED and found.running:
            await asyncio.to_thread(refuse_if_frozen, record, found.rollout.fleets, found.rollout.options)
            await asyncio.to_thread(record.order, identity, Order("resume", who_am_i()))
            resumed = await self._resumed_elsewhere(identity)
            if resumed:
                return Result(resumed, Exit.OK, elsewhere=True)
        waiting = await self._writer.once(lambda record: record.waiting(identity))
        is_over = any(order.verb == ABORT for order in waiting)
        rollout = await self._taken(identity, lambda record, rollout: _require_resumable(record, rollout, gate, is_over=is_over))
        await self._uninterrupted(_drop_overruled(identity))
        return await self._run(rollout, lambda run: run.go())

    async def _resumed_elsewhere(self, identity: str) -> Rollout | None:
        """Return the rollout once its operator has resumed it, and perhaps completed it; raises NoTarget if it stops.

        An operator who was killed holds the lock for a while.
        """
        for _ in range(_LOOKS):
            await self._sleep(_LOOK)
            rollout = await asyncio.to_thread(self._access.record.read, identity)
            if rollout.reverting or rollout.stopping:  # its operator ignores the order
                raise ended(rollout)
            if rollout.phase is not Phase.PAUSED:
                return rollout
        return None

    async def revert(self, identity: str) -> Result:
        """Roll back every host that took the revision, even if the rollout has ended; raises NoTarget, Locked, Misconfigured."""
        rollout = await self._taken(identity)
        return await self._run(rollout, lambda run: run.revert())

    async def _taken(
        self, identity: str, require: Callable[[RolloutStore, Rollout], None] = lambda _record, _rollout: None
    ) -> Rollout:
        """Take the lock of a rollout, and release it if a check fails."""
        rollout = await self._uninterrupted(lambda record: record.take(identity))
        try:
            await self._writer.once(lambda record: require(record, rollout))
            self._access.adopt(rollout)
            await self._require_password(rollout)
        except BaseException:
            await self._writer.let_go()
            raise
        return rollout

    async def _require_password(self, rollout: Rollout) -> None:
        """Raise Misconfigured if hosts want another password, which is no reason to stop a rollout."""
        asked = [host for host in rollout.hosts.values() if host.wave >= 0][:_ASKED]
        codes = await asyncio.gather(*map(self._code_of, asked))
        refusing = [host.name for host, code in zip(asked, codes, strict=True) if code == Code.HOST_UNAUTHORISED]
        if refusing and "" not in codes:
            raise Misconfigured(
                Code.HOST_UNAUTHORISED,
                f"these hosts want another user or password: {', '.join(refusing)}; no host was changed",
                hint="give --user and --password-file",
            )

    async def _code_of(self, host: Host) -> str:
        try:
            await self._access.client_of(host).look()
        except HostError as error:
            return error.code
        return ""

    async def _uninterrupted(self, call: Callable[[RolloutStore], T]) -> T:
        """Do one operation on the record to its end, and only then let a cancellation interrupt this task, at its next wait.

        A cancellation does not stop the record's thread. Otherwise that thread would take locks that nobody releases.
        """
        work = asyncio.create_task(self._writer.once(call))
        try:
            return await asyncio.shield(work)
        except asyncio.CancelledError as cancelled:
            done = await work
            task = asyncio.current_task()
            if task:
                task.cancel(*cancelled.args)
            return done

    async def _run(self, rollout: Rollout, go: Callable[[RolloutRun], Awaitable[Exit]]) -> Result:
        """Run a rollout whose lock is held, and release the lock; when cancelled, leave hosts as they are."""
        try:
            self._observer.begin(rollout)
            try:
                code = await go(RolloutRun(rollout, self._writer, self._access.host_access(rollout), self._observer))
            except asyncio.CancelledError:
                code = Exit.CANCELLED
            finally:
                self._observer.end()
        finally:
            # The rollout's run has ended: a signal must not hide its result.
            with suppress(asyncio.CancelledError):
                await self._writer.let_go()
        return Result(rollout, code)


def _drop_overruled(identity: str) -> Callable[[RolloutStore], None]:
    def drop(record: RolloutStore) -> None:
        for order in overruled_by_resume(record.waiting(identity)):
            record.acknowledge(order)

    return drop


def _require_resumable(record: RolloutStore, rollout: Rollout, gate: str, *, is_over: bool) -> None:
    """Raise NoTarget if a rollout has ended, Refused for a frozen fleet, and Misconfigured for an unconfirmed gate.

    ``is_over``: an abort is waiting, so no more hosts start, and no gate runs.
    """
    _refuse_if_ended(rollout)
    if rollout.reverting or rollout.aborted or is_over:
        return
    refuse_if_frozen(record, rollout.fleets, rollout.options)
    recorded = rollout.options.gate
    if recorded not in ("", gate):  # others may write the record
        raise Misconfigured(
            Code.GATE_UNCONFIRMED,
            f"{rollout.id} has a gate, `{recorded}`, and the agent runs no command that only the record names",
            hint=f"read the command, then run this command again with --gate {shlex.quote(recorded)}",
        )


def _refuse_if_ended(rollout: Rollout) -> None:
    if rollout.has_ended:
        raise ended(rollout)


async def _refuse_if_not_free(writer: Writer | None, found: PreflightResult, options: Options) -> None:
    """Raise Locked if another rollout of one of the fleets runs, Refused if one is frozen; without a writer, check nothing."""
    if writer:
        await writer.once(lambda record: _require_free(record, found, options))


def _require_free(record: RolloutStore, found: PreflightResult, options: Options) -> None:
    fleets = [(application.name, found.environment) for application in found.applications]
    for fleet in fleets:
        holder = record.holder(*fleet)
        if holder:
            raise locked(*fleet, holder)
    refuse_if_frozen(record, fleets, options)
