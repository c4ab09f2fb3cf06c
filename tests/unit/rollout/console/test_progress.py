"""What is known of a rollout that runs, by a clock that tests move."""

from __future__ import annotations

from release_agent.rollout.console.progress import Progress
from release_agent.rollout.model import HostStage, Phase
from support.clocks import FakeClock
from support.rollouts import a_wave


def test_a_bake_is_counted_down_and_its_end_is_the_end_of_its_line() -> None:
    clock = FakeClock()
    seen = Progress(a_wave(3), clock.now)
    seen.hear("bake.started", None, {"seconds": 30.0, "hosts": 1})

    clock.advance(12)

    assert seen.notes() == ["watching 1 host for 18 s more"]
    clock.advance(18)
    assert seen.notes() == []


def test_the_progress_deadline_begins_anew_with_the_end_of_a_bake() -> None:
    clock, rollout = FakeClock(), a_wave(3, progress_deadline=100.0)
    seen, host = Progress(rollout, clock.now), rollout.hosts["h1"]
    seen.hear("bake.started", None, {"seconds": 500.0, "hosts": 1})
    clock.advance(510)
    host.stage = HostStage.STARTING
    seen.hear("host.started", host, {})

    assert seen.notes() == []
    clock.advance(70)
    assert seen.notes() == ["no host became healthy for 80 s; it stops in 20 s"]


def test_the_progress_deadline_is_counted_down_where_it_runs_short() -> None:
    clock, rollout = FakeClock(), a_wave(3, progress_deadline=100.0)
    seen, (host, other, _) = Progress(rollout, clock.now), rollout.hosts.values()
    host.stage = other.stage = HostStage.STARTING
    seen.hear("host.started", host, {})
    seen.hear("host.started", other, {})

    clock.advance(74)
    assert seen.notes() == []
    clock.advance(6)
    assert seen.notes() == ["no host became healthy for 80 s; it stops in 20 s"]
    other.stage = HostStage.DONE
    seen.hear("host.finished", other, {})
    assert seen.notes() == []


def test_what_a_rollout_waits_for_is_said() -> None:
    rollout = a_wave(3)
    seen = Progress(rollout, FakeClock().now)

    rollout.phase, rollout.why = Phase.PAUSED, "by ann@desk"
    seen.hear("order.heard", None, {"verb": "pause", "who": "ann@desk"})
    seen.hear("record.away", None, {"why": "Consul\ndoes not answer"})

    assert seen.notes() == [
        "what keeps the record is away, no further host is begun: Consul; does not answer",
        "paused by ann@desk; what is in flight goes on; release-agent rollout resume rollout-1",
        "last heard: pause, ordered by ann@desk",
    ]
    seen.hear("record.back", None, {"why": ""})
    rollout.phase = Phase.WAITING
    assert seen.notes()[0] == "waiting for approval"


def test_a_host_has_its_seconds_from_its_start_and_a_revert_its_own() -> None:
    clock, rollout = FakeClock(), a_wave(1, deadline=60.0)
    seen, host = Progress(rollout, clock.now), rollout.hosts["h0"]
    rows = []
    for stage in (HostStage.STARTING, HostStage.DEPLOYING, HostStage.REVERTING):
        host.stage = stage
        seen.hear("host", host, {})
        clock.advance(5)
        rows.append(seen.rows(9)[0][0][1])

    assert rows == ["5 s, 55 s left", "10 s, 50 s left", "5 s, 55 s left"]


def test_a_rollout_that_is_resumed_begins_with_what_it_knows() -> None:
    rollout = a_wave(4)
    rollout.wave = 0
    for host, stage in zip(
        rollout.hosts.values(), (HostStage.DONE, HostStage.FAILED, HostStage.DEPLOYING, HostStage.PENDING), strict=True
    ):
        host.stage = stage

    seen = Progress(rollout, FakeClock().now)

    assert seen.summary() == "wave 1 of 1  0:00  1 pending, 1 deploying, 1 done, 1 failed"
    assert [row.name for row, _ in seen.rows(9)[0]] == ["h1", "h2"]
    assert seen.settled == 2


def test_what_goes_back_is_no_wave() -> None:
    rollout = a_wave(1)
    rollout.phase = Phase.REVERTING
    rollout.hosts["h0"].stage = HostStage.STUCK

    assert Progress(rollout, FakeClock().now).summary() == "putting back what was changed  0:00  1 stuck"


def test_what_goes_on_between_the_waves_is_said_until_it_is_over() -> None:
    seen = Progress(a_wave(3), FakeClock().now)

    seen.hear("staging.started", None, {"hosts": 3})
    assert seen.notes() == ["hosts stage the revision, and none publishes it yet (3)"]
    seen.hear("wave.started", None, {"wave": 1})
    assert seen.notes() == []
    seen.hear("gate.started", None, {"wave": 1})
    assert seen.notes() == ["the gate judges wave 1"]
    seen.hear("gate.finished", None, {"wave": 1, "exit": 0})
    seen.hear("verification.started", None, {"hosts": 3})
    assert seen.notes() == ["the last look: hosts are asked what is live (3)"]
    seen.hear("rollout.completed", None, {"why": ""})
    assert seen.notes() == []
