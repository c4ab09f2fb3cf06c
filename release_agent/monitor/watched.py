"""What the monitor watches: the live release of a root."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from release_agent.deploy.environment import Occasion
from release_agent.deploy.look import look
from release_agent.deploy.resolve import resolve
from release_agent.model import Request

if TYPE_CHECKING:
    from release_agent.config.sections import HealthSettings
    from release_agent.deploy.context import Context
    from release_agent.health import Look
    from release_agent.model import Release, Target
    from release_agent.wiring import Parts


class Watched(Protocol):
    """What is watched."""

    def busy(self) -> bool:
        """Return whether a run holds the lock: then Consul's check is that run's."""

    def live(self) -> Release | None:
        """Return what is live."""

    def look(self, live: Release) -> Look:
        """Look once at its services and probes."""

    def health(self, live: Release) -> HealthSettings:
        """Return how long a release may be unhealthy, and how long it is watched."""

    def target(self) -> Target:
        """Resolve what a bare deploy would take."""

    def fire(self, method: str, trigger: str) -> str | None:
        """Fire a deployment or a rollback through supervisor; returns why it was refused, or None."""


class LiveRelease:
    """The live release of a root, looked at through the agent's adapters."""

    def __init__(self, parts: Parts, context: Context) -> None:
        self._parts = parts
        self._context = context
        self._root = parts.root()

    def busy(self) -> bool:
        """Return whether a run holds the lock."""
        return self._root.holder() is not None

    def live(self) -> Release | None:
        """Return the live release."""
        return self._root.current()

    def look(self, live: Release) -> Look:
        """Look once at its services and probes."""
        return look(self._context, live, self._context.blueprint(live), Occasion("monitor"))

    def health(self, live: Release) -> HealthSettings:
        """Return its health settings."""
        return self._context.blueprint(live).health

    def target(self) -> Target:
        """Resolve what a bare deploy would take."""
        # Afresh: what was read of the repositories is not read again.
        with self._parts.looking() as context:
            return resolve(context, Request("poll"))

    def fire(self, method: str, trigger: str) -> str | None:
        """Start a run through supervisor; returns why it was refused, or None."""
        return self._parts.services().fire(method, trigger)
