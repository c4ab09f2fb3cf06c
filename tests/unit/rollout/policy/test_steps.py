"""The next step of a rollout. The tests draw a fleet: a letter per host, a bar between waves.

``.`` pending, ``s`` starting, ``d`` deploying, ``D`` done, ``F`` failed, ``U`` unreachable, ``K`` skipped, ``R`` reverted,
``X`` stuck.
"""

from __future__ import annotations

from typing import Any

import pytest

from release_agent.errors import Code
from release_agent.rollout.model import ASKED, Application, Host, HostStage, Phase, Rollout
from release_agent.rollout.options import Options, amount
from release_agent.rollout.policy.steps import (
    AskApproval,
    Bake,
    Deploy,
    EnterWave,
    Finish,
    FollowLeftover,
    PutBack,
    RunGate,
    Situation,
    StageFirst,
    Step,
    Stop,
    Verify,
    WaitWhilePaused,
    left_as,
    next_step,
)
from release_agent.rollout.policy.verdict import asked_at_the_end

_STAGES = {
    ".": HostStage.PENDING,
    "s": HostStage.STARTING,
    "d": HostStage.DEPLOYING,
    "D": HostStage.DONE,
    "F": HostStage.FAILED,
    "U": HostStage.UNREACHABLE,
    "K": HostStage.SKIPPED,
    "R": HostStage.REVERTED,
    "X": HostStage.STUCK,
}
_NOW = "2026-11-24T10:00:00.000000Z"


def rollout(drawn: str, *, wave: int = 0, approved: bool = False, reverting: str = "", **options: Any) -> Rollout:
    hosts: dict[str, Host] = {}
    for number, letters in enumerate(drawn.split("|")):
        for letter in letters:
            name = f"h{len(hosts)}"
            of = -1 if letter == "K" else number
            hosts[name] = Host(name, "", order=len(hosts), wave=of, stage=_STAGES[letter])
    amounts = {name: amount(value) if name.startswith("max_") else value for name, value in options.items()}
    return Rollout(
        "rollout-1",
        [Application("api", {})],
        "test",
        "v2",
        Options(**amounts),
        hosts,
        "ada",
        _NOW,
        wave=wave,
        approved=approved,
        reverting=reverting,
    )


def shown(step: Step) -> str:
    match step:
        case FollowLeftover(hosts) | Deploy(hosts):
            verb = "deploy" if isinstance(step, Deploy) else "follow"
            said = f"{verb} {' '.join(host.name for host in hosts)}"
        case EnterWave(wave):
            said = f"enter {wave}"
        case Bake(hosts, seconds):
            said = f"bake {' '.join(host.name for host in hosts)} for {seconds:g} s"
        case RunGate(command):
            said = f"gate {command}"
        case StageFirst(hosts) | Verify(hosts):
            verb = "stage" if isinstance(step, StageFirst) else "verify"
            said = " ".join([verb, *(host.name for host in hosts)])
        case WaitWhilePaused():
            said = "wait"
        case AskApproval():
            said = "ask"
        case PutBack(why):
            said = f"put back: {why}"
        case Finish(phase, code, why):
            said = f"{phase} {int(code)}" + (f": {why}" if why else "")
    return said


IN_WAVE = Situation(entered=True)
BAKED = Situation(entered=True, baked=True)
VERIFIED = Situation(entered=True, baked=True, verified=True)


@pytest.mark.parametrize(
    ("fleet", "situation", "expected"),
    [
        (rollout(".|..|.."), Situation(), "enter 0"),
        (rollout(".|..|.."), IN_WAVE, "deploy h0"),
        (rollout("D|..|.."), IN_WAVE, "bake h0 for 30 s"),
        (rollout("D|..|.."), BAKED, "enter 1"),
        (rollout("D|..|..", bake=0.0), IN_WAVE, "enter 1"),
        (rollout("D|..|..", wave=1), IN_WAVE, "deploy h1 h2"),
        (rollout("D|D.|..", wave=1), IN_WAVE, "deploy h2"),
        (rollout("D|DD|..", wave=1), IN_WAVE, "bake h0 h1 h2 for 30 s"),
        # The last one is watched, too, and then every host is asked
        (rollout("D|DD|DD", wave=2), IN_WAVE, "bake h0 h1 h2 h3 h4 for 30 s"),
        (rollout("D|DD|DD", wave=2, bake=0.0), IN_WAVE, "verify h0 h1 h2 h3 h4"),
        (rollout("D|DD|DD", wave=2), BAKED, "verify h0 h1 h2 h3 h4"),
        (rollout("D|DD|DD", wave=2), VERIFIED, "completed 0"),
        (rollout("K|K|KK"), Situation(), "verify h0 h1 h2 h3"),
        (rollout("K|K|KK"), Situation(verified=True), "completed 0"),
        (rollout("KD|D", wave=1), BAKED, "verify h0 h1 h2"),
    ],
)
def test_waves_follow_each_other_with_a_bake_between(fleet: Rollout, situation: Situation, expected: str) -> None:
    assert shown(next_step(fleet, situation)) == expected


