"""The order in which services are replaced and proved, on a clock that moves only by sleeps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.config.blueprint import HOOK_STAGES, Blueprint
from release_agent.config.sections import HealthSettings, Hooks, Restart, RestartKind, Service, Shared
from release_agent.consul.reporter import NoReporter
from release_agent.deploy.run import Run
from release_agent.deploy.switch.leaving import Side
from release_agent.deploy.switch.replacement import Replacement
from release_agent.deploy.switch.traffic import Traffic
from release_agent.errors import Code, Failed, Unhealthy
from release_agent.health import Look, Process, ServiceLook
from release_agent.model import Request
from release_agent.system.command import CommandResult
from support.clocks import FakeClock
from support.contexts import context
from support.fake_services import FakeServices, NoSockets
from support.roots import release

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from release_agent.model import Release
    from release_agent.system.command import HookCommand

NONE = Restart(RestartKind.NONE)


class Commands:
    """Runs no command, but tells of each; ``false`` fails."""

    def __init__(self, told: list[str]) -> None:
        self._told = told

    def run_hook(self, hook: HookCommand, stage: str, directory: Path, environment: Mapping[str, str]) -> CommandResult:
        self._told.append(f"{stage} {hook.run} {environment['RELEASE_PROCESS']} in {directory}")
        return CommandResult(int(hook.run == "false"), timed_out=False, output="")


class Dns(NoReporter):
    """Consul's DNS; ``left_out``: how often it was told to leave the host out."""

    def __init__(self) -> None:
        self.left_out = 0

    def draining(self, release: Release) -> None:
        assert release
        self.left_out += 1


class Nowhere:
    """A store of directories that are not there, and a journal of hooks that nobody keeps."""

    def directory(self, name: str) -> Path:
        return Path(name.partition("-")[0])

    def take_back(self) -> None:
        """Nobody took anything."""

    def hook(self, *_: object) -> None:
        """Forget it."""


class World:
    """Services of one process each, which all run; ``sick`` never become healthy. ``old``: those of the release that is left.

    ``sick``: names of services and full names of processes. ``cure``: the call after which nothing is sick.
    """

    def __init__(
        self,
        *services: Service,
        old: Sequence[Service] | None = None,
        sick: Sequence[str] = (),
        cure: str = "",
        forgiving: bool = False,
    ) -> None:
        self.clock = FakeClock()
        self.services = FakeServices(self.clock, [Process(one.name, "it", "RUNNING", 7) for one in services])
        self.dns = Dns()
        self._sick = sick
        self._cure = cure
        parts = {
            "plugin": NoSockets(),
            "reporter": self.dns,
            "store": Nowhere(),
            "journal": Nowhere(),
            "hooks": Commands(self.services.calls),
        }
        run = Run(context(clock=self.clock, services=self.services, **parts), Request("d-1"), journaled=False)
        self.record = run.record
        left = None if old is None else Side(release(1), plans_of(old))
        self.traffic = Traffic(run, left, Side(release(2), plans_of(services)), forgiving=forgiving)
        self.replacement = Replacement(run, plans_of(services), self._look, self.traffic)

    def _look(self, plans: Blueprint, without: Collection[str] = ()) -> Look:
        names = [service.name for service in plans.services]
        self._say(f"look {' '.join(names)}" + "".join(f" without {name}" for name in sorted(without)))
        processes = self.services.processes()
        return Look({name: self._seen(name, [one for one in processes[name] if one.full_name not in without]) for name in names})

    def _seen(self, name: str, processes: list[Process]) -> ServiceLook:
        sick = () if self._cure in self.services.calls else self._sick
        about = tuple(one for one in processes if not one.running or one.full_name in sick)
        return ServiceLook(tuple(processes), (f"{name} is sick",) if about or name in sick else (), about=about)

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


def service(name: str, restart: Restart | None = None, **settings: Any) -> Service:
    return Service(name, restart or Restart(), probes=(), **settings)


