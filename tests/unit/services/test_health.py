"""When a release counts as healthy, on a clock that only moves when somebody sleeps."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release_agent.config.blueprint import combine
from release_agent.config.sections import Health
from release_agent.deploy.proof import prove
from release_agent.errors import Code, Exit, Unhealthy
from release_agent.health import Look, Process, ServiceLook
from release_agent.services.health import HealthExaminer
from support.configuration import configuration

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from contextlib import AbstractContextManager

    from release_agent.config.sections import Probe


class FakeClock:
    """Time moves by sleeping alone."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.began = self.time

    @property
    def spent(self) -> float:
        return self.time - self.began

    def now(self) -> float:
        return self.time

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.time += seconds

    def check(self) -> None:
        """Nobody signals."""

    def shielded(self) -> AbstractContextManager[None]:
        return nullcontext()


def web(*problems: str, state: str = "RUNNING", pids: Sequence[int] = (1,)) -> Look:
    return Look({"web": ServiceLook(tuple(Process("web", str(pid), state, pid) for pid in pids), problems)})


def well(*pids: int) -> Look:
    return web(pids=pids or (1,))


SICK = web("web: no connection")
LOST = web("web is FATAL", state="FATAL")


def proved(look: Callable[[float], Look], deadline: float = 10.0, stable_for: float = 3.0) -> float:
    """Prove a release whose look depends on the time; return how long that took."""
    clock = FakeClock()
    prove(lambda: look(clock.spent), Health(deadline, stable_for), clock)
    return clock.spent


def unproved(look: Callable[[float], Look], deadline: float = 10.0, stable_for: float = 3.0) -> tuple[float, str]:
    """Fail to prove a release; return how long that took, and the message."""
    clock = FakeClock()
    with pytest.raises(Unhealthy) as unhealthy:
        prove(lambda: look(clock.spent), Health(deadline, stable_for), clock)
    assert (unhealthy.value.code, unhealthy.value.exit_code) == (Code.UNHEALTHY, Exit.ROLLED_BACK)
    return clock.spent, unhealthy.value.message


def test_well_from_the_start_is_proved_after_stable_for() -> None:
    assert proved(lambda _: well()) == pytest.approx(3.0, abs=0.21)


def test_one_look_is_enough_where_nothing_has_to_be_stable() -> None:
    assert proved(lambda _: well(), stable_for=0.0) == 0.0


def test_the_count_begins_when_all_is_well() -> None:
    assert proved(lambda spent: well() if spent >= 5 else SICK) == pytest.approx(8.0, abs=0.41)


def test_one_failure_starts_the_count_again() -> None:
    assert proved(lambda spent: SICK if 2.5 <= spent < 2.7 else well()) == pytest.approx(5.7, abs=0.41)


def test_a_process_that_was_replaced_starts_the_count_again() -> None:
    assert proved(lambda spent: well(1, 2) if spent < 2.5 else well(1, 3)) == pytest.approx(5.5, abs=0.41)


def test_a_process_more_starts_the_count_again() -> None:
    assert proved(lambda spent: well(1) if spent < 2.5 else well(1, 2)) == pytest.approx(5.5, abs=0.41)


def test_what_is_hopeless_is_not_waited_for() -> None:
    spent, message = unproved(lambda _: LOST)

    assert spent == 0.0
    assert message == "not healthy after 0 s: web is FATAL"


def test_what_becomes_hopeless_ends_it_then() -> None:
    spent, message = unproved(lambda spent: LOST if spent >= 2 else SICK)

    assert spent == pytest.approx(2.0, abs=0.21)
    assert message == "not healthy after 2 s: web is FATAL"


def test_never_well_ends_at_the_deadline_with_what_was_wrong() -> None:
    spent, message = unproved(lambda _: SICK)

    assert spent == pytest.approx(10.0, abs=0.21)
    assert message == "not healthy within 10 s: web: no connection"


def test_everything_that_is_wrong_at_the_end_is_told() -> None:
    _, message = unproved(lambda _: web("web is STARTING", "tcp h:1: no connection"))

    assert message == "not healthy within 10 s: web is STARTING; tcp h:1: no connection"


def test_well_just_before_the_deadline_may_prove_itself_after_it() -> None:
    assert proved(lambda spent: well() if spent >= 9.5 else SICK) == pytest.approx(12.7, abs=0.41)


def test_well_after_the_deadline_is_too_late() -> None:
    spent, _ = unproved(lambda spent: well() if spent >= 10.3 else SICK)

    assert spent == pytest.approx(10.0, abs=0.21)


def test_a_failure_after_the_deadline_ends_it() -> None:
    spent, message = unproved(lambda spent: well() if 9.5 <= spent < 11 else SICK)

    assert spent == pytest.approx(11.0, abs=0.21)
    assert "web: no connection" in message


def test_a_process_replaced_after_the_deadline_ends_it() -> None:
    spent, message = unproved(lambda spent: SICK if spent < 9.5 else well(1) if spent < 11 else well(2))

    assert spent == pytest.approx(11.0, abs=0.21)
    assert message == "not healthy within 10 s: never well for 3 s on end"


def test_processes_that_are_replaced_all_the_time_are_never_well_long_enough() -> None:
    spent, message = unproved(lambda spent: well(int(spent)))

    assert spent == pytest.approx(10.0, abs=1.21)
    assert "never well for 3 s on end" in message


def test_flapping_just_under_stable_for_is_not_healthy() -> None:
    unproved(lambda spent: SICK if spent % 2.8 < 0.2 else well())


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
        "web": ServiceLook((RUNNING[0],), ("tcp h:2: no connection",), failing=True),
        "jobs": ServiceLook((RUNNING[1], stopped), ("jobs:two is STOPPED (Not started)",)),
    }


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
