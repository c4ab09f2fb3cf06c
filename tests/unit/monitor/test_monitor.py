"""The monitor's reports to Consul while it looks."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING, Any

from release_agent.health import Health, HealthState, Look
from release_agent.journal.journal import StateDatabase
from release_agent.monitor.monitor import Monitor
from support.contexts import Unheard
from support.endings import never_ending
from support.roots import release

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.model import Release

LIVE = release(1, published_at="2024-01-01T12:00:00.000000Z")
PATIENCE = 10.0  # seconds; a test that passes never waits for it


class Host:
    """A host whose probes take as long as a test wants."""

    def __init__(self) -> None:
        self.during_look: Any = lambda: None

    def busy(self) -> bool:
        return False

    def live(self) -> Release | None:
        return LIVE

    def look(self, _live: Release) -> Look:
        self.during_look()
        return Look({})

    def health(self, live: Release) -> Any:
        raise NotImplementedError(live)

    def target(self) -> Any:
        raise NotImplementedError

    def fire(self, method: str, trigger: str) -> str | None:
        raise NotImplementedError(method, trigger)


class Consul:
    """An agent that counts how often the check is renewed."""

    ttl = 0.03

    def __init__(self) -> None:
        self.told: list[Health] = []
        self.renewed = threading.Semaphore(0)

    def update(self, _live: Release | None, health: Health) -> bool:
        self.told.append(health)
        self.renewed.release()
        return True

    def register(self, *_what: object) -> None:
        """Take it."""

    def in_maintenance(self) -> str | None:
        return None


def test_a_passing_probe_slower_than_the_ttl_lets_the_check_not_flap(tmp_path: Path) -> None:
    host, consul = Host(), Consul()
    agent: Any = consul
    monitor = Monitor(host, lambda: StateDatabase(tmp_path / "state.db", write=True), agent, Unheard(), never_ending())
    monitor.round()
    while consul.renewed.acquire(blocking=False):
        pass
    renewed: list[bool] = []

    host.during_look = lambda: renewed.extend(consul.renewed.acquire(timeout=PATIENCE) for _ in range(3))
    monitor.round()

    assert renewed == [True, True, True]
    assert {health.state for health in consul.told} == {HealthState.PASSING}
