"""The proof that a release is healthy: many looks, one after another."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import SERVICE_LOG_HINT, Code, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.config.sections import Health
    from release_agent.health import Look
    from release_agent.system.clock import Clock


_INTERVAL = 0.2


def prove(look: Callable[[], Look], health: Health, clock: Clock) -> None:
    """Return once everything has been well for ``stable_for`` seconds on end; raises Unhealthy.

    All must have become well before ``deadline``. A process that was replaced
    in between (a crash that supervisor mended) starts the count again, and so
    does a probe that fails once. A process that supervisor gave up cannot come
    back: no need to wait.
    """
    began = clock.now()
    since: float | None = None
    pids: frozenset[int] = frozenset()
    while True:
        seen = look()
        now = clock.now()
        if seen.well and (since is None or seen.pids != pids):
            since, pids = now, seen.pids
        elif not seen.well:
            since = None
        if since is not None and since - began <= health.deadline:
            if now - since >= health.stable_for:
                return
        elif seen.hopeless or now - began >= health.deadline:
            raise _unhealthy(seen, health, now - began)
        clock.sleep(_INTERVAL)


def _unhealthy(seen: Look, health: Health, spent: float) -> Unhealthy:
    when = f"after {spent:.0f} s" if seen.hopeless else f"within {health.deadline:g} s"
    wrong = "; ".join(seen.problems) or f"never well for {health.stable_for:g} s on end"
    return Unhealthy(
        Code.UNHEALTHY,
        f"not healthy {when}: {wrong}",
        hint=SERVICE_LOG_HINT,
    )