def test_hosts_of_a_lower_rank_are_through_before_those_of_a_higher_one() -> None:
    fleet = rollout("....")
    for name, rank in (("h0", 1), ("h1", 0), ("h2", 0), ("h3", 2)):
        fleet.hosts[name].rank = rank

    order = []
    while (step := shown(next_step(fleet, IN_WAVE))).startswith("deploy"):
        order.append(step)
        for name in step.split()[1:]:
            fleet.hosts[name].stage = HostStage.DONE

    assert order == ["deploy h1 h2", "deploy h0", "deploy h3"]


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        # A budget is the most that may happen
        (rollout("D|F.|..", wave=1), "failed 40: 1 of 5 hosts failed, and --max-failed allows 0"),
        (rollout("D|F.|..", wave=1, max_failed="1"), "deploy h2"),
        (rollout("D|F.|..", wave=1, max_failed="20%"), "deploy h2"),
        (rollout("D|F.|..", wave=1, max_failed="19%"), "failed 40: 1 of 5 hosts failed, and --max-failed allows 0 (19% of 5)"),
        (rollout("D|U.|..", wave=1, max_failed="5"), "failed 40: 1 of 5 hosts unreachable, and --max-unreachable allows 0"),
        (
            rollout("D|UF|..", wave=1, max_failed="1", max_unreachable="1"),
            "failed 40: no host of wave 2 took the revision and stayed healthy",
        ),
        # A whole wave lost, whatever the budgets
        (rollout("F|..|..", max_failed="5"), "failed 40: no host of wave 1 took the revision and stayed healthy"),
        (rollout("U|..|..", max_unreachable="5"), "failed 40: no host of wave 1 took the revision and stayed healthy"),
        # Hosts of no wave count, too: preflight left them out
        (rollout("K|..|.."), "deploy h1 h2"),
    ],
)
def test_budgets_and_a_lost_wave_stop_it(fleet: Rollout, expected: str) -> None:
    fleet.wave = max(fleet.wave, 1 if fleet.hosts["h0"].stage is HostStage.SKIPPED else 0)

    assert shown(next_step(fleet, BAKED)) == expected


def test_application_of_which_no_host_stayed_well_stops_the_system_whatever_the_budget() -> None:
    fleet = rollout("F|DD", wave=1, max_failed="1")
    fleet.applications = [Application("db", {}), Application("api", {})]
    for host in fleet.hosts.values():
        host.app = "db" if host.wave == 0 else "api"

    assert shown(next_step(fleet, VERIFIED)) == "failed 40: no host of db took the revision and stayed healthy"
    fleet.hosts["another"] = Host("another", "", app="db", stage=HostStage.SKIPPED)
    assert shown(next_step(fleet, VERIFIED)) == "partial 42"


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        (rollout("D|FD", wave=1, max_failed="1"), "partial 42"),
        (rollout("D|UD", wave=1, max_unreachable="1"), "partial 42"),
        (rollout("D|DD", wave=1), "completed 0"),
    ],
)
def test_it_is_partial_when_hosts_within_the_budgets_did_not_take_it(fleet: Rollout, expected: str) -> None:
    end = next_step(fleet, VERIFIED)

    assert shown(end) == expected
    assert isinstance(end, Finish)
    assert end.is_success, "the fleet follows it"


@pytest.mark.parametrize(
    ("fleet", "situation", "expected"),
    [
        (rollout(".|.."), Situation(paused=True), "wait"),
        (rollout("D|..", bake=0.0), Situation(entered=True, paused=True), "wait"),
        (rollout("D|.."), Situation(entered=True, paused=True), "bake h0 for 30 s"),
        (rollout("D|..", approve=True), Situation(entered=True, baked=True, paused=True), "wait"),
        (rollout("D|.."), Situation(entered=True, baked=True, paused=True), "wait"),
        # What the pause was for is over
        (rollout("D|DD", wave=1), Situation(entered=True, baked=True, verified=True, paused=True), "wait"),
        (rollout("D|DD", wave=1), Situation(entered=True, baked=True, paused=True), "wait"),
        (rollout("K|K"), Situation(paused=True), "wait"),
        (rollout("D|DD", wave=1, gate="./gate"), Situation(entered=True, baked=True, paused=True), "wait"),
        (rollout("D|.."), Situation(Stop("ordered by ada", aborted=True), paused=True), "aborted 40: ordered by ada"),
    ],
)
def test_pause_keeps_the_next_wave_from_beginning(fleet: Rollout, situation: Situation, expected: str) -> None:
    assert shown(next_step(fleet, situation)) == expected


