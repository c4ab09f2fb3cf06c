"""What the monitor watches: the live release of a root."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from release_agent.deploy.run import Run
from release_agent.model import Request

if TYPE_CHECKING:
    from release_agent.config.sections import Health
    from release_agent.consul.registration import Status
    from release_agent.deploy.context import Context
    from release_agent.health import Look
    from release_agent.model import Release, Target
    from release_agent.wiring import Parts

WATCH, POLL = "watch", "poll"


class Watched(Protocol):
    """What is watched."""

    def busy(self) -> bool:
        """Whether a run holds the lock: then Consul's check is that run's."""

    def live(self) -> Release | None:
        """Return what is live."""

    def look(self, live: Release) -> Look:
        """Look once at its services and probes."""

    def health(self, live: Release) -> Health:
        """Return how long a release may be sick, and is watched."""

    def target(self) -> Target:
        """Resolve what a bare deploy would take."""

    def fire(self, method: str, trigger: str) -> str | None:
        """Fire a deployment or a rollback through supervisor; returns why it was refused, or None."""


@dataclass(frozen=True)
class Found:
    """What a look found: what is live, Consul's status, whether it can never mend itself, whether a probe fails."""

    live: Release | None
    status: Status
    hopeless: bool = False
    failing: bool = False


class LiveRelease:
    """The live release of a root, looked at through the agent's adapters."""

    def __init__(self, parts: Parts, context: Context) -> None:
        """Keep what to look with."""
        self._parts = parts
        self._context = context
        self._root = parts.root()

    def busy(self) -> bool:
        """Whether a run holds the lock."""
        return self._root.holder() is not None

    def live(self) -> Release | None:
        """Return the live release."""
        return self._root.current()

    def look(self, live: Release) -> Look:
        """Look once at its services and probes."""
        run = Run(self._context, Request("monitor", revision=live.revision), journaled=False)
        directory = self._root.directory(live.name)
        return self._context.examiner.look(self._context.blueprint(live), directory, run.environment(live, directory))

    def health(self, live: Release) -> Health:
        """Return its health settings."""
        return self._context.blueprint(live).health

    def target(self) -> Target:
        """Resolve what a bare deploy would take."""
        from release_agent.deploy.deployment import Deployment

        # Afresh: what was read of the repositories is not read again.
        with self._parts.looking() as context:
            return Deployment(Run(context, Request("poll"), journaled=False)).resolve()

    def fire(self, method: str, trigger: str) -> str | None:
        """Start a run through supervisor; returns why it was refused, or None."""
        return self._parts.services().fire(method, trigger)
