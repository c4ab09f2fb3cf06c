"""In which order services are replaced and proved, on a clock that only sleep moves."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from release_agent.config.blueprint import Blueprint
from release_agent.config.sections import HealthSettings, Hooks, Restart, RestartKind, Service, Shared
from release_agent.deploy.replacement import Replacement
from release_agent.deploy.run import Run
from release_agent.errors import Unhealthy
from release_agent.health import Look, Process, ServiceLook
from release_agent.model import Request
from support.clocks import FakeClock
from support.contexts import context
from support.fake_services import FakeServices, NoSockets

if TYPE_CHECKING:
    from collections.abc import Sequence

NONE = Restart(RestartKind.NONE)


class World:
    """Services of one process each, which all run; ``sick`` never become healthy."""

    def __init__(self, *services: Service, sick: Sequence[str] = ()) -> None:
        self.clock = FakeClock()
        self.services = FakeServices(self.clock, [Process(one.name, "it", "RUNNING", 7) for one in services])
        self.sick = sick
        run = Run(context(clock=self.clock, services=self.services, plugin=NoSockets()), Request("d-1"), journaled=False)
        self.record = run.record
        plans = Blueprint(Shared((), ()), Hooks((), (), (), ()), services, HealthSettings(deadline=10.0, stable_for=3.0))
        self.replacement = Replacement(run, plans, self._look)

    def _look(self, plans: Blueprint, **_: bool) -> Look:
        names = [service.name for service in plans.services]
        self._say(f"look {' '.join(names)}")
        processes = self.services.processes()
        return Look({name: self._seen(name, processes[name]) for name in names})

    def _seen(self, name: str, processes: list[Process]) -> ServiceLook:
        well = name not in self.sick and all(process.running for process in processes)
        return ServiceLook(tuple(processes), () if well else (f"{name} is sick",))

    def _say(self, what: str) -> None:
        if self.services.calls[-1:] != [what]:
            self.services.calls.append(what)

    def replace(self, **how: Any) -> list[str]:
        """Replace all; return what was done, looks in a row as one."""
        self.replacement.replace(**how)
        return self.services.calls

    def fails(self, **how: Any) -> tuple[list[str], str]:
        """Fail to replace all; return what was done, and the message."""
        with pytest.raises(Unhealthy) as unhealthy:
            self.replace(**how)
        return self.services.calls, unhealthy.value.message


def service(name: str, restart: Restart | None = None, after: tuple[str, ...] | None = None) -> Service:
    return Service(name, restart or Restart(), probes=(), after=after)


def test_a_service_is_proved_before_the_next_one_is_touched_and_all_are_proved_at_the_end() -> None:
    world = World(service("db"), service("web"))

    assert world.replace() == [
        *("stop db:it", "start db:it", "look db"),
        *("stop web:it", "start web:it", "look web"),
        "look db web",
    ]
    assert world.clock.spent == pytest.approx(2 * 1.1 + 3.0, abs=0.8)
    assert list(world.record.phases) == ["restart", "health"]


def test_services_behind_one_that_does_not_become_healthy_are_left_alone() -> None:
    world = World(service("db"), service("web"), service("worker"), sick=["web"])

    done, message = world.fails()

    assert [call for call in done if "worker" in call] == []
    assert message == "not healthy within 10 s: web is sick"
    assert world.replacement.touched == {"db", "web"}


def test_a_service_has_the_deadline_for_itself() -> None:
    world = World(service("db"), service("web"))
    world.services.start_takes = 9.0

    world.replace()

    assert world.clock.spent > 18.0


def test_a_release_that_stays_live_has_its_other_services_restarted_and_the_first_trouble_told() -> None:
    world = World(service("db"), service("web"), service("worker"), sick=["db", "worker"])

    done, message = world.fails(to_the_end=True)

    assert [call for call in done if call.startswith("start")] == ["start db:it", "start web:it", "start worker:it"]
    assert message == "not healthy within 10 s: db is sick"


def test_a_service_that_is_to_be_left_alone_is_looked_at_and_not_restarted() -> None:
    world = World(service("db"), service("web"))

    assert world.replace(untouched={"db"}) == ["look db", "stop web:it", "start web:it", "look web", "look db web"]
    assert world.replacement.touched == {"web"}


def test_a_service_that_is_only_started_does_not_count_as_touched() -> None:
    world = World(service("db", NONE))

    assert world.replace() == ["look db"]
    assert world.replacement.touched == set()


def test_independent_services_are_replaced_and_proved_side_by_side() -> None:
    world = World(service("db"), service("web", after=()), service("worker", after=("db",)), sick=["worker"])

    done, _ = world.fails()

    assert done == [
        *("stop db:it", "stop web:it", "start db:it", "start web:it", "look db web"),
        *("stop worker:it", "start worker:it", "look worker"),
    ]


def test_what_does_not_run_is_started_in_the_same_order() -> None:
    world = World(service("db"), service("web"), sick=["db"])
    for process in list(world.services.all):
        world.services.stop(process)
    world.clock.advance(1.0)
    world.services.calls.clear()

    with pytest.raises(Unhealthy, match="db is sick"):
        world.replacement.start()

    assert world.services.calls == ["start db:it", "look db", "start web:it", "look web"]


def test_without_services_the_proof_is_all_there_is() -> None:
    world = World()

    assert world.replace() == ["look "]
    assert world.clock.spent == pytest.approx(3.0, abs=0.21)