def plans_of(services: Sequence[Service]) -> Blueprint:
    health = HealthSettings(deadline=10.0, stable_for=3.0)
    return Blueprint(Shared((), ()), Hooks(**dict.fromkeys(HOOK_STAGES, ())), tuple(services), health)


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


def test_a_rolling_service_comes_back_though_the_one_beside_it_is_sick() -> None:
    beside = service("web", Restart(RestartKind.ROLLING), after=(), after_start="join")
    world = World(service("db"), beside, sick=["db"])

    done, message = world.fails(to_the_end=True)

    assert done[-3:] == ["start web:it", "look web", "after_start join it in 000002"]
    assert message == "not healthy within 10 s: db is sick"


def test_the_service_beside_one_that_cannot_be_started_comes_back_and_is_let_in() -> None:
    world = World(service("db", after=(), after_start="join db"), service("web", after=(), after_start="join web"))
    world.services.refused = ["db:it"]

    done, message = world.fails(to_the_end=True)

    assert [call for call in done if call.startswith("after_start")] == ["after_start join web it in 000002"]
    assert message == "supervisor could not start db:it"


def test_beside_a_service_that_crashes_only_what_is_well_is_let_in() -> None:
    crashing, sick, healthy = (service(name, after=(), after_start=f"join {name}") for name in ("db", "web", "jobs"))
    world = World(crashing, sick, healthy, sick=["web"])
    world.services.start_ends = {"db:it": "FATAL"}

    done, message = world.fails(to_the_end=True)

    assert [call for call in done if call.startswith("after_start")] == ["after_start join jobs it in 000002"]
    assert message.startswith("does not stay up: db:it is FATAL")


def test_a_service_that_is_to_be_left_alone_is_looked_at_and_not_restarted() -> None:
    world = World(service("db"), service("web"))

    assert world.replace(untouched={"db"}) == ["look db", "stop web:it", "start web:it", "look web", "look db web"]
    assert world.replacement.touched == {"web"}


def test_a_service_that_is_only_started_does_not_count_as_touched() -> None:
    world = World(service("db", NONE))

    assert world.replace() == ["look db"]
    assert world.replacement.touched == set()


def test_on_the_way_back_processes_of_a_service_that_is_only_started_leave_the_failed_release() -> None:
    world = World(service("db", NONE), service("web", after=()))
    world.services.all = [*(Process("db", name, "RUNNING", pid) for name, pid in (("one", 7), ("two", 8))), world.services.all[1]]

    done = world.replace(ran={"db": frozenset({7})}, to_the_end=True)

    assert [call for call in done if "db:" in call] == ["stop db:two", "start db:two"]


def test_on_the_way_back_processes_that_ran_before_keep_running_if_their_service_is_only_started() -> None:
    assert World(service("db", NONE)).replace(ran={"db": frozenset({7})}, to_the_end=True) == ["look db"]


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


def test_processes_leave_the_traffic_as_the_old_release_says_and_come_back_as_the_new_one_says() -> None:
    new = service("web", before_stop="new", after_start="join", drain=60.0, cwd="api")
    world = World(new, old=[service("web", before_stop="leave", after_start="old", drain=5.0)])

    assert world.replace() == [
        *("before_stop leave it in 000001", "stop web:it", "start web:it", "look web"),
        *("after_start join it in 000002/api", "look web"),
    ]
    assert world.services.moments == [5.0, pytest.approx(5.1, abs=0.02)]
    assert list(world.record.phases) == ["hooks", "restart", "health"]


def test_services_side_by_side_drain_together_for_as_long_as_the_slowest_takes() -> None:
    both = [service("web", after=(), drain=3.0), service("worker", after=(), drain=7.0)]

    world = World(*both, old=both)
    world.replace()

    assert world.services.moments[:2] == [7.0, 7.0]


