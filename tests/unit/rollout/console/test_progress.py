"""The known state of a running rollout, by a clock that tests move."""

from __future__ import annotations

import pytest

from release_agent.rollout.console import text
from release_agent.rollout.console.progress import Progress, wave_map
from release_agent.rollout.model import HostStage, Phase
from support.clocks import FakeClock
from support.rollouts import a_system, a_wave


def begin(seen: Progress, step: str) -> None:
    """Begin a step."""
    seen.rollout.begin(step)
    seen.hear(f"{step}.started", None, {})


def test_a_bake_is_counted_down_and_its_end_is_the_end_of_its_line() -> None:
    clock, rollout = FakeClock(), a_wave(3)
    rollout.hosts["h0"].stage = HostStage.DONE
    seen = Progress(rollout, clock.now)
    begin(seen, "bake")

    clock.advance(12)

    assert seen.notes() == ["watching the health of 1 host for 18 s more; then the last look"]
    clock.advance(18)
    assert seen.notes() == []


def test_the_progress_deadline_begins_anew_once_a_lost_record_is_back() -> None:
    clock, rollout = FakeClock(), a_wave(3, progress_deadline=100.0)
    seen, host = Progress(rollout, clock.now), rollout.hosts["h1"]
    host.stage = HostStage.STARTING
    seen.hear("host.started", host, {})
    seen.hear("record.away", None, {"why": "no leader"})
    clock.advance(500)

    assert seen.notes() == ["the record does not answer, so no more hosts are started: no leader"]
    seen.hear("record.back", None, {})
    assert seen.notes() == []
    clock.advance(80)
    assert seen.notes() == ["no host became healthy for 80 s; the rollout stops in 20 s"]


def test_the_progress_deadline_begins_anew_with_the_end_of_a_bake() -> None:
    clock, rollout = FakeClock(), a_wave(3, progress_deadline=100.0)
    seen, host = Progress(rollout, clock.now), rollout.hosts["h1"]
    begin(seen, "bake")
    clock.advance(500)
    begin(seen, "")
    host.stage = HostStage.STARTING
    seen.hear("host.started", host, {})

    assert seen.notes() == []
    clock.advance(80)
    assert seen.notes() == ["no host became healthy for 80 s; the rollout stops in 20 s"]


def test_the_progress_deadline_is_counted_down_where_it_runs_short() -> None:
    clock, rollout = FakeClock(), a_wave(3, progress_deadline=100.0)
    seen, (host, other, _) = Progress(rollout, clock.now), rollout.hosts.values()
    host.stage = other.stage = HostStage.STARTING
    seen.hear("host.started", host, {})
    seen.hear("host.started", other, {})

    clock.advance(74)
    assert seen.notes() == []
    clock.advance(6)
    assert seen.notes() == ["no host became healthy for 80 s; the rollout stops in 20 s"]
    other.stage = HostStage.DONE
    seen.hear("host.finished", other, {})
    assert seen.notes() == []


def test_what_a_rollout_waits_for_is_said() -> None:
    rollout = a_wave(3)
    seen = Progress(rollout, FakeClock().now, again=lambda verb: f"release-agent rollout {verb} rollout-1 --consul")

    rollout.phase, rollout.why = Phase.PAUSED, "by ann@desk"
    seen.hear("order.heard", None, {"verb": "pause", "who": "ann@desk"})
    seen.hear("record.away", None, {"why": "Consul\ndoes not answer"})

    assert seen.notes() == [
        "the record does not answer, so no more hosts are started: Consul; does not answer",
        "paused by ann@desk; hosts in flight continue",
        "to continue: release-agent rollout resume rollout-1 --consul",
        "last heard: pause, ordered by ann@desk",
    ]
    seen.hear("record.back", None, {"why": ""})
    rollout.phase = Phase.WAITING
    assert seen.notes()[0] == "waiting for approval; then the last look"


def test_a_host_has_its_seconds_from_its_start_and_a_revert_its_own() -> None:
    clock, rollout = FakeClock(), a_wave(1, deadline=60.0)
    seen, host = Progress(rollout, clock.now), rollout.hosts["h0"]
    rows = []
    for stage in (HostStage.STARTING, HostStage.DEPLOYING, HostStage.REVERTING):
        host.stage = stage
        seen.hear("host", host, {})
        clock.advance(5)
        rows.append(seen.rows(9)[0][0][1])

    assert rows == ["5 s (limit 60 s)", "10 s (limit 60 s)", "5 s (limit 60 s)"]


