"""The verbs of ``release-agent rollout``: they turn arguments into an operation, and show its result on the console."""

from __future__ import annotations

import asyncio
import resource
import shlex
import signal
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.config.sections import DEFAULT_PREFIX
from release_agent.errors import Cancelled, Code, Exit, FleetStopped, Misconfigured, RecordUnreachable
from release_agent.model import Freeze
from release_agent.repository.revision import check_revision
from release_agent.rollout.arguments import options
from release_agent.rollout.console import text
from release_agent.rollout.console.choice import console
from release_agent.rollout.inventory.choice import InventoryChoice
from release_agent.rollout.model import who_am_i
from release_agent.rollout.operations import look, orders
from release_agent.rollout.operations.drift import drift as measure_drift
from release_agent.rollout.operations.operator import Operator
from release_agent.rollout.operations.results import StartRequest
from release_agent.rollout.record.port import command_for
from release_agent.rollout.wiring import AccessSettings, RolloutParts

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable, Coroutine, Sequence

    from release_agent.rollout.console.lines import Console
    from release_agent.rollout.model import Host, InventoryHost, Rollout
    from release_agent.rollout.operations.results import Ordered, Result, RolloutPlan, Standing
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import Asking

_LOOK = 1.0  # seconds


def call(arguments: argparse.Namespace) -> int:
    """Run one verb and return its exit code; raises ReleaseError."""
    verbs: dict[str, Callable[[RolloutCommand], int]] = {
        "start": start,
        "drift": drift,
        "list": list_all,
        "status": status,
        "resume": resume,
        "revert": revert,
        "pause": order,
        "approve": order,
        "abort": abort,
        "freeze": freeze,
        "unfreeze": unfreeze,
    }
    return verbs[arguments.verb](RolloutCommand(arguments))


class RolloutCommand:
    """One call of a verb, and the observer that shows its operation on the console."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Take the parsed arguments; raises Misconfigured for unusable credentials."""
        self.arguments = arguments
        self.settings = _access(arguments)
        self.inventory = _inventory(arguments)
        self.parts = RolloutParts(self.settings, self.inventory)
        self.console: Console = console(json=arguments.json)
        self.operator = Operator(self.parts, self)

    def words(self, rollout: Rollout, verb: str) -> str:
        """Return the command line of a verb for a rollout."""
        words = ["release-agent", "rollout", verb, rollout.id]
        if verb == "resume" and rollout.options.gate:
            words += ["--gate", rollout.options.gate]
        if self.parts.needs_consul_option:
            words.append("--consul")
        user, password_file = self.parts.user or rollout.user, self.parts.password_file or rollout.password_file
        if user:
            words += ["--user", user, "--password-file", password_file]
        for option, path in (("--ca-file", self.settings.ca_file), ("--client-cert", self.settings.client_cert)):
            words += [option, path] if path else []
        if self.settings.prefix != DEFAULT_PREFIX:
            words += ["--prefix", self.settings.prefix]
        return shlex.join(words)

    def show(self, result: Result) -> int:
        """Show the end of a run, and return its exit code."""
        rollout = result.rollout
        if result.elsewhere:
            self.console.say(f"{rollout.id} continues")
        else:
            self.console.ended(rollout, result.exit, lambda verb: self.words(rollout, verb))
        return result.exit

    def say_ordered(self, found: Ordered, verb: str) -> None:
        """Print whether the operator of a running rollout has obeyed an order."""
        identity = found.rollout.id
        if found.obeyed:
            self.console.say(f"the operator of {identity} obeys: {verb}")
        else:
            self.console.say(
                f"the operator of {identity} has not answered; the order to {verb} stays queued for this operator"
                + (f", and for the next one: {self.words(found.rollout, 'resume')}" if verb != "pause" else "")
            )

    # The observer

    def preflight(self, asking: Asking, options: Options) -> None:
        """Show the progress of preflight from now on."""
        self.console.preflight(asking, options)

    def begin(self, rollout: Rollout) -> None:
        """Show the rollout from now on."""
        self.console.begin(rollout, lambda verb: self.words(rollout, verb))

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Show one transition."""
        self.console.tell(event, host, **details)

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Ask the person at the terminal, if there is one."""
        return await self.console.ask(approved)

    def end(self) -> None:
        """End the picture."""
        self.console.end()


