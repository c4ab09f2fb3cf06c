"""``[health] watch``: roll back what turns unhealthy after a deployment."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from release_agent.model import Action
from release_agent.monitor.watched import WATCH, Found, Watched

if TYPE_CHECKING:
    from release_agent.config.sections import Health
    from release_agent.journal.journal import StateDatabase
    from release_agent.model import Release
    from release_agent.system.logs import Log


class Bake:
    """``[health] watch``: for some time after a deployment, what turns sick is taken back, once."""

    def __init__(self, watched: Watched, log: Log) -> None:
        """Nothing is sick yet."""
        self._watched = watched
        self._log = log
        self._sick_since: float | None = None
        self._of: tuple[str, str | None] = ("", None)  # which publication that is said of
        self._taken_back: tuple[str, str | None] = ("", None)

    def consider(self, found: Found, journal: StateDatabase) -> None:
        """Fire a rollback where the live release was deployed a while ago and is given up, or sick for ``deadline``."""
        now = time.monotonic()
        if found.live is None:
            return
        publication = (found.live.name, found.live.published_at)
        if publication != self._of or not found.failing:
            # Sick is what a probe says, for this release: a service that a person stopped is none of it.
            self._of, self._sick_since = publication, None
        if found.failing and self._sick_since is None:
            self._sick_since = now
        if not (found.failing or found.hopeless):
            return
        health = self._watched.health(found.live)
        if not self._is_watched(found.live, health, journal):
            return
        if found.hopeless or (self._sick_since is not None and now - self._sick_since >= health.deadline):
            refused = self._watched.fire("rollback", WATCH)
            if refused:  # tried again at the next look
                self._log.warning("watch.refused", release=found.live.name, why=refused)
                return
            self._taken_back = publication
            self._log.warning("watch.fired", release=found.live.name, why=found.status.output)

    def _is_watched(self, live: Release, health: Health, journal: StateDatabase) -> bool:
        if health.watch is None or (live.name, live.published_at) == self._taken_back or not live.published_at:
            return False
        age = (datetime.now(UTC) - datetime.fromisoformat(live.published_at)).total_seconds()
        # What a rollback brought back is not taken back further.
        last = journal.last_deployed()
        return age <= health.watch and last is not None and (last.release, last.action) == (live.name, Action.DEPLOY)
