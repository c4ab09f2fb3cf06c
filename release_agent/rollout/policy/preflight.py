"""Judge the answers of all hosts before the start of a rollout."""

from __future__ import annotations

import json
from collections import Counter
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, FleetStopped, Refused
from release_agent.health import HealthState
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import HostStage, same_supervisor

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from release_agent.model import Completed
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Application, Host

_HEALTHY = HealthState.PASSING
_SHORT = 12
_MOST_NAMED = 5  # hosts
_MOST_LOCKS = 32  # each lock needs a check in each transaction of Consul, which has 64 operations


def note_status(host: Host, status: HostStatus, *, despite_freeze: bool = False) -> None:
    """Note the live release of a host; raises HostError if the host must not deploy now."""
    host.before, host.before_revision, host.unwell = status.release, status.revision, status.health != _HEALTHY
    if status.busy:
        raise HostError(Code.HOST_BUSY, "a deployment is running there")
    if status.maintenance:
        raise HostError(Code.HOST_IN_MAINTENANCE, "it is in maintenance mode in Consul")
    if status.frozen and not despite_freeze:
        raise HostError(Code.FROZEN, f"its deployments are frozen {status.frozen}")


def environment_of(hosts: Sequence[Host], statuses: Mapping[str, HostStatus]) -> str:
    """Return the environment of all hosts, and note the application of each.

    They may be of several applications if the inventory tells them apart: every host has a service there, and no service has
    hosts of two applications. Raises Refused (fleet-mixed), FleetStopped if no host answered.
    """
    places: dict[tuple[str, str], list[str]] = {}
    services: dict[str, set[str]] = {}
    for host in hosts:
        if host.name in statuses:
            status = statuses[host.name]
            host.app = status.app
            places.setdefault((status.app, status.environment), []).append(host.name)
            services.setdefault(host.service, set()).add(status.app)
    if not places:
        raise FleetStopped(
            Code.FLEET_STOPPED,
            f"none of {len(hosts)} hosts gives a valid answer: {hosts[0].name}: {hosts[0].why}",
            hint="check supervisord's port, password and plugin on one of them",
        )
    apps, environments = {app for app, _ in places}, {environment for _, environment in places}
    mixed = _mixed(hosts, environments, apps, services)
    if mixed:
        raise Refused(
            Code.FLEET_MIXED,
            f"{mixed}: " + _listed({f"{app} ({env})": names for (app, env), names in places.items()}),
            hint="choose with --limit or --exclude, or correct the inventory",
        )
    for host in hosts:
        found = apps if len(apps) == 1 else services.get(host.service, set())
        host.app = host.app or next(iter(found), "")  # a host without an answer gets the application of its service
    return environments.pop()


def _mixed(
    hosts: Sequence[Host], environments: Collection[str], apps: Collection[str], services: Mapping[str, Collection[str]]
) -> str:
    """Return the reason why hosts cannot be in one rollout, or an empty text."""
    if len(environments) > 1:
        return "the hosts are of several environments"
    if len(apps) == 1:
        return ""
    without = next((host.name for host in hosts if not host.service), "")
    if without:
        return f"the hosts are of several applications, and {without} has no service in the inventory"
    torn = next((service for service, found in services.items() if len(found) > 1), "")
    if torn:
        return f"the hosts of service {torn} are of several applications"
    many = f"the hosts are of {len(apps)} applications, and a rollout has at most {_MOST_LOCKS}"
    return many if len(apps) > _MOST_LOCKS else ""


def refuse_same_host(hosts: Sequence[Host], statuses: Mapping[str, HostStatus]) -> None:
    """Raise Misconfigured if several hosts are the same supervisor, which would deploy several times."""
    places: dict[str, list[str]] = {}
    for host in hosts:
        instance = statuses[host.name].instance if host.name in statuses else ""
        if instance:
            places.setdefault(instance, []).append(f"{host.name} ({host.url})")
    twice = [name for names in places.values() if len(names) > 1 for name in names]
    if twice:
        raise same_supervisor(twice)


