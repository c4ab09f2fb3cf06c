"""``[revision] poll``: deploy new revisions automatically."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from release_agent.errors import ReleaseError
from release_agent.model import Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.journal.journal import StateDatabase
    from release_agent.monitor.watched import Watched
    from release_agent.system.logs import Log


class Poll:
    """``[revision] poll``: deploys when the followed revision has moved; tries no commits twice."""

    def __init__(self, watched: Watched, journal: Callable[[], StateDatabase], log: Log) -> None:
        self._watched = watched
        self._journal = journal
        self._log = log
        self._said = ""

    def look(self) -> None:
        """Fire a deployment if the commits of a bare deploy were never tried."""
        if self._watched.busy():
            return  # the next look asks again
        try:
            target = self._watched.target()
            with self._journal() as journal:
                tried, frozen = journal.was_tried(target.commits), journal.frozen()
        except (ReleaseError, OSError) as error:  # for example a full /tmp: the next look may succeed
            self._say(str(error))
            return
        if tried:
            return
        if frozen:  # otherwise each look adds a refused run to the history
            self._say(f"deployments are frozen {frozen.describe()}")
            return
        refused = self._watched.fire("deploy", Trigger.POLL.value)
        if refused:
            self._say(refused)
        else:
            self._log.info("poll.fired", revision=target.revision)

    def _say(self, why: str) -> None:
        """Log the reason why there is no deployment, unless it was the last one logged."""
        if why != self._said:
            self._said = why
            self._log.warning("poll.refused", why=why)

    def run(self, interval: float) -> None:
        """Look every ``interval`` seconds, forever."""
        pause = threading.Event()
        while not pause.wait(interval):
            self.look()
