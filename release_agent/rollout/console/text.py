"""A rollout in words, for people."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING, Any

from release_agent import text
from release_agent.errors import Exit
from release_agent.rollout.model import HostStage, Phase
from release_agent.rollout.policy.waves import applications_of

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.operations.drift import FleetDrift, HostDrift
    from release_agent.rollout.options import Amount

_MOST_NAMED = 20
_MOST_JOINED = 3  # applications of one wave to name
_SHORT = 12
_STEPS = {
    "staging": "hosts stage the revision before the first one publishes it",
    "bake": "watching the health of hosts for {bake:g} s after wave {wave}",
    "gate": "the gate judges wave {wave}",
    "verification": "the last look: hosts report their live release",
}


def plan(rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> str:
    """Describe the plan."""
    chosen, hosts = rollout.options, list(rollout.hosts.values())
    lines = [f"{rollout.revision} for {rollout.apps} ({rollout.environment}), {text.count_of(len(hosts), 'host')}"]
    lines += [f"promoted from {rollout.promoted_from}"] if rollout.promoted_from else []
    lines += [f"reason: {one_line(rollout.reason)}"] if rollout.reason else []
    for application in rollout.applications:
        lines += [f"{application.name}:"] if rollout.is_of_several else []
        lines += [f"  {name} {commit[:_SHORT]}" for name, commit in application.commits.items()]
        lines += [text.changes(name, between) for name, between in changes.get(application.name, {}).items()]
    for number, wave in enumerate(rollout.waves, 1):
        lines.append(f"wave {number}: {text.count_of(len(wave), 'host')}{whose(rollout, wave)}")
        lines += [f"  {_before(host)}" for host in wave[:_MOST_NAMED]]
        lines += [f"  … and {len(wave) - _MOST_NAMED} more"] if len(wave) > _MOST_NAMED else []
    for title, stage in (
        ("skipped", HostStage.SKIPPED),
        ("unhealthy for a rollout", HostStage.FAILED),
        ("unreachable", HostStage.UNREACHABLE),
    ):
        left = rollout.at(stage)
        lines += (
            [
                f"{title}: {text.count_of(len(left), 'host')}",
                *(f"  {named(rollout, host)}: {one_line(host.why)}" for host in left),
            ]
            if left
            else []
        )
    lines += ["every host stages it first"] if chosen.stage else []
    lines.append(
        f"{chosen.parallel} at a time, {chosen.bake:g} s of health after each wave"
        + (", a person's approval after the first" if chosen.approve else "")
        + (f", then the gate `{one_line(chosen.gate)}`" if chosen.gate else "")
    )
    lines.append(
        f"stops at more than {_budget(chosen.max_failed, hosts)} failed or {_budget(chosen.max_unreachable, hosts)} unreachable, "
        + ("and rolls back the changed hosts" if chosen.revert else "and leaves hosts as they are")
    )
    lines += [_partial(rollout)] if not rollout.whole else []
    return "\n".join([*lines, *([f"stopped: {exceeded}"] if exceeded else [])])


def whose(rollout: Rollout, wave: Sequence[Host]) -> str:
    """Name the applications of a wave's hosts, and their zone, if there are several."""
    of = f" of {applications(rollout, wave)}" if rollout.is_of_several else ""
    zone = f" in {wave[0].zone}" if wave[0].zone else " without a zone"
    return f"{of}{zone if rollout.options.by_zone else ''}"


def applications(rollout: Rollout, wave: Sequence[Host]) -> str:
    """Name the applications of a wave's hosts; empty if the rollout has only one."""
    names = applications_of(wave) if rollout.is_of_several else []
    return one_line(" and ".join(names)) if len(names) <= _MOST_JOINED else f"{len(names)} applications"


def status(rollout: Rollout, *, running: bool) -> str:
    """Describe the progress of a rollout."""
    lines = [headline(rollout, running=running), f"  {summary(rollout.hosts.values())}"]
    lines += [f"  {part}" for part in _by_application(rollout)] if rollout.is_of_several else []
    lines += [
        f"  {line(rollout, host)}"
        for host in rollout.hosts.values()
        if host.stage not in (HostStage.DONE, HostStage.SKIPPED, HostStage.PENDING)
    ]
    return "\n".join(lines)


def _by_application(rollout: Rollout) -> list[str]:
    of = {one.name: [host for host in rollout.hosts.values() if host.app == one.name] for one in rollout.applications}
    return [f"{app}: {summary(hosts)}" for app, hosts in of.items()]


def headline(rollout: Rollout, *, running: bool) -> str:
    """Describe a rollout and its progress on one line."""
    phase = str(rollout.phase) if running or rollout.has_ended or rollout.phase is Phase.WAITING else f"{rollout.phase}, left"
    doing = rollout.why or (step(rollout) if running else "")
    why = f": {one_line(doing)}" if doing else ""
    if not rollout.applications:  # its plan cannot be read
        return f"{rollout.id}  {phase}{why}"
    when = (
        f"since {rollout.started_at[:19]}Z" if not rollout.ended_at else f"{rollout.started_at[:19]}Z to {rollout.ended_at[:19]}Z"
    )
    reason = f"  reason: {one_line(rollout.reason)}" if rollout.reason else ""
    what = f"{rollout.id}  {rollout.revision}  {rollout.apps} ({rollout.environment}){_part(rollout)}"
    return f"{what}  by {rollout.who}  {when}  {phase}{why}{reason}"


def step(rollout: Rollout) -> str:
    """Describe the current step of a running rollout, or the reason why it stops; empty while hosts deploy."""
    if rollout.stopping:
        return f"stopping: {rollout.stopping}"
    return _STEPS.get(rollout.step, "").format(wave=rollout.wave + 1, bake=rollout.options.bake)


