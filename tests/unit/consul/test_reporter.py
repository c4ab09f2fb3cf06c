"""A run's reports to a slow Consul."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING, Any

from release_agent.consul.reporter import BUDGET, ConsulReporter
from release_agent.health import Health
from support.clocks import FakeClock
from support.contexts import Unheard
from support.roots import release

if TYPE_CHECKING:
    from release_agent.model import Release

PATIENCE = 10.0  # seconds; a test that passes never waits for it


class SlowConsul:
    """An agent that takes a report when a test lets it."""

    address = ""

    def __init__(self) -> None:
        self.given: list[str] = []
        self.events: queue.SimpleQueue[str] = queue.SimpleQueue()
        self.let: queue.SimpleQueue[None] = queue.SimpleQueue()

    def warm_up(self) -> None:
        """Import nothing."""

    def reachable(self) -> None:
        """Have a leader."""

    def require_own(self) -> None:
        self.events.put("idle")  # the thread has no task any more

    def register(self, *_what: object) -> None:
        """Take it."""

    def update(self, _live: Release | None, _health: Health) -> bool:
        return True

    def put(self, body: dict[str, Any]) -> str:
        self.given.append(body["id"])
        self.events.put(body["id"])
        self.let.get(timeout=PATIENCE)
        return ""

    def comes_to(self, *events: str) -> None:
        """Wait until the thread comes to one of these events."""
        while self.events.get(timeout=PATIENCE) not in events:
            pass


class Spool:
    """A queue of four reports. The thread goes on while the first is removed."""

    def __init__(self, consul: SlowConsul) -> None:
        self.forgotten: list[int] = []
        self._consul = consul

    def keep_report(self, body: dict[str, Any]) -> None:
        raise NotImplementedError(body)

    def reports(self) -> list[tuple[int, dict[str, Any]]]:
        return [(number, {"id": f"d-{number}"}) for number in range(1, 5)]

    def forget_report(self, seq: int) -> None:
        self.forgotten.append(seq)
        self._consul.let.put(None)
        self._consul.comes_to("d-3", "idle")


def test_a_queue_longer_than_the_budget_ends_no_run_and_what_was_not_waited_for_is_not_sent() -> None:
    consul = SlowConsul()
    agent: Any = consul
    spool = Spool(consul)

    class Clock(FakeClock):
        """A clock at whose second look, when the wait is over, the second of four reports is on its way."""

        looks = 0

        def now(self) -> float:
            self.looks += 1
            if self.looks == 4:
                consul.let.put(None)
                consul.comes_to("d-2")
            if self.looks == 2:
                self.advance(BUDGET)
            return super().now()

    reporter = ConsulReporter(agent, spool, Clock(), Unheard(), watched=lambda: True, ttl=0.03)
    reporter.deploying(release(1))  # uses up the budget, so `finish` waits for nothing

    reporter.finish(None, None, Health.of())

    assert spool.forgotten == [1]
    assert consul.given == ["d-1", "d-2"], "the one on its way, and no other"
