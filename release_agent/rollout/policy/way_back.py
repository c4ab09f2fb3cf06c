"""Decide what a revert does with one host."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from release_agent.model import Completed
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Application, Host, Rollout

# Stages of the hosts of a revert: also hosts that preflight left out, which may follow the rollout since then.
TOUCHED = (
    HostStage.DONE,
    HostStage.FAILED,
    HostStage.UNREACHABLE,
    HostStage.STARTING,
    HostStage.DEPLOYING,
    HostStage.REVERTING,
    HostStage.STUCK,
)
_TOOK_IT = (HostStage.DONE, HostStage.STARTING, HostStage.DEPLOYING, HostStage.STUCK)  # or may have taken it


class WayBack(StrEnum):
    """The action for a host."""

    READ_HISTORY = "read its history, which shows whether this rollout deployed its live release"
    ROLL_BACK = "roll back"
    NOTE_BACK = "note that it is already rolled back"
    LEAVE_ALONE = "do nothing: it never took the revision, or rolled back automatically"
    MOVED_ON = "report it: its history does not show that this rollout deployed its live release"
    NO_TARGET = "report it: it had no live release before"


def way_back(host: Host, live: HostStatus, *, brought: bool | None = None) -> WayBack:
    """Return the action of a revert for a host that is not busy.

    ``brought``: whether by its history this rollout deployed its live release; None: the history was not read.
    """
    if host.stage is not HostStage.REVERTING:
        if live.release in (None, host.before) or brought is False:
            return _not_ours(host, live)
        if brought is None:
            return WayBack.READ_HISTORY
    return WayBack.NO_TARGET if host.before is None and host.wave >= 0 else WayBack.ROLL_BACK


def boots_since(rollout: Rollout, host: Host, live: HostStatus) -> str | None:
    """Return the time after which a boot of a host followed this rollout; None if its live release is not of this rollout.

    A host in a wave had another live release in preflight, so a boot came later by any clock.
    """
    if live.commits != rollout.commits_of(host):
        return None
    return rollout.started_at if host.wave < 0 else ""


def later_with_same_commits(rollout: str, application: Application, followed: Completed | None) -> Completed | None:
    """Return the fleet's revision if a later rollout with the same commits set it; these hosts now belong to that rollout.

    The hosts' histories do not show the later rollout, because it skips hosts that already run its commits.
    """
    return followed if followed and followed.id > rollout and followed.commits == application.commits else None


def _not_ours(host: Host, live: HostStatus) -> WayBack:
    if host.stage not in _TOOK_IT:
        return WayBack.LEAVE_ALONE
    return WayBack.NOTE_BACK if live.release == host.before else WayBack.MOVED_ON


def stays_as_noted(host: Host) -> bool:
    """Return whether a host that does not answer keeps its stage and reason, because it never got a deployment."""
    return host.wave < 0 and host.stage is not HostStage.REVERTING
