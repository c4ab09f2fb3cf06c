"""Judge the answers of hosts at the end of a rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code
from release_agent.health import HealthState
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Host, Rollout

_UNKNOWN = (Code.HOST_LATE, Code.INTERRUPTED, Code.BUG)  # of a failed host that may have taken the revision since


def asked_at_the_end(rollout: Rollout) -> list[Host]:
    """Return the hosts that run the revision, as far as known, and those with an unknown state."""
    return [
        host for host in rollout.hosts.values() if host.stage in (HostStage.DONE, HostStage.SKIPPED) or may_have_taken_it(host)
    ]


def may_have_taken_it(host: Host) -> bool:
    """Return whether a lost host with a requested deployment may have taken the revision later."""
    return is_lost(host) and host.wave >= 0


def is_lost(host: Host) -> bool:
    """Return whether the state of a host is unknown: it does not answer, was late, or its deployment was killed."""
    return host.stage is HostStage.UNREACHABLE or (host.stage is HostStage.FAILED and host.code in _UNKNOWN)


def verdict(live: HostStatus, commits: dict[str, str]) -> HostError | None:
    """Return the reason why a host does not run the commits of a rollout, or is unhealthy; None without a reason."""
    if live.release is None or live.commits != commits:
        return HostError(Code.OVERTAKEN, f"runs {live.revision or 'nothing'} now, which this rollout did not deploy")
    if live.health != HealthState.PASSING:
        return HostError(Code.HOST_SICK, f"runs {live.revision}, and is {live.condition}")
    return None
