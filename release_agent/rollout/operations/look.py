"""How rollouts stand. Every function may block for some seconds, and raises RecordUnreachable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code
from release_agent.model import SUCCESSES
from release_agent.rollout.model import HostStage
from release_agent.rollout.operations.results import Standing

if TYPE_CHECKING:
    from release_agent.rollout.record.port import RolloutStore


def standing(record: RolloutStore, identity: str) -> Standing:
    """Return a rollout as it is now; raises NoTarget."""
    rollout = record.read(identity)
    return Standing(rollout, record.running(rollout))


def status(record: RolloutStore, identity: str) -> Standing:
    """Do as standing(); a host that was unreachable or late and has taken the revision since is ``converged``."""
    found = standing(record, identity)
    rollout = found.rollout
    lost = [host for host in rollout.hosts.values() if host.stage is HostStage.UNREACHABLE or host.code == Code.HOST_LATE]
    for name, report in record.reported(rollout, lost).items():  # hosts tell Consul themselves
        if report.get("outcome") in SUCCESSES and report.get("commits") == rollout.commits_of(rollout.hosts[name]):
            rollout.hosts[name].stage = HostStage.CONVERGED
    return found


def listing(record: RolloutStore) -> list[Standing]:
    """Return the rollouts of all fleets, newest first, without their hosts."""
    return [Standing(one, not one.has_ended and record.running(one)) for one in record.all()]
