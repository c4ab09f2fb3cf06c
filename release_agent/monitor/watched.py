"""The live release of a root, for the monitor."""

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
    """The watched release."""

    def busy(self) -> bool:
        """Return whether a run holds the lock; that run then sets Consul's check."""

    def live(self) -> Release | None:
        """Return the live release."""

    def look(self, live: Release) -> Look:
        """Look once at the services and probes of the live release."""

    def health(self, live: Release) -> HealthSettings:
        """Return the health settings: the deadline, and the time to watch a release."""

    def target(self) -> Target:
        """Resolve the revision of a bare deploy."""

    def fire(self, method: str, trigger: str) -> str | None:
        """Fire a deployment or a rollback through supervisor; returns the reason of a refusal, or None."""


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
        """Look once at the services and probes of the live release."""
        return look(self._context, live, self._context.blueprint(live), Occasion("monitor"))

    def health(self, live: Release) -> HealthSettings:
        """Return its health settings."""
        return self._context.blueprint(live).health

    def target(self) -> Target:
        """Resolve the revision of a bare deploy."""
        # Open the repositories again, because they keep their answers.
        with self._parts.looking() as context:
            return resolve(context, Request("poll"))

    def fire(self, method: str, trigger: str) -> str | None:
        """Start a run through supervisor; returns the reason of a refusal, or None."""
        return self._parts.services().fire(method, trigger)
