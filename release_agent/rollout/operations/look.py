"""Read the state of rollouts. Every function may block for some seconds, and raises RecordUnreachable."""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent.errors import Code
from release_agent.model import SUCCESSES
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import HostStage
from release_agent.rollout.operations.results import Standing
from release_agent.rollout.policy.verdict import is_lost, verdict

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.record.port import RolloutStore


def standing(record: RolloutStore, identity: str) -> Standing:
    """Return a rollout as it is now; raises NoTarget."""
    rollout = record.read(identity)
    return Standing(rollout, record.running(rollout))


def status(record: RolloutStore, identity: str) -> Standing:
    """Do as standing(), but mark lost hosts that have reported the revision since then as ``converged``."""
    found = standing(record, identity)
    rollout = found.rollout
    lost = [host for host in rollout.hosts.values() if is_lost(host)]
    for name, report in record.reported(rollout, lost).items():  # hosts report to Consul themselves
        if str(report.get("outcome")) in SUCCESSES and report.get("commits") == rollout.commits_of(rollout.hosts[name]):
            rollout.hosts[name].stage = HostStage.CONVERGED
    return found


async def ask_late(rollout: Rollout, client_of: Callable[[Host], HostClient]) -> None:
    """Ask late hosts for their live release; mark those that have taken the revision since then as ``converged``."""

    async def ask(host: Host) -> None:
        with suppress(HostError):
            live = await client_of(host).look()
            if not live.busy and verdict(live, rollout.commits_of(host)) is None:
                host.stage = HostStage.CONVERGED

    await asyncio.gather(*(ask(host) for host in rollout.at(HostStage.FAILED) if host.code == Code.HOST_LATE))


def listing(record: RolloutStore) -> list[Standing]:
    """Return the rollouts of all fleets, newest first, without their hosts."""
    return [Standing(one, not one.has_ended and record.running(one)) for one in record.all()]
