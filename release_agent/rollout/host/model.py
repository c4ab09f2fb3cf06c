"""The nouns of one host: its status, a run for it, the reason of a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.model import NOTHING_LIVE
from release_agent.rollout.model import REVERT, STAGE, HostStage, who_am_i

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.model import Host, Rollout

# Kept characters of a host's message, because Consul takes half a megabyte per key.
_LONGEST_NAME, _LONGEST_WHY = 200, 10_000


class HostError(Exception):
    """The reason why a host did not do a run, or gave no valid answer.

    ``unreachable``: its state is unknown; ``refused``: it will not take the revision.
    ``passing``: temporary trouble, such as a locked journal. It says nothing about the release: ask again.
    """

    def __init__(self, code: str, why: str, *, unreachable: bool = False, refused: bool = False, passing: bool = False) -> None:
        """``code`` is a stable name, this agent's or the host's own."""
        super().__init__(why)
        self.code = str(code)[:_LONGEST_NAME]
        self.why = why if len(why) <= _LONGEST_WHY else f"{why[:_LONGEST_WHY]} …"
        self.unreachable = unreachable
        self.refused = refused
        self.passing = passing


class NotStartedError(Exception):
    """The rollout stopped before the host accepted the run, which therefore does not start."""


class ArgumentsRefusedError(HostError):
    """Its plugin is older and does not know all arguments; the call had no effect."""


def note_failure(host: Host, error: HostError) -> None:
    """Write an error down in a host of a rollout."""
    host.stage = HostStage.UNREACHABLE if error.unreachable else HostStage.FAILED
    host.code, host.why = error.code, error.why


@dataclass(frozen=True)
class HostStatus:
    """The status of a host."""

    app: str
    environment: str
    release: str | None
    revision: str | None
    commits: dict[str, str]
    health: str
    busy: bool = False
    maintenance: bool = False
    instance: str = ""  # an id of its supervisord; empty: an older plugin does not tell
    since: str = ""  # when the release went live
    frozen: str = ""  # the freeze of its deployments: person, end and reason


@dataclass(frozen=True)
class RunRequest:
    """A run to start on a host: the plugin's method, its revision or release, and the trigger for the host's history.

    ``more``: arguments of the method after the trigger. ``by``: the requesting person, which an older plugin does not know.
    ``after``: the id of a deployment; only later runs of the history count as this run.
    ``may_start``: asked before each try to start it.
    """

    method: str
    argument: str
    trigger: str
    more: tuple[str | bool, ...] = ()
    by: str = ""
    despite_freeze: bool = False
    after: str | None = None
    may_start: Callable[[], bool] = lambda: True


def deployment(rollout: Rollout, live: str | None, may_start: Callable[[], bool]) -> RunRequest:
    """Return the request to deploy a rollout's revision to a host with this live release (None: no release)."""
    return RunRequest(
        "release.deploy",
        rollout.revision,
        rollout.id,
        (False, live or NOTHING_LIVE),
        rollout.who,
        despite_freeze=rollout.options.despite_freeze,
        may_start=may_start,
    )


def staging(rollout: Rollout, may_start: Callable[[], bool]) -> RunRequest:
    """Return the request to build and rehearse a rollout's revision, and to publish nothing."""
    return RunRequest("release.stage", rollout.revision, f"{rollout.id}-{STAGE}", by=rollout.who, may_start=may_start)


def rollback(release: str, rollout: str, after: str | None) -> RunRequest:
    """Return the request to roll back to ``release``; ``after``: the deployment to undo.

    An empty ``release`` means the previous one in the host's own history.
    """
    return RunRequest("release.rollback", release, f"{rollout}-{REVERT}", by=who_am_i(), after=after)