@pytest.mark.parametrize("old", [None, [service("other", before_stop="leave", drain=5.0)]])
def test_without_an_old_release_of_the_service_nothing_leaves_the_traffic(old: list[Service] | None) -> None:
    world = World(service("web", before_stop="leave", drain=5.0), old=old)

    assert world.replace() == ["stop web:it", "start web:it", "look web"]


def test_what_does_not_run_or_is_not_restarted_does_not_leave_the_traffic() -> None:
    settings = {"before_stop": "leave", "after_start": "join", "drain": 5.0}
    services = [service("web", NONE, **settings), service("worker", **settings)]
    world = World(*services, old=services)
    world.services.all[1] = replace(world.services.all[1], state="EXITED")

    assert world.replace() == ["look web", "start worker:it", "look worker", "after_start join it in 000002", "look web worker"]


def test_service_that_is_to_be_left_alone_does_not_leave_the_traffic() -> None:
    web = service("web", before_stop="leave", after_start="join", drain=5.0)

    assert World(web, old=[web]).replace(untouched={"web"}) == ["look web"]


def test_before_stop_that_fails_ends_it_with_nothing_stopped_and_the_process_may_be_out_of_the_traffic() -> None:
    web = service("web", before_stop="false")
    world = World(web, old=[web])

    with pytest.raises(Failed, match="web:it: the before_stop hook `false` exited with 1") as failed:
        world.replace()

    assert failed.value.code is Code.HOOK_FAILED
    assert world.services.calls == ["before_stop false it in 000001"]
    assert (world.replacement.touched, world.traffic.out) == (set(), {7})


def test_a_process_that_only_drains_is_not_out_of_the_traffic() -> None:
    web = service("web", drain=5.0)
    world = World(web, old=[web])

    world.replace()

    assert world.traffic.out == set()


def test_what_was_taken_out_and_goes_on_is_let_in_again_if_a_command_does_that() -> None:
    world = World(service("web", after_start="join"), service("worker"))
    world.services.all = [
        Process("web", "one", "RUNNING", 7),
        Process("web", "two", "RUNNING", 8),
        Process("worker", "it", "RUNNING", 9),
    ]

    assert world.traffic.let_in_again({7, 9, 10}) == {9, 10}
    assert world.services.calls == ["after_start join one in 000002"]


def test_after_start_that_fails_ends_it_before_the_next_service_is_touched() -> None:
    world = World(service("web", after_start="false"), service("worker"))

    with pytest.raises(Failed, match="web:it: the after_start hook `false` exited with 1"):
        world.replace()

    assert world.replacement.touched == {"web"}


def test_commands_that_fail_do_not_keep_a_release_from_coming_back() -> None:
    web = service("web", before_stop="false", after_start="false")
    world = World(web, old=[web], forgiving=True)

    assert world.replace() == [
        *("before_stop false it in 000001", "stop web:it", "start web:it", "look web"),
        *("after_start false it in 000002", "look web"),
    ]


def test_each_process_of_a_rolling_service_leaves_and_comes_back_before_the_next_one() -> None:
    world = rolling("one", "two")

    assert world.replace() == [
        *("before_stop leave one in 000001", "stop web:one", "start web:one", "look web without web:two"),
        *("after_start join one in 000002", "before_stop leave two in 000001", "stop web:two", "start web:two", "look web"),
        *("after_start join two in 000002", "look web"),
    ]


def rolling(*names: str, drain: float = 0.0, **settings: Any) -> World:
    """Return a world with a rolling service of some processes, with the pids 7, 8 …"""
    web = service("web", Restart(RestartKind.ROLLING), before_stop="leave", after_start="join", drain=drain)
    world = World(web, old=[web], **settings)
    world.services.all = [Process("web", name, "RUNNING", pid) for pid, name in enumerate(names, start=7)]
    return world


