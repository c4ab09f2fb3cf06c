"""A release counts as healthy, or not, on a clock that moves only by sleeps."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release_agent.config.blueprint import combine
from release_agent.health import Look, Process, ServiceLook
from release_agent.services.health import HealthExaminer
from support.configuration import configuration

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.config.sections import Probe


class Supervisor:
    """Supervisor's states as a test says they are."""

    def __init__(self, *processes: Process) -> None:
        self.all = processes

    def processes(self) -> dict[str, list[Process]]:
        groups: dict[str, list[Process]] = {}
        for process in self.all:
            groups.setdefault(process.service, []).append(process)
        return groups


class Probes:
    """Probes that answer what a test says."""

    def __init__(self, *answers: str | None) -> None:
        self.answers = list(answers)
        self.asked: list[str] = []

    def run(self, probes: Sequence[Probe], _directory: Path, _environment: Mapping[str, str]) -> list[str | None]:
        self.asked += [probe.tcp for probe in probes]
        return self.answers or [None for _ in probes]


BLUEPRINT = combine(
    configuration(
        '[[service]]\nname = "web"\n[[service.probe]]\ntcp = "h:1"\n[[service.probe]]\ntcp = "h:2"\n'
        '[[service]]\nname = "jobs"\n[[service.probe]]\ntcp = "h:3"\n'
    ),
    {},
)
RUNNING = (
    Process("web", "web", "RUNNING", 7),
    Process("jobs", "one", "RUNNING", 8),
    Process("jobs", "two", "RUNNING", 9),
)


def look(supervisor: Supervisor, probes: Probes) -> Look:
    return HealthExaminer(supervisor, probes).look(BLUEPRINT, Path("/"), {})


def test_all_running_and_all_probes_well_is_well() -> None:
    probes = Probes(None, None, None)

    seen = look(Supervisor(*RUNNING, Process("other", "other", "FATAL", 0)), probes)

    assert (seen.well, seen.hopeless, seen.pids) == (True, False, {7, 8, 9})
    assert probes.asked == ["h:1", "h:2", "h:3"]


def test_every_probe_that_is_not_well_is_told() -> None:
    seen = look(Supervisor(*RUNNING), Probes("tcp h:1: no connection", None, "tcp h:3: no answer"))

    assert seen.problems == ("tcp h:1: no connection", "tcp h:3: no answer")
    assert not seen.hopeless


def test_a_process_that_supervisorctl_update_left_stopped_is_told_with_the_command_that_starts_it() -> None:
    left = Process("web", "web", "STOPPED", 0, started=False)

    assert look(Supervisor(left, *RUNNING[1:]), Probes(None)).problems == (
        (
            "web is STOPPED (nothing has started it since supervisor read its section, as after `supervisorctl update`; "
            "start it: supervisorctl start web)"
        ),
    )


@pytest.mark.parametrize("state", ["STARTING", "BACKOFF", "STOPPED", "EXITED", "STOPPING"])
def test_probes_are_not_asked_of_what_does_not_run(state: str) -> None:
    probes = Probes()

    seen = look(Supervisor(*RUNNING[:2], Process("jobs", "two", state, 0)), probes)

    assert (seen.problems, seen.hopeless) == ((f"jobs:two is {state}",), False)
    assert probes.asked == ["h:1", "h:2"]


def test_each_service_has_its_own_health() -> None:
    stopped = Process("jobs", "two", "STOPPED", 0, "Not started")

    seen = look(Supervisor(*RUNNING[:2], stopped), Probes(None, "tcp h:2: no connection"))

    assert seen.services == {
        "web": ServiceLook((RUNNING[0],), ("tcp h:2: no connection",), failing=True, about=(RUNNING[0],)),
        "jobs": ServiceLook((RUNNING[1], stopped), ("jobs:two is STOPPED (Not started)",), about=(stopped,)),
    }


def test_a_probe_of_each_process_tells_which_of_them_are_sick_and_any_other_one_is_about_all() -> None:
    blueprint = combine(
        configuration(
            '[[service]]\nname = "jobs"\n[[service.probe]]\ntcp = "{process_name}:1"\n[[service.probe]]\ntcp = "h:2"\n'
        ),
        {},
    )
    one, two = RUNNING[1:]

    def sick(*answers: str | None) -> set[Process]:
        seen = HealthExaminer(Supervisor(one, two), Probes(*answers)).look(blueprint, Path("/"), {})
        return set(seen.services["jobs"].sick)

    assert sick(None, None, None) == set()
    assert sick(None, "no connection", None) == {two}
    assert sick(None, "no connection", "no answer") == {one, two}
    assert sick(None, None, "no answer") == {one, two}


def test_a_service_is_well_whatever_the_others_are() -> None:
    seen = look(Supervisor(*RUNNING[1:]), Probes())

    assert {name: service.well for name, service in seen.services.items()} == {"web": False, "jobs": True}


@pytest.mark.parametrize("state", ["FATAL", "UNKNOWN"])
def test_what_supervisor_gave_up_is_hopeless_and_told_with_its_reason(state: str) -> None:
    supervisor = Supervisor(Process("web", "web", state, 0, "can't find command"), *RUNNING[1:])

    seen = look(supervisor, Probes())

    assert seen.hopeless
    assert seen.problems == (f"web is {state} (can't find command)",)


def test_a_service_that_supervisor_does_not_know_is_not_well() -> None:
    seen = look(Supervisor(*RUNNING[1:]), Probes())

    assert seen.problems == ("web: supervisor does not know it",)


def test_processes_that_do_not_count_are_neither_looked_at_nor_asked() -> None:
    each = combine(configuration('[[service]]\nname = "jobs"\n[[service.probe]]\ntcp = "{process_name}:1"\n'), {})
    probes, dead = Probes(), Process("jobs", "two", "FATAL", 0)

    seen = HealthExaminer(Supervisor(RUNNING[1], dead), probes).look(each, Path("/"), {}, without={"jobs:two"})

    assert (seen.well, seen.pids) == (True, {8})
    assert probes.asked == ["one:1"]