def _access(arguments: argparse.Namespace) -> AccessSettings:
    """Return the access to the hosts and the record."""
    return AccessSettings(
        user=arguments.user or "",
        password_file=arguments.password_file or "",
        ca_file=_absolute(arguments.ca_file),
        client_cert=_absolute(arguments.client_cert),
        prefix=arguments.prefix,
        in_consul=bool(arguments.consul),
    )


def _absolute(path: str | None) -> str:
    return str(Path(path).absolute()) if path else ""


def _inventory(arguments: argparse.Namespace) -> InventoryChoice:
    """Return the source of the hosts of a start or of drift; empty for other verbs."""
    if arguments.verb not in ("start", "drift"):
        return InventoryChoice()
    # With --promote-from all arguments are hosts.
    named = [arguments.revision] if getattr(arguments, "promote_from", "") and arguments.revision is not None else []
    return InventoryChoice(
        hosts=[*named, *arguments.host],
        consul=arguments.consul or "",
        fleet=arguments.fleet or "",
        maestro=arguments.maestro or "",
        services=arguments.service,
        environment=arguments.environment,
        tags=arguments.tag,
        meta=arguments.meta,
        limit=arguments.limit,
        exclude=arguments.exclude,
    )


def _in_zones(hosts: Sequence[InventoryHost], *, by_zone: bool) -> Sequence[InventoryHost]:
    """Return the hosts; raises Misconfigured for --by-zone if no host has a zone."""
    if by_zone and not any(host.zone for host in hosts):
        raise Misconfigured(
            Code.INVENTORY_INVALID,
            "--by-zone needs zones, and no host has a zone",
            hint='give each [[host]] of fleet.toml a zone, such as zone = "north", or leave out --by-zone',
        )
    return hosts


def start(command: RolloutCommand) -> int:
    """Look at every host, show the plan, and deploy wave after wave."""
    arguments = command.arguments
    wanted = StartRequest(
        "" if arguments.promote_from else check_revision(arguments.revision),
        _in_zones(command.parts.targets(), by_zone=arguments.by_zone),
        options(arguments),
        service=command.inventory.consul,
        dry_run=arguments.dry_run,
        whole=command.inventory.is_whole,
        reason=arguments.reason,
        promote_from=arguments.promote_from,
    )
    return _run(_start(command, wanted))


async def _start(command: RolloutCommand, wanted: StartRequest) -> int:
    plan = await command.operator.plan(wanted)
    command.console.plan(plan.rollout, plan.changes, plan.exceeded)
    if plan.exceeded:
        raise _exceeded(plan)
    return Exit.OK if wanted.dry_run else command.show(await command.operator.start(plan))


def _exceeded(plan: RolloutPlan) -> FleetStopped:
    failed = [host for host in plan.rollout.hosts.values() if host.code]
    return FleetStopped(
        Code.FLEET_STOPPED,
        f"{plan.exceeded}; no host was changed: {text.troubles(failed)}",
        hint="fix the hosts, leave them out with --exclude, or raise the budgets",
    )


def drift(command: RolloutCommand) -> int:
    """Show the live release of each host beside the revision that the fleet follows."""

    async def run() -> int:
        fleets = await measure_drift(command.parts, command.parts.targets())
        for found in fleets:
            command.console.drift(found)
        return Exit.FAULT_FOUND if any(host.is_trouble for found in fleets for host in found.hosts) else Exit.OK

    return _run(run())


def resume(command: RolloutCommand) -> int:
    """Continue after a pause, or continue an abandoned rollout."""

    async def run() -> int:
        return command.show(await command.operator.resume(command.arguments.id, command.arguments.gate or ""))

    return _run(run())


def revert(command: RolloutCommand) -> int:
    """Roll back every host that took the revision."""

    async def run() -> int:
        return command.show(await command.operator.revert(command.arguments.id))

    return _run(run())


def abort(command: RolloutCommand) -> int:
    """Start no more hosts; changed hosts stay as they are."""
    found = orders.abort(command.parts.record, command.arguments.id)
    if found.running:
        command.say_ordered(found, "abort")
    else:
        command.console.say(f"{found.rollout.id} is aborted; changed hosts stay as they are")
    return Exit.OK


