"""The order and the waits of stops and starts of services, on a clock that moves only by sleeps."""

from __future__ import annotations

from signal import Signals
from typing import Any

import pytest

from release_agent.config.sections import Restart, RestartKind, Service
from release_agent.deploy.switch.restart import Restarter
from release_agent.errors import Code, Unhealthy
from release_agent.health import Process
from support.clocks import FakeClock
from support.fake_services import NEVER, FakeServices

NONE = Restart(RestartKind.NONE)
HUP = Restart(RestartKind.SIGNAL, Signals.SIGHUP)


class Lines:
    """A log that is kept."""

    def __init__(self) -> None:
        self.said: list[dict[str, object]] = []

    def info(self, event: str, **values: object) -> None:
        self.said.append({"event": event, **values})

    warning = info


class World:
    """Processes named ``service:name`` in the given states, and the restarter."""

    def __init__(self, on_sleep: Any = lambda: None, /, **states: str) -> None:
        self.clock = FakeClock(on_sleep)
        names = {name: name.split("_") for name in states}
        processes = [Process(service, one, states[name], 7) for name, (service, one) in names.items()]
        self.services = FakeServices(self.clock, processes)
        self.log = Lines()
        self.restarter = Restarter(self.services, self.clock, self.log)

    def restart(self, *names: str, how: Restart | None = None) -> list[str]:
        """Restart services; return what supervisor was asked for."""
        self.restarter.restart([Service(name, how or Restart(), probes=()) for name in names])
        return self.services.calls

    def fails(self, *names: str, how: Restart | None = None) -> tuple[float, str]:
        """Fail to restart services; return after how many seconds, and the message."""
        with pytest.raises(Unhealthy) as unhealthy:
            self.restart(*names, how=how)
        assert unhealthy.value.code is Code.RESTART_FAILED
        return self.clock.spent, unhealthy.value.message


def test_all_processes_of_a_service_are_stopped_before_any_is_started() -> None:
    world = World(web_one="RUNNING", web_two="RUNNING", other_one="RUNNING")

    assert world.restart("web") == ["stop web:one", "stop web:two", "start web:one", "start web:two"]
    assert world.log.said == [{"event": "service.restarted", "service": "web", "how": "restart"}]


def test_services_are_restarted_side_by_side() -> None:
    world = World(web_one="RUNNING", jobs_one="RUNNING")
    world.services.stop_takes = 3.0

    assert world.restart("jobs", "web") == ["stop jobs:one", "stop web:one", "start jobs:one", "start web:one"]
    assert world.clock.spent == pytest.approx(3.0, abs=0.02)


def test_a_service_starts_as_soon_as_it_has_stopped_itself_while_another_finishes_its_job() -> None:
    world = World(jobs_one="RUNNING", web_one="RUNNING")
    world.services.slow_to_stop = {"jobs:one": 12.0}

    assert world.restart("jobs", "web") == ["stop jobs:one", "stop web:one", "start web:one", "start jobs:one"]
    assert world.services.moments[2:] == [pytest.approx(0.1, abs=0.02), pytest.approx(12.0, abs=0.02)]


@pytest.mark.parametrize(
    ("state", "restart", "signal", "none"),
    [
        ("RUNNING", ["stop", "start"], ["SIGHUP"], []),
        ("STARTING", ["stop", "start"], ["SIGHUP"], []),
        ("STOPPED", ["start"], ["start"], ["start"]),
        ("EXITED", ["start"], ["start"], ["start"]),
        ("FATAL", ["start"], ["start"], ["start"]),
        ("UNKNOWN", ["start"], ["start"], ["start"]),
        ("BACKOFF", ["stop", "start"], [], []),
    ],
)
def test_what_is_done_to_a_process_follows_from_its_state(
    state: str, restart: list[str], signal: list[str], none: list[str]
) -> None:
    for how, calls in ((Restart(), restart), (HUP, signal), (NONE, none)):
        assert World(web_one=state).restart("web", how=how) == [f"{call} web:one" for call in calls], how


def test_a_process_is_started_once_it_has_stopped_and_not_later() -> None:
    world = World(web_one="RUNNING", web_two="RUNNING")
    world.services.stop_takes = 3.0

    world.restart("web")

    assert world.services.moments == [0.0, 0.0, pytest.approx(3.0, abs=0.02), pytest.approx(3.0, abs=0.02)]


@pytest.mark.parametrize("how", [Restart(), NONE, HUP])
def test_a_process_that_somebody_else_stops_is_waited_for_and_started(how: Restart) -> None:
    world = World(web_one="RUNNING")
    (process,) = world.services.processes()["web"]
    world.services.stop_takes = 2.0
    world.services.stop(process)
    world.services.calls.clear()

    assert world.restart("web", how=how) == ["start web:one"]
    assert world.clock.spent == pytest.approx(2.0, abs=0.02)


def test_a_process_that_does_not_stop_fails_it_after_its_own_time_and_a_margin() -> None:
    world = World(web_one="RUNNING", web_two="RUNNING", web_three="EXITED")
    world.services.stop_takes = NEVER

    spent, message = world.fails("web", "jobs")

    assert spent == pytest.approx(5.0 + 10.0, abs=0.02)
    assert message == "could not stop web: web:one is STOPPING, web:two is STOPPING"
    assert world.services.calls == ["stop web:one", "stop web:two", "start web:three"]


