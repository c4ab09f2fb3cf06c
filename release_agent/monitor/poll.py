"""``[revision] poll``: deploy automatically what is new."""

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
    """``[revision] poll``: deploys automatically when the followed revision has moved; nothing is tried twice."""

    def __init__(self, watched: Watched, journal: Callable[[], StateDatabase], log: Log) -> None:
        self._watched = watched
        self._journal = journal
        self._log = log
        self._said = ""

    def look(self) -> None:
        """Fire a deployment where the commits that a bare deploy would take were never tried."""
        if self._watched.busy():
            return  # asked again at the next look
        try:
            target = self._watched.target()
            with self._journal() as journal:
                tried, frozen = journal.was_tried(target.commits), journal.frozen()
        except (ReleaseError, OSError) as error:  # a full /tmp, say: the next look may do
            self._say(str(error))
            return
        if tried:
            return
        if frozen:  # a run that is refused would be one more in the history at each look
            self._say(f"deployments are frozen {frozen.describe()}")
            return
        refused = self._watched.fire("deploy", Trigger.POLL.value)
        if refused:
            self._say(refused)
        else:
            self._log.info("poll.fired", revision=target.revision)

    def _say(self, why: str) -> None:
        """Log what keeps it from deploying, once."""
        if why != self._said:
            self._said = why
            self._log.warning("poll.refused", why=why)

    def run(self, interval: float) -> None:
        """Look every ``interval`` seconds, for ever."""
        pause = threading.Event()
        while not pause.wait(interval):
            self.look()