def test_processes_of_a_sick_release_do_not_keep_a_rolling_service_from_leaving_it() -> None:
    world = rolling("one", "two", "three", sick=["web:three"], cure="start web:three")

    assert [call for call in world.replace() if call.startswith("look")] == [
        "look web without web:three without web:two",
        "look web without web:three",
        "look web",
        "look web",
    ]


def test_processes_that_ran_the_release_already_count_from_the_first_step_on() -> None:
    world = rolling("one", "two", "three", sick=["web:two"])

    done, _ = world.fails(ran={"web": frozenset({8})})

    assert done == ["before_stop leave one in 000001", "stop web:one", "start web:one", "look web without web:three"]


def test_first_process_that_does_not_come_up_ends_a_rolling_replacement() -> None:
    world = rolling("one", "two", sick=["web:one"])

    done, _ = world.fails()

    assert [call for call in done if "two" in call] == ["look web without web:two"]


def test_a_release_that_comes_back_gets_all_processes_whatever_one_of_them_does_and_lets_them_in_once_all_are_proved() -> None:
    world = rolling("one", "two", "three", sick=["web:one"], cure="start web:three")

    assert world.replace(to_the_end=True) == [
        *("before_stop leave one in 000001", "stop web:one", "start web:one", "look web without web:three without web:two"),
        *("before_stop leave two in 000001", "stop web:two", "start web:two"),
        *("before_stop leave three in 000001", "stop web:three", "start web:three", "look web"),
        *("after_start join one in 000002", "after_start join two in 000002", "after_start join three in 000002", "look web"),
    ]


def test_a_release_that_comes_back_and_is_sick_has_all_processes_and_lets_none_in() -> None:
    world = rolling("one", "two", sick=["web"])

    done, message = world.fails(to_the_end=True)

    assert [call for call in done if call.startswith("start")] == ["start web:one", "start web:two"]
    assert [call for call in done if call.startswith("after_start")] == []
    assert message == "not healthy within 10 s: web is sick"
    assert world.clock.spent == pytest.approx(2 * 10.1, abs=0.8), "the first step has the deadline, and all of them together"


def test_of_a_release_that_comes_back_the_processes_that_are_well_are_let_in() -> None:
    world = rolling("one", "two", "three", sick=["web:one"])

    done, message = world.fails(to_the_end=True)

    assert done[-2:] == ["after_start join two in 000002", "after_start join three in 000002"]
    assert message == "not healthy within 10 s: web is sick"


def test_a_process_that_cannot_be_started_does_not_keep_the_others_from_coming_back() -> None:
    world = rolling("one", "two")
    world.services.refused = ["web:one"]

    done, message = world.fails(to_the_end=True)

    assert "start web:two" in done
    assert [call for call in done if call.startswith("after_start")] == ["after_start join two in 000002"]
    assert message == "supervisor could not start web:one"


def test_services_that_are_stopped_for_good_leave_the_traffic_too() -> None:
    web = service("web", NONE, before_stop="leave", drain=5.0)
    world = World(web, old=[web])

    world.replacement.stop([web])

    assert world.services.calls == ["before_stop leave it in 000001", "stop web:it"]
    assert world.dns.left_out == 1


def test_the_host_is_left_out_once_while_all_processes_of_a_service_drain_and_never_while_one_of_several_does() -> None:
    web = service("web", drain=5.0)
    world = World(web, old=[web])
    world.replace()
    of_two = rolling("one", "two", drain=5.0)
    of_two.replace()

    assert (world.dns.left_out, of_two.dns.left_out) == (1, 0)


def test_without_services_the_proof_is_all_there_is() -> None:
    world = World()

    assert world.replace() == ["look "]
    assert world.clock.spent == pytest.approx(3.0, abs=0.21)


def test_a_service_for_which_a_release_is_left_does_not_drain_and_the_one_beside_it_does() -> None:
    left = Side(release(1), plans_of([service("web", drain=7.0), service("worker", drain=3.0)]))

    assert [one.drain for one in left.undrained(["web"]).blueprint.services] == [0.0, 3.0]
