"""What each verb of ``rollout`` does: the composition root of this package."""

from __future__ import annotations

import asyncio
import resource
import signal
import time
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from release_agent.errors import Cancelled, Code, Exit, FleetStopped, Misconfigured, NoTarget
from release_agent.model import SUCCESSES, timestamp
from release_agent.repository.revision import check_revision
from release_agent.rollout.arguments import options
from release_agent.rollout.console import text
from release_agent.rollout.host.client import Trouble
from release_agent.rollout.model import Host, HostStage, Order, Phase, Rollout, rollout_id, who_am_i
from release_agent.rollout.policy.waves import assign_waves, over_budget
from release_agent.rollout.preflight import Preflight
from release_agent.rollout.record.port import locked
from release_agent.rollout.run import RolloutRun
from release_agent.rollout.wiring import RolloutParts
from release_agent.rollout.writer import Writer

if TYPE_CHECKING:
    import argparse
    from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine

    from release_agent.rollout.policy.options import Options
    from release_agent.rollout.preflight import PreflightResult

_LOOK = 1.0  # seconds
_ASKED = 3  # hosts, before it goes on
_HEARING = 5  # looks; whoever runs a rollout looks for orders once a second
_PATIENCE = 900.0  # seconds to wait for a record that is away


def call(arguments: argparse.Namespace) -> int:
    """Run one verb; returns its exit code, raises ReleaseError."""
    verbs: dict[str, Callable[[argparse.Namespace], int]] = {
        "start": start,
        "list": list_all,
        "status": status,
        "resume": resume,
        "revert": revert,
        "pause": order,
        "approve": order,
        "abort": abort,
    }
    return verbs[arguments.verb](arguments)


def start(arguments: argparse.Namespace) -> int:
    """Look at every host, show the plan, and deploy wave after wave."""
    check_revision(arguments.revision)
    access = RolloutParts(arguments)
    hosts = [Host(**vars(target), order=order) for order, target in enumerate(access.targets())]
    return _run(_start(arguments, access, hosts))


async def _start(arguments: argparse.Namespace, access: RolloutParts, hosts: list[Host]) -> int:
    chosen = options(arguments)
    writer = None if arguments.dry_run else _writer(access)
    rollout, found = await _plan(access, hosts, arguments.revision, chosen, writer)
    nobody = "" if rollout.at(HostStage.PENDING, HostStage.SKIPPED) else "no host is left to deploy to"
    exceeded = over_budget(hosts, chosen) or nobody
    access.console.plan(rollout, found.changes, exceeded)
    if exceeded:
        failed = [host for host in hosts if host.code]
        why = f"{exceeded}; nothing was changed: {text.troubles(failed)}"
        raise FleetStopped(Code.FLEET_STOPPED, why, hint="mend them, leave them out with --exclude, or allow for them")
    if writer is None:
        return Exit.OK
    for left in await writer.once(lambda record: record.all()):
        if not left.has_ended and (left.app, left.environment) == (rollout.app, rollout.environment):
            access.console.tell("rollout.supersedes", id=left.id, phase=str(left.phase), revision=left.revision)
    await writer.once(lambda record: record.begin(rollout))
    return await _finish(access, writer, rollout, lambda run: run.go())


async def _plan(
    access: RolloutParts, hosts: list[Host], revision: str, chosen: Options, writer: Writer | None
) -> tuple[Rollout, PreflightResult]:
    examiner = Preflight(access.client_of, chosen.parallel)
    found = await examiner.look(hosts)
    # Before hosts are asked for more, and after: they may be busy with what somebody else rolls out.
    await _refuse_if_held(writer, found)
    await examiner.wait_for_busy(hosts)
    await examiner.check(hosts, revision, found)
    await _refuse_if_held(writer, found)
    assign_waves(hosts, chosen.waves)
    rollout = Rollout(
        id=rollout_id(),
        app=found.app,
        environment=found.environment,
        revision=revision,
        commits=found.commits,
        options=chosen,
        hosts={host.name: host for host in hosts},
        who=who_am_i(),
        started_at=timestamp(),
        user=access.user,
        password_file=access.password_file,
        service=access.service,
    )
    return rollout, found


