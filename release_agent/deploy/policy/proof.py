"""The proof that a release is healthy: many looks, one after another."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import Enum, auto
from typing import TYPE_CHECKING

from release_agent.errors import SERVICE_LOG_HINT, Code, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.config.sections import HealthSettings
    from release_agent.health import Look
    from release_agent.system.clock import Clock


_INTERVAL = 0.2


class Decision(Enum):
    """What follows from a look: look again, believe the release, or give it up."""

    LOOK_AGAIN = auto()
    HEALTHY = auto()
    GIVEN_UP = auto()


@dataclass(frozen=True)
class Proof:
    """What the looks so far have shown: since when all was healthy, and with which processes. Times are the clock's seconds."""

    began: float
    since: float | None = None
    pids: frozenset[int] = frozenset()

    def after(self, look: Look, now: float) -> Proof:
        """Count one more look. A process that was replaced, or a probe that failed once, starts the count again."""
        if not look.well:
            return replace(self, since=None)
        if self.since is None or look.pids != self.pids:
            return replace(self, since=now, pids=look.pids)
        return self

    def decide(self, look: Look, health: HealthSettings, now: float) -> Decision:
        """Decide after a look that is counted already.

        All must have become healthy by ``deadline`` and stay so for ``stable_for``.
        A process that supervisor gave up cannot come back: no need to wait.
        """
        if self.since is not None and self.since - self.began <= health.deadline:
            return Decision.HEALTHY if now - self.since >= health.stable_for else Decision.LOOK_AGAIN
        if look.hopeless or now - self.began >= health.deadline:
            return Decision.GIVEN_UP
        return Decision.LOOK_AGAIN


def prove(look: Callable[[], Look], health: HealthSettings, clock: Clock) -> None:
    """Return once all has been healthy for ``stable_for`` seconds; raises Unhealthy when the release is given up."""
    proof = Proof(clock.now())
    while True:
        seen = look()
        now = clock.now()
        proof = proof.after(seen, now)
        decision = proof.decide(seen, health, now)
        if decision is Decision.HEALTHY:
            return
        if decision is Decision.GIVEN_UP:
            raise _unhealthy(seen, health, now - proof.began)
        clock.sleep(_INTERVAL)


def _unhealthy(seen: Look, health: HealthSettings, spent: float) -> Unhealthy:
    when = f"after {spent:.0f} s" if seen.hopeless else f"within {health.deadline:g} s"
    wrong = "; ".join(seen.problems) or f"never healthy for {health.stable_for:g} s in a row"
    return Unhealthy(
        Code.UNHEALTHY,
        f"not healthy {when}: {wrong}",
        hint=SERVICE_LOG_HINT,
    )
