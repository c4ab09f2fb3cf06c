"""What the answers of all hosts mean for a rollout that has not begun."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, FleetStopped, Refused
from release_agent.health import HealthState
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import HostStage, same_supervisor

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.model import Completed
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Host

_HEALTHY = HealthState.PASSING
_SHORT = 12
_MOST_NAMED = 5  # hosts


def note_status(host: Host, status: HostStatus) -> None:
    """Write down what is live on a host; raises HostError if it must not be deployed to now."""
    host.before, host.before_revision, host.unwell = status.release, status.revision, status.health != _HEALTHY
    if status.busy:
        raise HostError(Code.HOST_BUSY, "a deployment is running there")
    if status.maintenance:
        raise HostError(Code.HOST_IN_MAINTENANCE, "somebody has put it into maintenance mode in Consul")


def fleet_of(hosts: Sequence[Host], statuses: Mapping[str, HostStatus]) -> tuple[str, str]:
    """Return the app and environment of all hosts; raises Refused (fleet-mixed), FleetStopped if no host answered."""
    places: dict[tuple[str, str], list[str]] = {}
    for name, status in statuses.items():
        places.setdefault((status.app, status.environment), []).append(name)
    if not places:
        raise FleetStopped(
            Code.FLEET_STOPPED,
            f"none of {len(hosts)} hosts answers as it should: {hosts[0].name}: {hosts[0].why}",
            hint="look at one of them: is supervisord's port reachable, its password right, the plugin included?",
        )
    if len(places) > 1:
        raise Refused(
            Code.FLEET_MIXED,
            "the hosts are not of one fleet: " + _listed({f"{app} ({env})": names for (app, env), names in places.items()}),
            hint="a rollout is of one application in one environment: choose with --limit or --exclude",
        )
    return next(iter(places))


def refuse_same_host(hosts: Sequence[Host], statuses: Mapping[str, HostStatus]) -> None:
    """Raise Misconfigured if several hosts are one: they would be deployed to several times."""
    places: dict[str, list[str]] = {}
    for host in hosts:
        instance = statuses[host.name].instance if host.name in statuses else ""
        if instance:
            places.setdefault(instance, []).append(f"{host.name} ({host.url})")
    twice = [name for names in places.values() if len(names) > 1 for name in names]
    if twice:
        raise same_supervisor(twice)


def refuse_if_all_refuse(hosts: Sequence[Host], revision: str, refusals: Mapping[str, HostError]) -> None:
    """Raise Refused if every host that can be reached refuses the revision."""
    reached = [host for host in hosts if host.stage is not HostStage.UNREACHABLE]
    if not refusals or any(host.name not in refusals for host in reached):
        return
    first = next(iter(refusals.values()))
    raise Refused(
        Code(first.code) if first.code in set(Code) else Code.REVISION_UNKNOWN,  # a newer agent's code may be unknown here
        f"every host refuses {revision}: {first.why}",
        hint="is it tagged, and fetched where the hosts mount it? `release-agent deploy --dry-run` on one says more",
    )


def same_commits(answers: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return the commits that the revision names on every host; raises Refused if they differ."""
    places: dict[str, list[str]] = {}
    for name, answer in answers.items():
        places.setdefault(json.dumps(answer["commits"], sort_keys=True), []).append(name)
    if len(places) > 1:
        named = {_shortened(json.loads(commits)): names for commits, names in places.items()}
        raise Refused(
            Code.COMMITS_DIFFER,
            "the revision is not the same everywhere: " + _listed(named),
            hint="fetch the repositories of those that lag behind; a tag that was moved is refused",
        )
    commits: dict[str, str] = json.loads(next(iter(places))) if places else {}
    return commits


def refuse_other_commits(commits: Mapping[str, str], promoted: Completed, environment: str) -> None:
    """Raise Refused if a revision names other commits here than the ones that completed in another environment."""
    if commits != promoted.commits:
        raise Refused(
            Code.COMMITS_DIFFER,
            f"{promoted.revision} is {_shortened(promoted.commits)} in {environment}, by {promoted.id},"
            f" and {_shortened(commits)} on these hosts",
            hint="fetch the repositories of these hosts; a tag that was moved is not promoted",
        )


def usual_changes(hosts: Sequence[Host], answers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the revision changes on the release that most hosts run."""
    answered = [host for host in hosts if host.name in answers]
    usual = Counter(host.before for host in answered).most_common(1)
    changes: dict[str, Any] = next(
        (answers[host.name].get("changes", {}) for host in answered if usual and host.before == usual[0][0]), {}
    )
    return changes


def skip_up_to_date(hosts: Sequence[Host], answers: Mapping[str, dict[str, Any]], revision: str) -> None:
    """Mark healthy hosts that run the revision already as skipped."""
    for host in hosts:
        if answers.get(host.name, {}).get("live") and not host.unwell:
            host.stage, host.why = HostStage.SKIPPED, f"runs {revision} already, and is well"


def _shortened(commits: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {commit[:_SHORT]}" for name, commit in commits.items())


def _listed(places: Mapping[str, list[str]]) -> str:
    return "; ".join(
        f"{what} on {', '.join(names[:_MOST_NAMED])}"
        + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
        for what, names in sorted(places.items(), key=lambda item: -len(item[1]))
    )
