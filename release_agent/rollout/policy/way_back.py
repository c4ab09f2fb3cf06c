"""What a revert does with one host."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING

from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from release_agent.model import Completed
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Application, Host

# Stages of a host that a revert looks at: also hosts that preflight left out, which may follow the rollout since.
TOUCHED = (
    HostStage.DONE,
    HostStage.FAILED,
    HostStage.UNREACHABLE,
    HostStage.STARTING,
    HostStage.DEPLOYING,
    HostStage.REVERTING,
    HostStage.STUCK,
)
_TOOK_IT = (HostStage.DONE, HostStage.STARTING, HostStage.DEPLOYING, HostStage.STUCK)  # or may have


class WayBack(StrEnum):
    """What to do with a host."""

    READ_HISTORY = "read its history: only that says whether this rollout brought what is live there"
    ROLL_BACK = "roll back"
    NOTE_BACK = "note that it is back already"
    LEAVE_ALONE = "leave it alone: it never took the revision, or rolled back automatically"
    MOVED_ON = "name it: something else is live there that this rollout did not bring"
    NO_TARGET = "name it: nothing was live there before"


def way_back(host: Host, live: HostStatus, *, brought: bool | None = None) -> WayBack:
    """Return what a revert does with a host that is not busy.

    ``brought``: whether its history says that this rollout made live what is live there; None: it was not read.
    """
    if host.stage is not HostStage.REVERTING:
        if live.release in (None, host.before) or brought is False:
            return _not_ours(host, live)
        if brought is None:
            return WayBack.READ_HISTORY
    return WayBack.NO_TARGET if host.before is None and host.wave >= 0 else WayBack.ROLL_BACK


def later_with_same_commits(rollout: str, application: Application, followed: Completed | None) -> Completed | None:
    """Return what the fleet follows if that is a later rollout's with the same commits, whose hosts these are then.

    Their histories do not say so: a rollout skips hosts that run its commits already.
    """
    return followed if followed and followed.id > rollout and followed.commits == application.commits else None


def _not_ours(host: Host, live: HostStatus) -> WayBack:
    if host.stage not in _TOOK_IT:
        return WayBack.LEAVE_ALONE
    return WayBack.NOTE_BACK if live.release == host.before else WayBack.MOVED_ON


def stays_as_noted(host: Host) -> bool:
    """Whether a host that cannot be asked keeps its stage: nobody deployed to it, and why it was left out stays to be read."""
    return host.wave < 0 and host.stage is not HostStage.REVERTING