def preflight(what: object, asked: object, hosts: object) -> str:
    """Describe the progress of preflight: the number of hosts that have answered a question, and of all."""
    answer = {"status": "their live release", "check": "the changes of the revision"}.get(str(what), str(what))
    return f"{asked} of {hosts} hosts have reported {answer}"


def opening(rollout: Rollout) -> str:
    """Describe a rollout on one line, above the picture of its progress."""
    what = f"{rollout.revision} for {rollout.apps} ({rollout.environment})"
    return f"{rollout.id}  {what}, {text.count_of(len(rollout.hosts), 'host')}, by {rollout.who}"


def summary(hosts: Iterable[Host]) -> str:
    """Return the numbers of hosts by stage."""
    counts = Counter(host.stage for host in hosts)
    return f"{text.count_of(counts.total(), 'host')}: " + ", ".join(
        f"{counts[stage]} {stage}" for stage in HostStage if counts[stage]
    )


def line(rollout: Rollout, host: Host) -> str:
    """Describe one host on one line."""
    why = f"  {one_line(cause(host))}" if host.why else ""
    return f"{named(rollout, host)}  {host.stage}{why}"


def named(rollout: Rollout, host: Host) -> str:
    """Return a host's name, and its application if there are several."""
    return f"{host.name} [{host.app or '?'}]" if rollout.is_of_several else host.name


def cause(host: Host) -> str:
    """Return the cause of a host's failure, without the host's own preamble about its rollback."""
    return f"{host.code}: {text.without_preamble(host.why)}"


def troubles(hosts: Sequence[Host]) -> str:
    """Describe the problems of hosts on one line."""
    named = "; ".join(f"{host.name}: {one_line(host.why)}" for host in hosts[:_MOST_NAMED])
    return named + (f"; and {len(hosts) - _MOST_NAMED} more" if len(hosts) > _MOST_NAMED else "")


def ended(rollout: Rollout, code: Exit, again: Callable[[str], str]) -> str:
    """Describe the end of a rollout, and the next commands; ``again`` makes the command of a verb."""
    lines = [f"{rollout.phase}: {rollout.revision} on {rollout.apps} ({rollout.environment}); {summary(rollout.hosts.values())}"]
    lines += [f"  because: {one_line(rollout.why)}"] if rollout.why else []
    lines += [f"  {line(rollout, host)}" for host in rollout.at(HostStage.FAILED, HostStage.UNREACHABLE, HostStage.STUCK)]
    if not rollout.whole and rollout.phase in (Phase.COMPLETED, Phase.PARTIAL):
        lines.append(f"  {_partial(rollout)}")
    if rollout.phase is Phase.WAITING:
        lines.append(f"  to approve: {again('approve')}")
    if not rollout.has_ended:
        lines.append(f"  to continue: {again('resume')}")
    elif rollout.at(HostStage.STUCK):
        lines.append(f"  to retry the failed rollbacks: {again('revert')}")
    elif code is Exit.FLEET_FAILED and rollout.at(HostStage.DONE):
        lines.append(f"  to roll back the changed hosts: {again('revert')}")
    return "\n".join(lines)


def listing(rollouts: Iterable[Rollout], running: Collection[str]) -> str:
    """List rollouts, one line per rollout; ``running``: the ids of running ones."""
    return "\n".join(headline(rollout, running=rollout.id in running) for rollout in rollouts) or "there are no rollouts"


def drift(found: FleetDrift) -> str:
    """Describe the live release of each host; hosts that do not run the fleet's revision come first."""
    lines = [_followed(found)]
    for host in sorted(found.hosts, key=lambda host: not host.is_trouble):
        lines.append(_drifted(host))
        lines += [text.changes(name, between) for name, between in host.changes.items()]
    behind, unknown = sum(host.behind for host in found.hosts), sum(not host.health for host in found.hosts)
    return "\n".join([*lines, f"{text.count_of(len(found.hosts), 'host')}: {behind} behind, {unknown} unknown"])


def _followed(found: FleetDrift) -> str:
    fleet, follows = f"{found.app} ({found.environment})", found.follows
    if follows:
        return f"{fleet} follows {follows.revision}, by {follows.id}"
    if found.app:
        return f"{fleet} follows nothing: no rollout of the whole fleet has completed"
    return "an unknown application: none of these hosts answers"


def _drifted(host: HostDrift) -> str:
    reason = ": ".join(filter(None, (host.code, one_line(host.why))))
    why = f"  {reason}" if reason else ""
    if not host.health:
        return f"{host.host}{why}"
    since = f"  since {host.since[:19]}Z" if host.since else ""
    return f"{host.host}  {host.revision or 'nothing'}  {host.health}{since}{'  behind' if host.behind else ''}{why}"


def one_line(words: str) -> str:
    """Put text from a host on one line, without control characters."""
    return text.plain(words.replace("\n", "; "))


def _part(rollout: Rollout) -> str:
    followed = ", followed anyway" if rollout.options.follow else ""
    return "" if rollout.whole else f"  partial: only some hosts of the inventory{followed}"


def _partial(rollout: Rollout) -> str:
    effect = "the fleet follows it anyway" if rollout.counts else "without --follow, the fleet does not follow this rollout"
    return f"partial: only some hosts of the inventory were chosen; {effect}"


def _before(host: Host) -> str:
    unwell = ", unhealthy" if host.unwell else ""
    where = f" [{host.service}]" if host.service else ""
    return f"{host.name}{where}: {host.before_revision or 'nothing'} now{unwell}"


def _budget(budget: Amount, hosts: Sequence[Host]) -> str:
    return f"{budget.of(len(hosts))} ({budget} of {len(hosts)})" if budget.percent else str(budget)