async def _refuse_if_held(writer: Writer | None, found: PreflightResult) -> None:
    holder = await writer.once(lambda record: record.holder(found.app, found.environment)) if writer else None
    if holder:
        raise locked(found.app, found.environment, holder)


@asynccontextmanager
async def _given_back(writer: Writer) -> AsyncIterator[None]:
    """Let go of the lock where what is looked at first speaks against going on."""
    try:
        yield
    except BaseException:
        await writer.let_go()
        raise


async def _let_in(access: RolloutParts, rollout: Rollout) -> None:
    """Raise Misconfigured where hosts want another password: it is no reason to give a rollout up."""
    access.adopt(rollout)

    async def ask(host: Host) -> str:
        try:
            await access.client_of(host).look()
        except Trouble as trouble:
            return trouble.code
        return ""

    asked = [host for host in rollout.hosts.values() if host.wave >= 0][:_ASKED]
    answers = await asyncio.gather(*map(ask, asked))
    if Code.HOST_UNAUTHORISED in answers and "" not in answers:
        names = ", ".join(host.name for host, code in zip(asked, answers, strict=True) if code == Code.HOST_UNAUTHORISED)
        raise Misconfigured(
            Code.HOST_UNAUTHORISED,
            f"another user or password is wanted by {names}; nothing was done",
            hint="give --user and --password-file",
        )


async def _finish(access: RolloutParts, writer: Writer, rollout: Rollout, go: Callable[[RolloutRun], Awaitable[Exit]]) -> int:
    """Run what the lock is held for, let go of it, and say how it ended."""

    def again(verb: str) -> str:
        return access.again(rollout, verb)

    try:
        try:
            access.console.begin(rollout, again)
            code = await go(RolloutRun(rollout, writer, access.client_of, access.watch(rollout), access.console))
        except asyncio.CancelledError:
            code = Exit.CANCELLED
        finally:
            access.console.end()
        access.console.ended(rollout, code, again)
    finally:
        await writer.let_go()
    return code


def resume(arguments: argparse.Namespace) -> int:
    """Go on after a pause, or with what somebody left."""
    access = RolloutParts(arguments)
    rollout = access.record.read(arguments.id)
    if rollout.phase is Phase.PAUSED and access.record.running(rollout):
        access.record.order(arguments.id, Order("resume", who_am_i()))
        if _goes_on(access, arguments.id):
            access.console.say(f"{arguments.id} goes on")
            return Exit.OK
    return _run(_resume(access, arguments.id))


def _goes_on(access: RolloutParts, identity: str) -> bool:
    """Whether whoever runs a paused rollout has heard; who was killed holds the lock for a while and hears nothing."""
    for _ in range(_HEARING):
        time.sleep(_LOOK)
        if access.record.read(identity).phase is not Phase.PAUSED:
            return True
    return False


async def _resume(access: RolloutParts, identity: str) -> int:
    writer = _writer(access)
    rollout = await writer.once(lambda record: record.take(identity))
    async with _given_back(writer):
        if rollout.has_ended:
            raise _ended(rollout)
        await _let_in(access, rollout)
    # What was ordered while nobody ran it: to resume is the last word, but an approval stays one.
    left = await writer.once(lambda record: record.take_order())
    rollout.approved = rollout.approved or bool(left and left.verb == "approve")
    return await _finish(access, writer, rollout, lambda run: run.go())


def revert(arguments: argparse.Namespace) -> int:
    """Put back every host that took the revision."""
    access = RolloutParts(arguments)
    return _run(_revert(access, arguments.id))


async def _revert(access: RolloutParts, identity: str) -> int:
    writer = _writer(access)
    rollout = await writer.once(lambda record: record.take(identity))
    async with _given_back(writer):
        await _let_in(access, rollout)
    return await _finish(access, writer, rollout, lambda run: run.revert())