def test_services_that_do_not_stop_have_their_time_side_by_side() -> None:
    world = World(web_one="RUNNING", jobs_one="RUNNING")
    world.services.stop_takes = NEVER

    assert world.fails("web", "jobs") == (pytest.approx(5.0 + 10.0, abs=0.02), "could not stop web: web:one is STOPPING")


def test_a_process_that_somebody_else_stops_for_ever_fails_a_start() -> None:
    world = World(web_one="STOPPING")

    assert world.fails("web", how=NONE) == (pytest.approx(10.0, abs=0.02), "could not stop web: web:one is STOPPING")


def test_a_process_that_supervisor_forgets_meanwhile_is_not_waited_for() -> None:
    world = World(lambda: world.services.remove("web:one"), web_one="RUNNING", web_two="RUNNING")
    world.services.stop_takes = 1.0

    assert world.restart("web") == ["stop web:one", "stop web:two", "start web:two"]


def test_a_process_that_cannot_be_started_fails_it_after_all_others_were_started() -> None:
    world = World(web_one="RUNNING", web_two="RUNNING", jobs_one="RUNNING")
    world.services.refused = ["web:one", "jobs:one"]

    assert world.fails("web", "jobs")[1] == "supervisor could not start web:one"
    assert world.services.calls == [
        *("stop web:one", "stop web:two", "stop jobs:one"),
        *("start web:one", "start web:two", "start jobs:one"),
    ]
    assert world.log.said == []


def test_a_service_that_is_only_started_and_cannot_be_does_not_keep_the_others_down() -> None:
    world = World(web_one="STOPPED", jobs_one="STOPPED")
    world.services.refused = ["web:one"]

    assert world.fails("web", "jobs", how=NONE)[1] == "supervisor could not start web:one"
    assert world.services.calls == ["start web:one", "start jobs:one"]


def test_of_processes_that_are_replaced_together_one_that_cannot_be_started_keeps_no_other_down() -> None:
    world = World(web_one="EXITED", web_two="EXITED")
    world.services.refused = ["web:one"]

    with pytest.raises(Unhealthy, match="could not start web:one"):
        world.restarter.replace(world.services.all)

    assert world.services.calls == ["start web:one", "start web:two"]


@pytest.mark.parametrize("state", ["BACKOFF", "STARTING"])
def test_a_process_that_supervisor_was_retrying_has_all_its_tries_again(state: str) -> None:
    world = World(web_one=state)
    world.services.start_ends = {"web:one": "FATAL"}
    world.services.start_takes = 0.5

    assert world.restart("web") == ["stop web:one", "start web:one", "start web:one"]
    assert world.services.moments[2] - world.services.moments[1] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize("state", ["BACKOFF", "STARTING"])
def test_a_process_that_is_replaced_alone_has_all_its_tries_again(state: str) -> None:
    world = World(web_one=state)
    world.services.start_ends = {"web:one": "FATAL"}

    world.restarter.replace(world.services.all)

    assert world.services.calls == ["stop web:one", "start web:one", "start web:one"]


def test_a_process_that_ran_is_started_once_and_not_waited_for() -> None:
    world = World(web_one="RUNNING")
    world.services.start_ends = {"web:one": "FATAL"}
    world.services.start_takes = 0.5

    assert world.restart("web") == ["stop web:one", "start web:one"]
    assert world.clock.spent == pytest.approx(0.1, abs=0.02)


def test_a_process_that_is_starting_for_ever_is_given_its_time_and_a_margin() -> None:
    world = World(web_one="BACKOFF")
    world.services.start_takes = NEVER

    assert world.restart("web") == ["stop web:one", "start web:one"]
    assert world.clock.spent == pytest.approx(0.1 + 1.0 + 10.0, abs=0.05)


def test_processes_that_are_starting_may_answer_and_are_replaced_one_after_the_other() -> None:
    world = World()
    states = [
        ("one", "STARTING", 7),
        ("two", "EXITED", 0),
        ("three", "RUNNING", 8),
        ("four", "BACKOFF", 0),
        ("five", "STARTING", 9),
    ]
    world.services.all = [Process("web", *each) for each in states]

    steps = [[process.name for process in step] for step in world.restarter.steps("web", {8})]

    assert steps == [["two", "four"], ["one"], ["five"]]


def test_services_that_supervisor_does_not_know_are_nothing_to_restart() -> None:
    assert World(web_one="RUNNING").restart("jobs") == []


def test_stopping_and_starting_alone() -> None:
    world = World(web_one="RUNNING", web_two="STOPPED")
    services = [Service("web", Restart(), probes=())]

    world.restarter.start(services)
    assert world.services.calls == ["start web:two"]
    world.restarter.stop(services)
    assert world.services.calls == ["start web:two", "stop web:one", "stop web:two"]
    assert world.clock.spent == pytest.approx(0.1, abs=0.02)


def test_a_process_that_is_listed_but_not_found_alone_is_not_waited_for_without_end() -> None:
    class Odd(FakeServices):
        def look(self, _process: Process) -> None:
            self.clock.sleep(1.0)

    world = World(web_one="RUNNING")
    world.services = Odd(world.clock, world.services.all, stop_takes=NEVER)
    world.restarter = Restarter(world.services, world.clock, world.log)

    spent, message = world.fails("web")

    assert spent < 60
    assert message == "could not stop web: web:one is STOPPING"