def order(command: RolloutCommand) -> int:
    """Leave an order for the rollout's operator."""
    verb = command.arguments.verb
    found = orders.order(command.parts.record, command.arguments.id, verb)
    if found.running:
        command.say_ordered(found, verb)
    else:
        kept = {"approve": "the approval is kept for the next operator", "pause": "the rollout waits until somebody resumes it"}
        resume = command.words(found.rollout, "resume")
        command.console.say(f"no operator runs {found.rollout.id} now; {kept[verb]}: {resume}")
    return Exit.OK


def freeze(command: RolloutCommand) -> int:
    """Refuse rollouts of a fleet from now on."""
    arguments, record = command.arguments, command.parts.record
    fleet = (arguments.app, arguments.environment)
    frozen = Freeze.now(arguments.why, who_am_i(), arguments.until)
    record.freeze(*fleet, frozen)
    command.console.say(f"rollouts of {' in '.join(fleet)} are frozen {frozen.describe()}")
    # Look after the write of the freeze: a rollout that is not visible here sees the freeze when it has the lock.
    running = record.holder(*fleet)
    if running:
        pause = command_for(record, "pause", running.id)
        command.console.say(f"{running.id} still runs, by {running.who}; to pause it: {pause}")
    elif not any(fleet in one.fleets for one in record.all()) and not record.completed(*fleet):
        command.console.say(f"no recent rollout of {' in '.join(fleet)} is known: check the names")
    return Exit.OK


def unfreeze(command: RolloutCommand) -> int:
    """End the freeze of a fleet."""
    arguments, record = command.arguments, command.parts.record
    fleet = (arguments.app, arguments.environment)
    try:
        before = record.frozen(*fleet) is not None
    except RecordUnreachable:  # a freeze that nobody can read is ended as well
        before = True
    record.freeze(*fleet, None)
    command.console.say(f"rollouts of {' in '.join(fleet)} {'are not frozen any more' if before else 'were not frozen'}")
    return Exit.OK


def status(command: RolloutCommand) -> int:
    """Show a rollout and each host; with --watch, at each change."""
    found = _look(command)
    if not command.arguments.watch:
        command.console.status(found.rollout, running=found.running)
        return Exit.OK
    try:
        _watch(command, found)
        while found.running and not found.rollout.has_ended:
            time.sleep(_LOOK)
            found = _look_again(command)
            _watch(command, found)
    finally:
        command.console.end()
    return Exit.OK


def _watch(command: RolloutCommand, found: Standing) -> None:
    command.console.watch(found.rollout, lambda verb: command.words(found.rollout, verb), running=found.running)


def _look_again(command: RolloutCommand) -> Standing:
    """Look again once the record answers. The operator of the rollout also waits for the record."""
    is_away = False
    while True:
        try:
            found = _look(command)
        except RecordUnreachable as error:
            if not is_away:
                command.tell("record.away", why=error.message)
            is_away = True
            time.sleep(_LOOK)
        else:
            if is_away:
                command.tell("record.back")
            return found


def _look(command: RolloutCommand) -> Standing:
    found = look.status(command.parts.record, command.arguments.id)
    if found.rollout.has_ended:
        _ask_late(command, found.rollout)
    return found


def _ask_late(command: RolloutCommand, rollout: Rollout) -> None:
    with suppress(Misconfigured):  # the password may be on another machine; the record has the rest
        command.parts.adopt(rollout)
        asyncio.run(look.ask_late(rollout, command.parts.client_of))


def list_all(command: RolloutCommand) -> int:
    """List rollouts, newest first."""
    found = look.listing(command.parts.record)
    command.console.listing([one.rollout for one in found], [one.rollout.id for one in found if one.running])
    return Exit.OK


def _run(work: Coroutine[None, None, int]) -> int:
    """Run the operation. INT, TERM and HUP cancel it, and hosts stay as they are. Under nohup, HUP stays ignored."""
    numbers = [one for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) is not signal.SIG_IGN]

    async def run() -> int:
        task = asyncio.create_task(work)
        loop = asyncio.get_running_loop()

        def cancel(received: signal.Signals) -> None:
            """Cancel once: a second signal must not interrupt the orderly end."""
            for number in numbers:
                loop.add_signal_handler(number, lambda: None)
            task.cancel(received.name)

        for number in numbers:
            loop.add_signal_handler(number, cancel, number)
        return await task

    # A connection needs a descriptor, so raise the limit as far as possible.
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    try:
        return asyncio.run(run())
    except asyncio.CancelledError:
        raise Cancelled(Code.CANCELLED, "stopped by a signal before the start", hint="run the command again") from None
