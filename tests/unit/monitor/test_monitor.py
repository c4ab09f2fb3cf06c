"""The monitor's reports to Consul while it looks."""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.connection import ConsulError
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
        self.is_busy = False
        self.is_live: Release | None = LIVE

    def busy(self) -> bool:
        return self.is_busy

    def live(self) -> Release | None:
        return self.is_live

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

    def __init__(self, ttl: float = 0.03) -> None:
        self.ttl = ttl
        self.is_down = False
        self.told: list[Health] = []
        self.renewed = threading.Semaphore(0)

    def update(self, _live: Release | None, health: Health) -> bool:
        if self.is_down:
            raise ConsulError
        self.told.append(health)
        self.renewed.release()
        return True

    def register(self, *_what: object) -> None:
        """Take it."""

    def in_maintenance(self) -> str | None:
        return None


class Wakeups:
    """Supervisor sends one event, and no other."""

    def __init__(self) -> None:
        self.waits: list[float | None] = []
        self.at_pause: Any = lambda: None

    def get(self, timeout: float | None = None) -> str | None:
        self.waits.append(timeout)
        if timeout is not None and len(self.waits) > 1:
            self.at_pause()
            raise queue.Empty
        return "TICK_5" if len(self.waits) == 1 else None


def monitor_of(host: Host, consul: Consul, tmp_path: Path) -> Monitor:
    agent: Any = consul
    return Monitor(host, lambda: StateDatabase(tmp_path / "state.db", write=True), agent, Unheard(), never_ending())


def test_a_passing_probe_slower_than_the_ttl_lets_the_check_not_flap(tmp_path: Path) -> None:
    host, consul = Host(), Consul()
    monitor = monitor_of(host, consul, tmp_path)
    monitor.round()
    while consul.renewed.acquire(blocking=False):
        pass
    renewed: list[bool] = []

    host.during_look = lambda: renewed.extend(consul.renewed.acquire(timeout=PATIENCE) for _ in range(3))
    monitor.round()

    assert renewed == [True, True, True]
    assert {health.state for health in consul.told} == {HealthState.PASSING}


def test_a_ttl_shorter_than_the_time_between_two_looks_lets_the_check_not_flap(tmp_path: Path) -> None:
    consul, wakeups = Consul(ttl=3.0), Wakeups()
    events: Any = wakeups

    monitor_of(Host(), consul, tmp_path).run(events)

    # Supervisor's next event is due after five seconds. If it does not come, nobody looks any more, and the check has to expire.
    assert wakeups.waits[1:] == [1.0] * 8 + [None]
    assert len(consul.told) == 1 + 8
    assert {health.state for health in consul.told} == {HealthState.PASSING}


def test_a_usual_ttl_needs_no_renewal_between_two_looks(tmp_path: Path) -> None:
    consul, wakeups = Consul(ttl=30.0), Wakeups()
    events: Any = wakeups

    monitor_of(Host(), consul, tmp_path).run(events)

    assert wakeups.waits == [None, None]
    assert len(consul.told) == 1


@pytest.mark.parametrize(("busy", "now_live"), [(True, LIVE), (False, release(2)), (False, None)])
def test_between_two_looks_a_verdict_on_another_release_is_not_renewed(
    tmp_path: Path, busy: bool, now_live: Release | None
) -> None:
    host, consul, wakeups = Host(), Consul(ttl=3.0), Wakeups()
    monitor = monitor_of(host, consul, tmp_path)
    events: Any = wakeups

    def changes() -> None:
        host.is_busy, host.is_live = busy, now_live

    wakeups.at_pause = changes
    monitor.run(events)

    assert len(consul.told) == 1


def test_a_run_that_ends_between_two_looks_is_followed_by_a_look(tmp_path: Path) -> None:
    host, consul, wakeups = Host(), Consul(ttl=3.0), Wakeups()
    events: Any = wakeups
    host.is_busy = True

    def run_ends() -> None:
        host.is_busy = len(wakeups.waits) < 4

    wakeups.at_pause = run_ends
    monitor_of(host, consul, tmp_path).run(events)

    assert len(wakeups.waits) == 4 + 8 + 1
    assert len(consul.told) == 1 + 8


def test_between_two_looks_nothing_is_renewed_if_the_last_look_could_not_be_told(tmp_path: Path) -> None:
    host, consul, wakeups = Host(), Consul(ttl=3.0), Wakeups()
    monitor = monitor_of(host, consul, tmp_path)
    events: Any = wakeups
    monitor.round()
    consul.is_down = True

    def back() -> None:
        consul.is_down = False

    wakeups.at_pause = back
    monitor.run(events)

    assert len(consul.told) == 1, "that of the first look would not be true any more"
