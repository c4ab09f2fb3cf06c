"""``[health] watch``: roll back a release that becomes unhealthy after its deployment."""

from __future__ import annotations

import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from release_agent.model import Action, Trigger

if TYPE_CHECKING:
    from release_agent.config.sections import HealthSettings
    from release_agent.health import Look
    from release_agent.journal.journal import StateDatabase
    from release_agent.model import Deployed, Release
    from release_agent.monitor.watched import Watched
    from release_agent.system.logs import Log

# One publication of a release: its name, and its time.
Published = tuple[str, str | None]


@dataclass(frozen=True)
class Sickness:
    """The watched publication, and the start of its failing probes (monotonic seconds); None: no probe fails."""

    of: Published = ("", None)
    since: float | None = None

    def after(self, live: Release, now: float, *, failing: bool) -> Sickness:
        """Count one more look: only a failing probe starts the time, not a stopped service."""
        published = publication_of(live)
        if not failing:
            return Sickness(published)
        return self if self.of == published and self.since is not None else Sickness(published, now)


def publication_of(release: Release) -> Published:
    """Return the publication of a release."""
    return (release.name, release.published_at)


def is_watched(live: Release, health: HealthSettings, today: datetime, newest: Deployed | None) -> bool:
    """Return whether the live release was deployed, without a rollback to it, at most ``watch`` seconds ago.

    ``newest``: the newest run that ended with its release live.
    """
    if health.watch is None or not live.published_at:
        return False
    age = today - datetime.fromisoformat(live.published_at)
    deployed = newest is not None and (newest.release, newest.action) == (live.name, Action.DEPLOY)
    return deployed and age <= timedelta(seconds=health.watch)


def is_given_up(sickness: Sickness, health: HealthSettings, now: float, *, hopeless: bool) -> bool:
    """Return whether supervisor has given up a service, or a probe has failed for ``deadline`` seconds."""
    return hopeless or (sickness.since is not None and now - sickness.since >= health.deadline)


class HealthWatch:
    """Rolls back a watched release that becomes unhealthy, once."""

    def __init__(self, watched: Watched, log: Log) -> None:
        self._watched = watched
        self._log = log
        self._sickness = Sickness()
        self._rolled_back: Published = ("", None)

    def consider(self, live: Release, look: Look | None, journal: StateDatabase) -> bool:
        """Fire a rollback if the live release is watched and given up; after a refusal, fire again at the next look.

        ``look``: None if supervisor did not answer. Returns whether it fired a rollback.
        """
        now = time.monotonic()
        self._sickness = self._sickness.after(live, now, failing=look is not None and look.failing)
        if look is None or not (look.failing or look.hopeless) or self._rolled_back == self._sickness.of:
            return False
        health = self._watched.health(live)
        if not is_given_up(self._sickness, health, now, hopeless=look.hopeless):
            return False
        if not is_watched(live, health, datetime.now(UTC), journal.last_deployed()):
            return False
        # An earlier monitor process fired the rollback. If that ended with its container, the release is still live.
        if journal.is_taken_back(*self._sickness.of) and not journal.may_roll_back_again(live.published_at or ""):
            return False
        refused = self._watched.fire("rollback", Trigger.WATCH.value)
        if refused:
            self._log.warning("watch.refused", release=live.name, why=refused)
            return False
        self._rolled_back = self._sickness.of
        self._log.warning("watch.fired", release=live.name, why="; ".join(look.problems))
        journal.take_back(*self._sickness.of)
        return True