@pytest.mark.parametrize(
    ("fleet", "expected"),
    [
        (rollout("D|..|.", approve=True), "ask"),
        (rollout("D|..|.", approve=True, approved=True), "enter 1"),
        (rollout("D|DD|.", wave=1, approve=True), "enter 2"),
        (rollout("D", approve=True), "verify h0"),
    ],
)
def test_person_is_asked_once_after_the_first_wave(fleet: Rollout, expected: str) -> None:
    assert shown(next_step(fleet, BAKED)) == expected


ABORT, LATE = Stop("ordered by ada", aborted=True), Stop("no host became healthy within 900 s")


@pytest.mark.parametrize(
    ("fleet", "stop", "expected"),
    [
        (rollout("D|.."), LATE, "failed 40: no host became healthy within 900 s"),
        (rollout("D|..", revert=True), LATE, "put back: no host became healthy within 900 s"),
        (rollout("F|..", revert=True), LATE, "put back: no host became healthy within 900 s"),
        (rollout("U|..", revert=True), LATE, "put back: no host became healthy within 900 s"),
        # Nothing was changed: there is nothing to put back
        (rollout(".|..", revert=True), LATE, "failed 40: no host became healthy within 900 s"),
        # An abort leaves hosts as they are
        (rollout("D|..", revert=True), ABORT, "aborted 40: ordered by ada"),
        (rollout("D|DD", wave=1), ABORT, "aborted 40: ordered by ada"),
    ],
)
def test_stopped_rollout_ends_or_goes_back(fleet: Rollout, stop: Stop, expected: str) -> None:
    assert shown(next_step(fleet, Situation(stop, entered=True))) == expected


@pytest.mark.parametrize(
    ("fleet", "situation", "expected"),
    [
        (rollout("D|ds.|.", wave=1), Situation(), "follow h1 h2"),
        # Followed to the end, whatever comes then
        (rollout("D|ds.|.", wave=1), Situation(ABORT), "follow h1 h2"),
        (rollout("F|d.|.", wave=1), Situation(), "follow h1"),
        (rollout("D|DD.|.", wave=1), Situation(), "enter 1"),
        (rollout("D|DDF|.", wave=1), Situation(), "failed 40: 1 of 5 hosts failed, and --max-failed allows 0"),
        # The operator was killed between the last host and the end
        (rollout("D|DD", wave=1), BAKED, "verify h0 h1 h2"),
    ],
)
def test_resumed_rollout_follows_first_what_was_left_in_the_middle(fleet: Rollout, situation: Situation, expected: str) -> None:
    assert shown(next_step(fleet, situation)) == expected


@pytest.mark.parametrize(
    ("fleet", "situation", "expected"),
    [
        (rollout("DD|F", wave=1, reverting="it failed"), Situation(), "put back: it failed"),
        (rollout("RX|F", wave=1, reverting="it failed"), Situation(), "put back: it failed"),
        (rollout("Dd|.", reverting=ASKED), Situation(), "put back: asked for"),
        (rollout("DD|F", wave=1, reverting="it failed"), Situation(ABORT), "put back: it failed"),
        (rollout("RR|F", wave=1, reverting="it failed"), Situation(put_back=True), "reverted 41: it failed"),
        (rollout("RR|R", wave=1, reverting=ASKED), Situation(put_back=True), "reverted 0: asked for"),
        (
            rollout("RX|R", wave=1, reverting="it failed"),
            Situation(put_back=True),
            "failed 40: not all hosts could be rolled back (it failed)",
        ),
    ],
)
def test_way_back_is_gone_to_its_end(fleet: Rollout, situation: Situation, expected: str) -> None:
    assert shown(next_step(fleet, situation)) == expected