def test_a_rollout_that_is_resumed_begins_with_what_it_knows() -> None:
    rollout = a_wave(4)
    rollout.wave = 0
    for host, stage in zip(
        rollout.hosts.values(), (HostStage.DONE, HostStage.FAILED, HostStage.DEPLOYING, HostStage.PENDING), strict=True
    ):
        host.stage = stage

    seen = Progress(rollout, FakeClock().now)

    assert seen.summary() == "wave 1 of 1  0:00 so far"
    assert seen.counted() == "1 pending, 1 deploying, 1 done, 1 failed (0 allowed)"
    assert [row.name for row, _ in seen.rows(9)[0]] == ["h1", "h2"]
    assert seen.settled == 2


def test_what_goes_back_is_no_wave() -> None:
    rollout = a_wave(1)
    rollout.phase = Phase.REVERTING
    rollout.hosts["h0"].stage = HostStage.STUCK

    assert Progress(rollout, FakeClock().now).summary() == "rolling back  0:00 so far"


def test_a_stop_is_said_with_its_cause_and_with_what_comes_then() -> None:
    rollout = a_wave(5, revert=True)
    seen, (first, second, *_) = Progress(rollout, FakeClock().now), rollout.hosts.values()
    for host, stage in ((first, HostStage.DONE), (second, HostStage.FAILED)):
        host.stage = stage
        seen.hear("host.finished", host, {})

    rollout.stopping = "1 of 5 hosts failed, and --max-failed allows 0"

    assert seen.notes() == [
        "stopping: 1 of 5 hosts failed, and --max-failed allows 0",
        "next: the changed hosts are rolled back: 1 host",
    ]
    rollout.stopping = rollout.aborted = "ordered by ann@desk"
    assert seen.notes() == ["stopping: ordered by ann@desk", "next: the rollout ends, and no host is rolled back"]


def test_waves_are_a_map_with_sizes_zones_and_losses() -> None:
    rollout = a_wave(6, by_zone=True)
    for host, wave, zone in zip(rollout.hosts.values(), (0, 1, 1, 1, 2, 2), ("north",) * 4 + ("south",) * 2, strict=True):
        host.wave, host.zone = wave, zone
    hosts = list(rollout.hosts.values())
    hosts[0].stage, hosts[1].stage, hosts[2].stage, rollout.wave = HostStage.DONE, HostStage.FAILED, HostStage.DEPLOYING, 1

    seen = Progress(rollout, FakeClock().now)

    assert seen.waves(80) == "waves: 1/1 north, 0/3 north (1 failed) now, 2 south"
    begin(seen, "bake")
    assert seen.notes() == ["watching the health of 1 host for 30 s more; then wave 3: 2 hosts in south"]


def test_waves_and_hosts_of_several_applications_say_of_which_they_are() -> None:
    rollout = a_system("rollout-1", "db", "api")
    hosts = list(rollout.hosts.values())
    hosts[0].stage = HostStage.FAILED

    seen = Progress(rollout, FakeClock().now)

    assert seen.waves(80) == "waves: 0/1 db (1 failed) now, 1 api"
    assert [row.name for row, _ in seen.rows(9)[0]] == ["host-1 [db]"]
    begin(seen, "bake")
    assert seen.notes() == ["watching the health of 0 hosts for 30 s more; then wave 2: 1 host of api"]


def test_the_end_is_estimated_by_what_hosts_took() -> None:
    clock, rollout = FakeClock(), a_wave(9, parallel=2, bake=10.0)
    for number, host in enumerate(rollout.hosts.values()):
        host.wave = int(number > 2)
    seen, (first, second, *_) = Progress(rollout, clock.now), rollout.hosts.values()
    assert "about" not in seen.summary()
    for host in (first, second):
        host.stage = HostStage.STARTING
        seen.hear("host.started", host, {})
    clock.advance(8)

    first.stage = HostStage.DONE
    seen.hear("host.finished", first, {})

    # A half for the one in flight, one for the last of this wave, three for the six of the next, and two bakes.
    assert seen.summary() == "wave 1 of 2  0:08 so far, about 0:56 more"


