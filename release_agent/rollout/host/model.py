"""The nouns of one host: its status, a run for it, the reason of a failure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.model import NOTHING_LIVE
from release_agent.rollout.model import REVERT, STAGE, HostStage, who_am_i

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

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
        why = str(why)  # a host may answer anything
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
    why: str = ""  # the reason of its health
    busy: bool = False
    maintenance: bool = False
    instance: str = ""  # an id of its supervisord; empty: an older plugin does not tell
    since: str = ""  # when the release went live
    frozen: str = ""  # the freeze of its deployments: person, end and reason

    @property
    def condition(self) -> str:
        """Its health, with the reason."""
        return f"{self.health}: {self.why}" if self.why else self.health


@dataclass(frozen=True)
class RunRequest:
    """A run to start on a host: the plugin's method, its revision or release, and the trigger for the host's history.

    ``more``: arguments of the method after the trigger. ``newer``: the last arguments, which an older plugin does not know.
    ``expected``: the release that must be live, if it is one of them; empty: any.
    ``after``: the id of a deployment; only later runs of the history count as this run.
    ``may_start``: asked before each try to start it.
    """

    method: str
    argument: str
    trigger: str
    more: tuple[str | bool, ...] = ()
    newer: tuple[str | bool, ...] = ()
    expected: str = ""
    after: str | None = None
    may_start: Callable[[], bool] = lambda: True

    def calls(self) -> Iterator[tuple[str | bool, ...]]:
        """Return the arguments for the newest plugin first, then for older ones."""
        for known in range(len(self.newer), -1, -1):
            yield self.argument, False, self.trigger, *self.more, *self.newer[:known]


def deployment(rollout: Rollout, live: str | None, may_start: Callable[[], bool]) -> RunRequest:
    """Return the request to deploy a rollout's revision to a host with this live release (None: no release)."""
    more, despite_freeze = (False, live or NOTHING_LIVE), rollout.options.despite_freeze
    newer = (rollout.who, True) if despite_freeze else (rollout.who,)
    return RunRequest("release.deploy", rollout.revision, rollout.id, more, newer, may_start=may_start)


def staging(rollout: Rollout, may_start: Callable[[], bool]) -> RunRequest:
    """Return the request to build and rehearse a rollout's revision, and to publish nothing."""
    return RunRequest("release.stage", rollout.revision, f"{rollout.id}-{STAGE}", newer=(rollout.who,), may_start=may_start)


def rollback(host: Host, rollout: Rollout) -> RunRequest:
    """Return the request to roll back a host from the release of a rollout to the release before.

    If the latter is unknown, it is the previous one in the host's own history.
    """
    trigger, live = f"{rollout.id}-{REVERT}", host.release or ""
    newer = (who_am_i(), False, live)
    return RunRequest("release.rollback", host.before or "", trigger, (), newer, expected=live, after=host.deployment)