@pytest.mark.parametrize(
    ("stop", "reverting", "phase"),
    [
        (None, "", Phase.INTERRUPTED),
        (LATE, "", Phase.INTERRUPTED),
        (ABORT, "", Phase.ABORTED),
        (ABORT, "it failed", Phase.INTERRUPTED),
    ],
)
def test_rollout_is_left_interrupted_unless_an_abort_was_heard(stop: Stop | None, reverting: str, phase: Phase) -> None:
    assert left_as(rollout("D|.", reverting=reverting), stop) is phase


def _asked(drawn: str, *, approved: bool, **more: Any) -> Rollout:
    fleet = rollout(drawn, approved=approved, gate="./gate", **more)
    fleet.asked = fleet.wave
    return fleet


def test_hosts_stage_before_the_first_wave_and_one_that_cannot_leaves_nothing_to_put_back() -> None:
    assert shown(next_step(rollout("K.|..", wave=0, stage=True), Situation())) == "stage h1 h2 h3"
    done = rollout("..", stage=True)
    done.staged = True
    assert shown(next_step(done, Situation())) == "enter 0"
    cannot = Situation(Stop("h1 cannot stage v2"))
    assert shown(next_step(rollout(".F", stage=True, revert=True), cannot)) == "failed 40: h1 cannot stage v2"


PASSED = Situation(entered=True, baked=True, passed=True)


@pytest.mark.parametrize(
    ("fleet", "situation", "expected"),
    [
        (rollout("D|..", gate="./gate"), IN_WAVE, "bake h0 for 30 s"),
        (rollout("D|..", gate="./gate"), BAKED, "gate ./gate"),
        (rollout("D|..", gate="./gate"), PASSED, "enter 1"),
        (rollout("D|DD", wave=1, gate="./gate"), BAKED, "gate ./gate"),
        (rollout("D|DD", wave=1, gate="./gate"), PASSED, "verify h0 h1 h2"),
        # It asked for a person, who may answer before another operator resumes
        (_asked("D|..", approved=False), BAKED, "ask"),
        (_asked("D|..", approved=True), BAKED, "enter 1"),
        (_asked("D|DD", approved=False, wave=1), BAKED, "ask"),
        (_asked("D|DD", approved=True, wave=1), BAKED, "verify h0 h1 h2"),
        # An approval of the first wave is none of a later one
        (rollout("D|..", approve=True, gate="./gate"), PASSED, "ask"),
    ],
)
def test_gate_judges_each_wave_once_it_was_watched(fleet: Rollout, situation: Situation, expected: str) -> None:
    assert shown(next_step(fleet, situation)) == expected


def test_host_found_changed_at_the_end_stops_it_or_is_within_the_budgets() -> None:
    assert shown(next_step(rollout("D|DF", wave=1), VERIFIED)) == "failed 40: 1 of 3 hosts failed, and --max-failed allows 0"
    assert shown(next_step(rollout("D|DF", wave=1, max_failed="1"), VERIFIED)) == "partial 42"


def test_lost_hosts_that_were_asked_to_deploy_are_asked_at_the_end_too() -> None:
    fleet = rollout("DF|UF|UKF", wave=2)
    fleet.hosts["h1"].code = Code.HOST_LATE
    fleet.hosts["h4"].wave = -1  # preflight left it out
    fleet.hosts["h6"].code = Code.INTERRUPTED  # its deployment was killed

    assert [host.name for host in asked_at_the_end(fleet)] == ["h0", "h1", "h2", "h5", "h6"]


def test_every_rollout_ends() -> None:
    """Done step by step, also one in which hosts fail: no step repeats itself for ever."""
    for outcomes in ("DDDDD", "FDDDD", "DFDDD", "DDDDF", "UUUUU"):
        for revert in (False, True):
            fleet = rollout(".|..|..", revert=revert, max_failed="1")
            taken = _walked(fleet, outcomes)

            assert taken[-1].split()[0] in ("completed", "partial", "failed", "reverted"), taken


def _walked(fleet: Rollout, outcomes: str) -> list[str]:
    situation, taken = {"entered": False, "baked": False, "verified": False, "put_back": False}, []
    while len(taken) < 50:
        step = next_step(fleet, Situation(**situation))
        taken.append(shown(step))
        match step:
            case EnterWave(wave):
                fleet.wave, situation["entered"], situation["baked"] = wave, True, False
            case Deploy(hosts):
                for host in hosts:
                    host.stage = _STAGES[outcomes[host.order]]
            case Bake():
                situation["baked"] = True
            case Verify():
                situation["verified"] = True
            case PutBack(why):
                fleet.reverting, situation["put_back"] = why, True
                for host in fleet.at(HostStage.DONE):
                    host.stage = HostStage.REVERTED
            case Finish():
                return taken
    return taken
