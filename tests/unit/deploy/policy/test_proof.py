"""A release counts as healthy, or not, on a clock that moves only by sleeps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.config.sections import HealthSettings
from release_agent.deploy.policy.proof import Decision, Proof, prove
from release_agent.errors import Code, Exit, Unhealthy
from release_agent.health import Look, Process, ServiceLook
from support.clocks import FakeClock

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence


def web(*problems: str, state: str = "RUNNING", pids: Sequence[int] = (1,)) -> Look:
    return Look({"web": ServiceLook(tuple(Process("web", str(pid), state, pid) for pid in pids), problems)})


def well(*pids: int) -> Look:
    return web(pids=pids or (1,))


SICK = web("web: no connection")
LOST = web("web is FATAL", state="FATAL")


def proved(look: Callable[[float], Look], deadline: float = 10.0, stable_for: float = 3.0) -> float:
    """Prove a release whose look depends on the time; return how long that took."""
    clock = FakeClock()
    prove(lambda: look(clock.spent), HealthSettings(deadline, stable_for), clock)
    return clock.spent


def unproved(look: Callable[[float], Look], deadline: float = 10.0, stable_for: float = 3.0) -> tuple[float, str]:
    """Fail to prove a release; return how long that took, and the message."""
    clock = FakeClock()
    with pytest.raises(Unhealthy) as unhealthy:
        prove(lambda: look(clock.spent), HealthSettings(deadline, stable_for), clock)
    assert unhealthy.value.exit_code is Exit.ROLLED_BACK
    assert (unhealthy.value.code is Code.CRASH_LOOPING) == ("does not stay up" in unhealthy.value.message)
    assert unhealthy.value.services == ["web"]
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
    assert message == "does not stay up: web:1 is FATAL, started at least once in 0 s"


def test_what_becomes_hopeless_ends_it_then() -> None:
    spent, message = unproved(lambda spent: LOST if spent >= 2 else SICK)

    assert spent == pytest.approx(2.0, abs=0.21)
    assert message == "does not stay up: web:1 is FATAL, started at least once in 2 s"


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
    assert message == "not healthy within 10 s: never healthy for 3 s in a row"


def crashing(pid: int, state: str = "RUNNING") -> Look:
    return Look({"web": ServiceLook((Process("web", "web", state, pid),))})


def test_process_that_is_started_for_the_third_time_is_not_waited_for() -> None:
    spent, message = unproved(lambda spent: crashing(100 + int(spent)), deadline=60.0)

    assert spent == pytest.approx(2.0, abs=0.21)
    assert message == "does not stay up: web is RUNNING, started at least 3 times in 2 s"


def test_process_that_is_seen_between_its_starts_has_none_of_them_counted_twice() -> None:
    spent, _ = unproved(lambda spent: crashing(0 if spent % 1 < 0.5 else 100 + int(spent), "BACKOFF"), deadline=60.0)

    assert spent == pytest.approx(2.5, abs=0.21)


def exited(ended_at: int) -> Look:
    process = Process("web", "web", "EXITED", 0, "Bad exit code 1", ended_at=ended_at)
    return Look({"web": ServiceLook((process,), ("web is EXITED",))})


def test_process_that_supervisor_leaves_ended_is_not_waited_for() -> None:
    spent, message = unproved(lambda spent: SICK if spent < 2 else exited(1), deadline=60.0)

    assert spent == pytest.approx(5.0, abs=0.21)
    assert message == "does not stay up: web is EXITED (Bad exit code 1)"


def test_process_that_ends_and_is_started_again_is_not_taken_for_one_that_is_left_ended() -> None:
    spent, message = unproved(lambda spent: exited(int(spent)))

    assert spent == pytest.approx(10.0, abs=0.21)
    assert message == "not healthy within 10 s: web is EXITED"


def test_three_processes_of_a_service_that_are_started_once_do_not_crash() -> None:
    assert proved(lambda _: well(1, 2, 3, 4)) == pytest.approx(3.0, abs=0.21)


def test_process_that_supervisor_started_once_more_may_still_become_healthy() -> None:
    assert proved(lambda spent: crashing(100 if spent < 2 else 101)) == pytest.approx(5.0, abs=0.41)


def test_flapping_just_under_stable_for_is_not_healthy() -> None:
    unproved(lambda spent: SICK if spent % 2.8 < 0.2 else well())


SETTINGS = HealthSettings(deadline=10.0, stable_for=3.0)
AGAIN, HEALTHY, GIVEN_UP = Decision.LOOK_AGAIN, Decision.HEALTHY, Decision.GIVEN_UP


def since(moment: float | None, *pids: int) -> Proof:
    """Return a proof that began at 0, of which all has been healthy since a moment."""
    return Proof(0.0, moment, frozenset(pids or (1,)))


@pytest.mark.parametrize(
    ("proof", "look", "counted"),
    [
        pytest.param(Proof(0.0), well(1), since(7.0, 1), id="healthy-for-the-first-time"),
        pytest.param(since(5.0, 1), well(1), since(5.0, 1), id="still-healthy"),
        pytest.param(since(5.0, 1), well(2), since(7.0, 2), id="a-process-was-replaced"),
        pytest.param(since(5.0, 1), SICK, since(None, 1), id="no-longer-healthy"),
        pytest.param(Proof(0.0), SICK, Proof(0.0), id="not-healthy-yet"),
    ],
)
def test_what_a_look_adds_to_the_proof(proof: Proof, look: Look, counted: Proof) -> None:
    after = proof.after(look, 7.0)

    assert (after.began, after.since, after.pids) == (counted.began, counted.since, counted.pids)


@pytest.mark.parametrize(
    ("healthy_since", "look", "now", "decision"),
    [
        pytest.param(None, SICK, 1.0, AGAIN, id="sick-within-the-deadline"),
        pytest.param(None, SICK, 10.0, GIVEN_UP, id="sick-at-the-deadline"),
        pytest.param(None, LOST, 0.0, GIVEN_UP, id="given-up-by-supervisor"),
        pytest.param(1.0, well(), 3.9, AGAIN, id="not-stable-for-long-enough"),
        pytest.param(1.0, well(), 4.0, HEALTHY, id="stable-for-long-enough"),
        pytest.param(9.9, well(), 12.8, AGAIN, id="healthy-in-time-and-proved-after-the-deadline"),
        pytest.param(9.9, well(), 12.9, HEALTHY, id="proved-after-the-deadline"),
        pytest.param(10.1, well(), 10.1, GIVEN_UP, id="healthy-too-late"),
    ],
)
def test_what_follows_from_a_look(healthy_since: float | None, look: Look, now: float, decision: Decision) -> None:
    assert since(healthy_since).decide(look, SETTINGS, now) is decision