def refuse_if_all_refuse(hosts: Sequence[Host], revision: str, refusals: Mapping[str, HostError]) -> None:
    """Raise Refused if every host of an application that can be reached refuses the revision."""
    reached = [host for host in hosts if host.stage is not HostStage.UNREACHABLE]
    if not reached or any(host.name not in refusals for host in reached):
        return
    first = refusals[reached[0].name]
    raise Refused(
        Code(first.code) if first.code in set(Code) else Code.REVISION_UNKNOWN,  # a newer agent's code may be unknown here
        f"every host of {hosts[0].app} refuses {revision}: {first.why}",
        hint="tag the revision, and fetch it into the hosts' repositories; `release-agent deploy --dry-run` on a host shows more",
    )


def same_commits(hosts: Sequence[Host], answers: Mapping[str, dict[str, Any]]) -> dict[str, str]:
    """Return the commits that the revision names on every host of an application; raises Refused if they differ."""
    places: dict[str, list[str]] = {}
    for host in hosts:
        if host.name in answers:
            places.setdefault(json.dumps(answers[host.name]["commits"], sort_keys=True), []).append(host.name)
    if len(places) > 1:
        named = {_shortened(json.loads(commits)): names for commits, names in places.items()}
        raise Refused(
            Code.COMMITS_DIFFER,
            "the revision names different commits on different hosts: " + _listed(named),
            hint="fetch the repositories that lag behind; hosts refuse a moved tag",
        )
    commits: dict[str, str] = json.loads(next(iter(places))) if places else {}
    return commits


def one_revision(promoted: Mapping[str, Completed], environment: str) -> str:
    """Return the revision that completed of every application in another environment; raises Refused if there are several."""
    revisions = {completed.revision for completed in promoted.values()}
    if len(revisions) > 1:
        raise Refused(
            Code.COMMITS_DIFFER,
            f"different revisions completed in {environment}: "
            + ", ".join(f"{completed.revision} of {name}" for name, completed in promoted.items()),
            hint=f"roll out one revision to the whole system in {environment}, or promote one application: --limit service=NAME",
        )
    return revisions.pop()


def refuse_other_commits(applications: Sequence[Application], promoted: Mapping[str, Completed], environment: str) -> None:
    """Raise Refused if a revision names other commits here than the ones that completed in another environment."""
    for application in applications:
        there = promoted.get(application.name)
        if there and application.commits and application.commits != there.commits:
            raise Refused(
                Code.COMMITS_DIFFER,
                f"{there.revision} is {_shortened(there.commits)} in {environment}, by {there.id},"
                f" and {_shortened(application.commits)} on these hosts",
                hint="fetch the repositories of these hosts; a moved tag cannot be promoted",
            )


def usual_changes(hosts: Sequence[Host], answers: Mapping[str, dict[str, Any]]) -> dict[str, Any]:
    """Return the changes of the revision against the release that most hosts run."""
    answered = [host for host in hosts if host.name in answers]
    usual = Counter(host.before for host in answered).most_common(1)
    changes: dict[str, Any] = next(
        (answers[host.name].get("changes", {}) for host in answered if usual and host.before == usual[0][0]), {}
    )
    return changes


def skip_up_to_date(hosts: Sequence[Host], answers: Mapping[str, dict[str, Any]], revision: str) -> None:
    """Mark healthy hosts that already run the revision as skipped."""
    for host in hosts:
        if answers.get(host.name, {}).get("live") and not host.unwell:
            host.stage, host.why = HostStage.SKIPPED, f"already runs {revision}, and is healthy"


def nobody_left(hosts: Sequence[Host]) -> str:
    """Return a message about an application without a host to deploy to, or an empty text."""
    left: dict[tuple[str, str], bool] = {}
    for host in hosts:
        of = (host.app, "" if host.app else host.service)  # a service may have the name of another one's application
        left[of] = left.get(of, False) or host.stage in (HostStage.PENDING, HostStage.SKIPPED)
    nobody = [app or service for (app, service), is_left in left.items() if not is_left]
    return f"no host{f' of {nobody[0]}' if len(left) > 1 else ''} is left to deploy to" if nobody else ""


def _shortened(commits: Mapping[str, str]) -> str:
    return ", ".join(f"{name} {commit[:_SHORT]}" for name, commit in commits.items())


def _listed(places: Mapping[str, list[str]]) -> str:
    return "; ".join(
        f"{what} on {', '.join(names[:_MOST_NAMED])}"
        + (f" and {len(names) - _MOST_NAMED} more" if len(names) > _MOST_NAMED else "")
        for what, names in sorted(places.items(), key=lambda item: -len(item[1]))
    )
