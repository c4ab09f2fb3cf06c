"""The nouns of one host: what it says of itself, what it is asked to run, why it did not."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.model import NOTHING_LIVE
from release_agent.rollout.model import REVERT, STAGE, HostStage

if TYPE_CHECKING:
    from release_agent.rollout.model import Host


class HostError(Exception):
    """Why a host did not do what it was asked.

    ``unreachable``: nobody knows what it does now; ``refused``: it will not take the revision.
    """

    def __init__(self, code: str, why: str, *, unreachable: bool = False, refused: bool = False) -> None:
        """``code`` is a stable name, this agent's or the host's own."""
        super().__init__(why)
        self.code = str(code)
        self.why = why
        self.unreachable = unreachable
        self.refused = refused


def note_failure(host: Host, error: HostError) -> None:
    """Write an error down in a host of a rollout."""
    host.stage = HostStage.UNREACHABLE if error.unreachable else HostStage.FAILED
    host.code, host.why = error.code, error.why


@dataclass(frozen=True)
class HostStatus:
    """What a host says of itself."""

    app: str
    environment: str
    release: str | None
    revision: str | None
    commits: dict[str, str]
    health: str
    busy: bool = False
    maintenance: bool = False
    since: str = ""  # when the release went live


@dataclass(frozen=True)
class RunRequest:
    """A run to start on a host: the plugin's method, its revision or release, and the trigger for the host's history."""

    method: str
    argument: str
    trigger: str
    more: tuple[str | bool, ...] = ()  # arguments of the method after the trigger


def deployment(revision: str, rollout: str, live: str | None) -> RunRequest:
    """Return the request to deploy a revision to a host where this release is live (None: nothing), and to no other."""
    return RunRequest("release.deploy", revision, rollout, (False, live or NOTHING_LIVE))


def staging(revision: str, rollout: str) -> RunRequest:
    """Return the request to build and rehearse a revision, and to publish nothing."""
    return RunRequest("release.stage", revision, f"{rollout}-{STAGE}")


def rollback(release: str, rollout: str) -> RunRequest:
    """Return the request to go back to a release; empty: to the one before, by the host's own history."""
    return RunRequest("release.rollback", release, f"{rollout}-{REVERT}")
