"""A look at every host before any is changed: who is there, what runs, what would come."""

from __future__ import annotations

import asyncio
import json
from collections import Counter
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, FleetStopped, Refused
from release_agent.rollout.gate import Gate, each
from release_agent.rollout.host.client import Trouble
from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.rollout.host.client import HostClient, HostStatus
    from release_agent.rollout.model import Host

_LOOKS = 10  # a second apart
_PATIENCE = 60.0  # seconds for a check: git in a large repository
_WELL = "passing"
_SHORT = 12


@dataclass
class PreflightResult:
    """What all hosts said; each host has its own part in itself."""

    app: str = ""
    environment: str = ""
    commits: dict[str, str] = field(default_factory=dict)
    changes: dict[str, Any] = field(default_factory=dict)


class Preflight:
    """Asks every host, some at a time; what is wrong with one is that host's alone."""

    def __init__(self, client_of: Callable[[Host], HostClient], parallel: int) -> None:
        """Nothing is asked yet."""
        self._client_of = client_of
        self._parallel = parallel

    async def look(self, hosts: Sequence[Host]) -> PreflightResult:
        """Ask what runs there; raises Refused (fleet-mixed), FleetStopped where none answers."""
        seen: dict[str, HostStatus] = {}

        async def ask(host: Host) -> None:
            try:
                seen[host.name] = await self._client_of(host).look()
                _note(host, seen[host.name])
            except Trouble as trouble:
                _note_trouble(host, trouble)

        await each(hosts, self._parallel, Gate(float("inf")), ask)
        fleets = {(one.app, one.environment) for one in seen.values()}
        if not fleets:
            raise FleetStopped(
                Code.FLEET_STOPPED, f"none of {len(hosts)} hosts answers as it should: {_first(hosts)}", hint=_HINT
            )
        if len(fleets) > 1:
            raise _mixed(seen)
        app, environment = fleets.pop()
        return PreflightResult(app, environment)

    async def wait_for_busy(self, hosts: Sequence[Host]) -> None:
        """Ask those that were busy again, for a while: somebody else's check is over soon."""

        async def ask(host: Host) -> None:
            for _ in range(_LOOKS):
                await asyncio.sleep(1.0)
                host.stage, host.code, host.why = HostStage.PENDING, "", ""
                try:
                    _note(host, await self._client_of(host).look())
                except Trouble as trouble:
                    _note_trouble(host, trouble)
                if host.code != Code.HOST_BUSY:
                    return

        await each([host for host in hosts if host.code == Code.HOST_BUSY], self._parallel, Gate(float("inf")), ask)

    async def check(self, hosts: Sequence[Host], revision: str, found: PreflightResult) -> None:
        """Ask what the revision would mean there; raises Refused where it is refused everywhere, or not the same everywhere."""
        answers: dict[str, dict[str, Any]] = {}
        refused: list[Host] = []

        async def ask(host: Host) -> None:
            try:
                answers[host.name] = await self._client_of(host).check(revision, _PATIENCE)
            except Trouble as trouble:
                _note_trouble(host, trouble)
                refused.extend([host] if trouble.refused else [])

        asked = [host for host in hosts if host.stage is HostStage.PENDING]
        await each(asked, self._parallel, Gate(float("inf")), ask)
        if refused and len(refused) == len([host for host in asked if host.stage is not HostStage.UNREACHABLE]):
            code = Code(refused[0].code) if refused[0].code in set(Code) else Code.REVISION_UNKNOWN  # of a newer agent
            raise Refused(code, f"every host refuses {revision}: {refused[0].why}", hint=_REFUSED_HINT)
        found.commits = _same_commits(answers)
        found.changes = _usual_changes([host for host in asked if host.name in answers], answers)
        for host in asked:
            answer = answers.get(host.name)
            if not answer:
                continue
            if answer.get("live") and not host.unwell:
                host.stage, host.why = HostStage.SKIPPED, f"runs {revision} already, and is well"


_HINT = "look at one of them: is supervisord's port reachable, its password right, the plugin included?"
_REFUSED_HINT = "is it tagged, and fetched where the hosts mount it? `release-agent deploy --dry-run` on one says more"


def _note(host: Host, seen: HostStatus) -> None:
    host.before, host.before_revision, host.unwell = seen.release, seen.revision, seen.health != _WELL
    if seen.busy:
        raise Trouble(Code.HOST_BUSY, "a deployment is running there")
    if seen.maintenance:
        raise Trouble(Code.HOST_IN_MAINTENANCE, "somebody has put it into maintenance mode in Consul")


def _note_trouble(host: Host, trouble: Trouble) -> None:
    host.stage = HostStage.UNREACHABLE if trouble.unreachable else HostStage.FAILED
    host.code, host.why = trouble.code, trouble.why


def _first(hosts: Sequence[Host]) -> str:
    return f"{hosts[0].name}: {hosts[0].why}"


def _mixed(seen: dict[str, HostStatus]) -> Refused:
    places: dict[str, list[str]] = {}
    for name, one in seen.items():
        places.setdefault(f"{one.app} ({one.environment})", []).append(name)
    return Refused(
        Code.FLEET_MIXED,
        "the hosts are not of one fleet: " + _listed(places),
        hint="a rollout is of one application in one environment: choose with --limit or --exclude",
    )


def _same_commits(answers: dict[str, dict[str, Any]]) -> dict[str, str]:
    places: dict[str, list[str]] = {}
    for name, answer in answers.items():
        places.setdefault(json.dumps(answer["commits"], sort_keys=True), []).append(name)
    if len(places) > 1:
        named = {_commits(json.loads(commits)): names for commits, names in places.items()}
        raise Refused(
            Code.COMMITS_DIFFER,
            "the revision is not the same everywhere: " + _listed(named),
            hint="fetch the repositories of those that lag behind; a tag that was moved is refused",
        )
    commits: dict[str, str] = json.loads(next(iter(places))) if places else {}
    return commits


def _usual_changes(hosts: Sequence[Host], answers: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Return what the revision brings to what most hosts run."""
    usual = Counter(host.before for host in hosts).most_common(1)
    changes: dict[str, Any] = next((answers[h.name].get("changes", {}) for h in hosts if usual and h.before == usual[0][0]), {})
    return changes


def _commits(commits: dict[str, str]) -> str:
    return ", ".join(f"{name} {commit[:_SHORT]}" for name, commit in commits.items())


def _listed(places: dict[str, list[str]]) -> str:
    most = 5
    return "; ".join(
        f"{what} on {', '.join(names[:most])}" + (f" and {len(names) - most} more" if len(names) > most else "")
        for what, names in sorted(places.items(), key=lambda item: -len(item[1]))
    )