def abort(arguments: argparse.Namespace) -> int:
    """Begin no further host; what was changed stays as it is."""
    access = RolloutParts(arguments)
    record = access.record
    rollout = record.read(arguments.id)
    if record.running(rollout):
        return order(arguments)
    rollout = record.take(arguments.id)
    try:
        if rollout.has_ended:
            raise _ended(rollout)
        rollout.phase, rollout.why, rollout.ended_at = Phase.ABORTED, f"aborted by {who_am_i()}", timestamp()
        record.save(rollout)
    finally:
        record.release()
    access.console.say(f"{rollout.id} is aborted; what was changed stays as it is")
    return Exit.OK


def order(arguments: argparse.Namespace) -> int:
    """Leave word for whoever runs the rollout."""
    access = RolloutParts(arguments)
    record = access.record
    rollout = record.read(arguments.id)
    if rollout.has_ended or rollout.reverting:
        raise _ended(rollout)
    record.order(arguments.id, Order(arguments.verb, who_am_i()))
    if record.running(rollout):
        access.console.say(f"{rollout.id} is told: {arguments.verb}")
    else:
        access.console.say(f"nobody runs {rollout.id} at the moment; to go on: {access.again(rollout, 'resume')}")
    return Exit.OK


def status(arguments: argparse.Namespace) -> int:
    """How far a rollout is, and each host; watched, whenever that changes."""
    access = RolloutParts(arguments)
    shown: Rollout | None = None
    while True:
        rollout = access.record.read(arguments.id)
        running = access.record.running(rollout)
        _count_converged(access, rollout)
        if rollout != shown:
            access.console.status(rollout, running=running)
        if not arguments.watch or rollout.has_ended or not running:
            return Exit.OK
        shown = rollout
        time.sleep(_LOOK)


def _count_converged(access: RolloutParts, rollout: Rollout) -> None:
    """Count hosts that were down and have taken the revision since, by `boot`; they tell Consul themselves."""
    lost = [host.name for host in rollout.at(HostStage.UNREACHABLE)]
    for name, report in access.record.reported(rollout, lost).items():
        if report.get("outcome") in SUCCESSES and report.get("commits") == rollout.commits:
            rollout.hosts[name].stage = HostStage.CONVERGED


def list_all(arguments: argparse.Namespace) -> int:
    """Rollouts, newest first."""
    access = RolloutParts(arguments)
    found = access.record.all()
    access.console.listing(found, [rollout.id for rollout in found if not rollout.has_ended and access.record.running(rollout)])
    return Exit.OK


def _writer(access: RolloutParts) -> Writer:
    def away(why: str) -> None:
        access.console.tell("record.away" if why else "record.back", why=why)

    return Writer(access.record, _PATIENCE, away)


def _ended(rollout: Rollout) -> NoTarget:
    return NoTarget(
        Code.ROLLOUT_ENDED,
        f"{rollout.id} {'has ended' if rollout.has_ended else 'is on its way back'}: {rollout.phase}",
        hint=f"`release-agent rollout status {rollout.id}` shows it; start another, or revert this one",
    )


def _run(work: Coroutine[None, None, int]) -> int:
    """Run it; TERM and INT cancel what goes on, which leaves hosts as they are."""
    numbers = (signal.SIGINT, signal.SIGTERM)

    async def run() -> int:
        task = asyncio.create_task(work)
        loop = asyncio.get_running_loop()

        def cancel() -> None:
            """Once: a second signal must not tear apart how it is left."""
            for number in numbers:
                loop.add_signal_handler(number, lambda: None)
            task.cancel()

        for number in numbers:
            loop.add_signal_handler(number, cancel)
        return await task

    # A connection is a descriptor: as many as this user may have.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise Cancelled(Code.CANCELLED, "stopped by a signal before anything was begun", hint="try again at will") from None