def test_a_host_in_flight_is_shown_with_its_phase() -> None:
    clock, rollout = FakeClock(), a_wave(1, deadline=60.0)
    seen, host = Progress(rollout, clock.now), rollout.hosts["h0"]
    host.stage, host.phase = HostStage.DEPLOYING, "health"
    seen.hear("host.deploying", host, {})

    assert seen.rows(9)[0][0][1] == "health  0 s (limit 60 s)"


def test_preflight_says_what_is_asked_and_of_how_many() -> None:
    assert text.preflight(what="check", asked=412, hosts=1000) == "412 of 1000 hosts have reported the changes of the revision"


def test_of_ten_thousand_waves_only_those_around_the_current_one_are_looked_at() -> None:
    looked: list[int] = []

    def word(number: int) -> str:
        looked.append(number)
        return str(number)

    assert wave_map(word, 10_000, 5_000, 40) == "waves: …, 5000 now, 5001, 5002, 5003, …"
    assert len(looked) < 20


@pytest.mark.parametrize(
    ("width", "expected"),
    [
        (80, "waves: 1/1, 2/2, 0/3 now, 4, 5"),
        (25, "waves: …, 0/3 now, 4, 5"),
        (20, "waves: …, 0/3 now, …"),
        (5, "waves: …, 0/3 now, …"),
    ],
)
def test_more_waves_than_fit_are_shown_around_the_current_one(width: int, expected: str) -> None:
    assert wave_map(["1/1", "2/2", "0/3", "4", "5"].__getitem__, 5, 2, width) == expected


STEPS = [
    ("staging", "hosts stage the revision before the first one publishes it"),
    ("gate", "the gate judges wave 1"),
    ("verification", "the last look: hosts report their live release"),
    ("of a newer agent", ""),
    ("", ""),
]


@pytest.mark.parametrize(("step", "words"), STEPS)
def test_what_goes_on_between_the_waves_is_said_until_it_is_over(step: str, words: str) -> None:
    rollout = a_wave(3)
    seen = Progress(rollout, FakeClock().now)

    begin(seen, step)

    assert seen.notes() == ([words] if words else [])
    assert text.headline(rollout, running=True).endswith(f"running: {words}" if words else "running")
    rollout.enter(Phase.COMPLETED)
    assert seen.notes() == []


def test_who_watches_from_elsewhere_sees_the_step_and_the_stop_as_the_operator_does() -> None:
    clock = FakeClock()
    seen = Progress(a_wave(3), clock.now)
    baking, stopping = a_wave(3), a_wave(3)
    baking.hosts["h0"].stage = HostStage.DONE
    baking.begin("bake")
    stopping.stopping = "1 of 3 hosts failed"

    seen.look(baking)
    assert seen.notes() == ["watching the health of 1 host for 30 s more; then the last look"]
    clock.advance(20)
    assert seen.notes() == ["watching the health of 1 host for 10 s more; then the last look"]
    seen.look(stopping)
    assert seen.notes() == ["stopping: 1 of 3 hosts failed", "next: the rollout ends, and no host is rolled back"]
    assert text.headline(stopping, running=True).endswith("running: stopping: 1 of 3 hosts failed")
    assert text.headline(stopping, running=False).endswith("running, left")


@pytest.mark.parametrize("phase", [Phase.WAITING, Phase.PAUSED])
def test_who_watches_from_elsewhere_sees_the_progress_deadline_begin_anew_after_a_wait_for_a_person(phase: Phase) -> None:
    clock = FakeClock()
    waiting, running = (a_wave(3, progress_deadline=100.0) for _ in range(2))
    waiting.phase = phase
    for rollout in (waiting, running):
        rollout.hosts["h1"].stage = HostStage.DEPLOYING
    seen = Progress(waiting, clock.now)
    clock.advance(3600)

    seen.look(running)

    assert seen.notes() == []
    clock.advance(80)
    seen.look(running)
    assert seen.notes() == ["no host became healthy for 80 s; the rollout stops in 20 s"]
