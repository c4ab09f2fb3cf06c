"""``[monitor] exit_when``: end the container when supervisor has given up a service."""

from __future__ import annotations

import time
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.config.sections import MonitorSettings
    from release_agent.health import Look, Process
    from release_agent.model import Release
    from release_agent.system.logs import Log


class Supervisord(Protocol):
    """The shutdown of supervisord."""

    def shut_down(self) -> str | None:
        """Ask supervisord to stop everything and end; returns the reason of a refusal, or None."""


class Words(Protocol):
    """The last words of services."""

    def last_words(self, service: str, since: float) -> tuple[str, list[str]]:
        """Return the end of a service's process, and the last lines of those started since a time."""


@dataclass(frozen=True)
class Moment:
    """One moment by both clocks: ``ticks`` are monotonic seconds, ``time`` is seconds since 1970."""

    ticks: float
    time: float

    @classmethod
    def now(cls) -> Moment:
        """Return this moment."""
        return cls(time.monotonic(), time.time())

    def ticks_at(self, then: float) -> float:
        """Return the monotonic seconds at a time of the past; those of this moment if the clock was set back since then."""
        return self.ticks - max(0.0, self.time - then)


@dataclass(frozen=True)
class Lost:
    """A process that supervisor has given up; ``since``: the start of its time (monotonic seconds)."""

    process: Process
    since: float


@dataclass(frozen=True)
class Losses:
    """The processes that are FATAL. Their time starts at ``quiet_since``, the end of the last run, or later."""

    quiet_since: float
    known: Mapping[tuple[str, int], Lost] = field(default_factory=dict)

    def after(self, look: Look, now: Moment) -> Losses:
        """Count one more look: a new process has been FATAL since supervisor gave it up."""
        fatal = {(process.full_name, process.given_up_at): process for process in look.processes if process.hopeless}
        found = {
            each: self.known.get(each, Lost(process, max(self.quiet_since, now.ticks_at(process.given_up_at))))
            for each, process in fatal.items()
        }
        return Losses(self.quiet_since, found)

    def beyond_help(self, now: Moment, patience: float) -> list[Lost]:
        """Return the processes that have been FATAL for ``patience`` seconds."""
        return [lost for lost in self.known.values() if now.ticks - lost.since >= patience]


class ContainerEnd:
    """Ends the container when a process of the live release's services has been FATAL for ``exit_after``."""

    def __init__(
        self, settings: MonitorSettings, supervisord: Supervisord, words: Words, log: Log, last_run_ended: float = 0.0
    ) -> None:
        """``last_run_ended``: the end of the newest run in the journal (seconds since 1970)."""
        self._settings = settings
        self._supervisord = supervisord
        self._words = words
        self._log = log
        self._losses = Losses(Moment.now().ticks_at(last_run_ended))
        self.begun = False  # whether supervisord has agreed to end

    def wait_for_run(self) -> None:
        """Start the time again, because a run holds the lock or was requested."""
        self._losses = Losses(Moment.now().ticks)

    def consider(self, look: Look | None) -> Sequence[Lost]:
        """Count a look; returns the processes that end the container. ``look``: None if supervisor did not answer."""
        if look is None or self._settings.exit_when == "never":
            return ()
        now = Moment.now()
        self._losses = self._losses.after(look, now)
        return self._losses.beyond_help(now, self._settings.exit_after)

    def announce(self, live: Release, losses: Sequence[Lost]) -> str:
        """Log each process, with its end and its last output; returns the reason in one line."""
        for lost in losses:
            process = lost.process
            end, lines = self._words.last_words(process.service, process.started_at)
            self._log.warning(
                "exit.fired",
                release=live.name,
                process=process.full_name,
                since=datetime.fromtimestamp(process.given_up_at, UTC).isoformat(),
                why=f"{process.state}: {process.why}",
                end=end,
                output="\n".join(lines),
            )
        names = ", ".join(lost.process.short_name for lost in losses)
        return f"the container ends ([monitor] exit_when): {names} FATAL for {self._settings.exit_after:g} s"

    def end(self) -> None:
        """Ask supervisord to stop everything and end; after a refusal, ask again at the next look."""
        refused = self._supervisord.shut_down()
        self.begun = refused is None
        if refused:
            self._log.warning("exit.refused", why=refused)
