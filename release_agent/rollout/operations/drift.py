"""Find the hosts of an inventory that do not run their fleet's revision, and the commits between."""

from __future__ import annotations

import asyncio
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING, Any

from release_agent.rollout.host.client import PASSING
from release_agent.rollout.host.model import HostError, note_failure
from release_agent.rollout.model import Host
from release_agent.rollout.parallel import LOOKS, in_parallel
from release_agent.rollout.policy.preflight import environment_of
from release_agent.rollout.preflight import CHECK_PATIENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.model import Completed
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import InventoryHost
    from release_agent.rollout.operations.operator import FleetAccess

_CHECKS = 20  # hosts that run git at the same time, to find the commits


@dataclass
class HostDrift:
    """The live release of one host, and its distance from the fleet's revision.

    ``code`` and ``why``: the reason why the host does not answer, or its distance is unknown.
    """

    host: str
    release: str | None = None
    revision: str | None = None
    commits: dict[str, str] = field(default_factory=dict)
    health: str = ""
    since: str = ""
    behind: bool = False
    changes: dict[str, Any] = field(default_factory=dict)  # by repository, as in release.check
    code: str = ""
    why: str = ""

    @property
    def is_trouble(self) -> bool:
        """Return whether the host runs another release, or its release is unknown."""
        return self.behind or bool(self.code)


@dataclass
class FleetDrift:
    """The hosts of one application and their fleet's revision (None: no rollout of the whole fleet has completed).

    ``app`` is empty for hosts of which none answers, and so is ``environment`` if no host at all answers.
    """

    app: str
    environment: str
    follows: Completed | None
    hosts: list[HostDrift]

    def to_json(self) -> dict[str, Any]:
        """Return the JSON of the drift."""
        return asdict(self)


async def drift(access: FleetAccess, targets: Sequence[InventoryHost]) -> list[FleetDrift]:
    """Ask every host for its live release, without changes; return the answers by application.

    Raises Refused (fleet-mixed), RecordUnreachable.
    """
    hosts = [Host(**vars(target), order=order) for order, target in enumerate(targets)]
    statuses: dict[str, HostStatus] = {}

    async def look(host: Host) -> None:
        try:
            statuses[host.name] = await access.client_of(host).look(PASSING, first_contact=0.0)
        except HostError as error:
            note_failure(host, error)

    await in_parallel(hosts, LOOKS, look)
    environment = environment_of(hosts, statuses) if statuses else ""
    return [
        await _of_one(access, environment, [host for host in hosts if host.app == app], statuses)
        for app in dict.fromkeys(host.app for host in hosts)
    ]


async def _of_one(access: FleetAccess, environment: str, hosts: Sequence[Host], statuses: Mapping[str, HostStatus]) -> FleetDrift:
    app = hosts[0].app
    follows = await asyncio.to_thread(lambda: access.record.completed(app, environment)) if app else None
    found = {host.name: _seen(host, statuses.get(host.name), follows) for host in hosts}

    async def measure(host: Host) -> None:
        if follows:
            is_frozen = bool(statuses[host.name].frozen)
            await _measure(access, host, found[host.name], follows, is_frozen=is_frozen)

    await in_parallel([host for host in hosts if found[host.name].behind], _CHECKS, measure)
    return FleetDrift(app, environment, follows, list(found.values()))


def _seen(host: Host, status: HostStatus | None, follows: Completed | None) -> HostDrift:
    if status is None:
        return HostDrift(host.name, code=host.code, why=host.why)
    behind = follows is not None and status.commits != follows.commits
    seen = status.release, status.revision, status.commits, status.health, status.since
    return HostDrift(host.name, *seen, behind, why=status.why)


async def _measure(access: FleetAccess, host: Host, found: HostDrift, follows: Completed, *, is_frozen: bool) -> None:
    try:
        answer = await access.client_of(host).check(follows.revision, CHECK_PATIENCE, despite_freeze=is_frozen)
    except HostError as error:
        found.code, found.why = error.code, error.why
    else:
        found.changes = answer.get("changes", {})
