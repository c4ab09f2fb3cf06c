"""The monitor ends the container, or not: by the results of its looks, and by the time. No test waits."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.config.sections import HealthSettings, MonitorSettings
from release_agent.consul.connection import ConsulError
from release_agent.health import Health, HealthState, Look, Process, ServiceLook
from release_agent.journal.journal import StateDatabase
from release_agent.model import Outcome, Record, Request
from release_agent.monitor.ending import ContainerEnd, Losses, Moment
from release_agent.monitor.monitor import Monitor
from support.endings import Container
from support.roots import release

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from release_agent.model import Release

PUBLISHED = "2024-01-01T12:00:00.000000Z"
LIVE = release(1, published_at=PUBLISHED)
NOW = Moment(ticks=1000.0, time=1_700_000_000.0)
PATIENCE = 30.0
LONG_AGO = -1e9


def process(state: str = "FATAL", *, ago: float = 0.0, name: str = "web") -> Process:
    """A process that supervisor has given up some seconds ago."""
    ended_at = int(NOW.time - ago)
    return Process("web", name, state, 0, "Exited too quickly", started_at=ended_at - 1, ended_at=ended_at)


def looked_at(*processes: Process) -> Look:
    return Look({"web": ServiceLook(processes, ("web is not well",))})


def later(seconds: float) -> Moment:
    return Moment(NOW.ticks + seconds, NOW.time + seconds)


def names(losses: Losses, now: Moment) -> list[str]:
    return [lost.process.name for lost in losses.beyond_help(now, PATIENCE)]


@pytest.mark.parametrize(
    ("state", "ago", "quiet_since", "ends"),
    [
        pytest.param("FATAL", 29.0, LONG_AGO, False, id="not-yet"),
        pytest.param("FATAL", 30.0, LONG_AGO, True, id="for-the-time-as-supervisor-knows"),
        pytest.param("FATAL", 500.0, 980.0, False, id="a-run-ended-since"),
        pytest.param("FATAL", 500.0, 970.0, True, id="a-run-ended-that-long-ago"),
        pytest.param("FATAL", -3600.0, LONG_AGO, False, id="the-clock-was-set-back-since"),
        pytest.param("BACKOFF", 500.0, LONG_AGO, False, id="supervisor-still-tries"),
        pytest.param("STOPPED", 500.0, LONG_AGO, False, id="a-person-stopped-it"),
        pytest.param("EXITED", 500.0, LONG_AGO, False, id="it-ended-as-expected"),
        pytest.param("RUNNING", 500.0, LONG_AGO, False, id="it-runs"),
    ],
)
def test_first_look_of_a_monitor_counts_from_what_supervisor_knows(
    state: str, ago: float, quiet_since: float, *, ends: bool
) -> None:
    losses = Losses(quiet_since).after(looked_at(process(state, ago=ago)), NOW)

    assert names(losses, NOW) == (["web"] if ends else [])


def test_clock_that_jumps_between_two_looks_changes_nothing() -> None:
    look = looked_at(process())
    losses = Losses(LONG_AGO).after(look, NOW)

    for jump in (3600.0, -3600.0):
        jumped = Moment(NOW.ticks + 29.0, NOW.time + jump)
        assert names(losses.after(look, jumped), jumped) == []
        jumped = Moment(NOW.ticks + 30.0, NOW.time + jump)
        assert names(losses.after(look, jumped), jumped) == ["web"]


def test_process_that_was_started_in_between_and_given_up_again_has_its_whole_time() -> None:
    losses = Losses(LONG_AGO).after(looked_at(process()), NOW)

    again = looked_at(process(ago=-20.0))

    assert names(losses.after(again, later(30.0)), later(30.0)) == []
    assert names(losses.after(again, later(50.0)), later(50.0)) == ["web"]


def test_process_that_recovers_is_forgotten() -> None:
    losses = Losses(LONG_AGO).after(looked_at(process()), NOW).after(looked_at(process("RUNNING")), later(10.0))

    assert losses.known == {}


def test_each_process_has_its_own_time() -> None:
    look = looked_at(process(ago=40.0, name="web_0"), process(ago=5.0, name="web_1"), process("RUNNING", name="web_2"))

    assert names(Losses(LONG_AGO).after(look, NOW), NOW) == ["web_0"]


class Desk:
    """A monitor of a host whose service is FATAL, with everything it tells in order."""

    def __init__(self, place: Path, *, exit_when: str = "fatal", consul: str = "", watch: float | None = None) -> None:
        self.told: list[str] = []
        self.container = Container()
        self.is_busy = [False]
        self.during_look: Callable[[], object] = lambda: None
        self.watch = watch
        self.shown: list[Health] = []
        self.consul_says = consul
        self.state = "FATAL"
        settings = MonitorSettings(exit_when=exit_when, exit_after=PATIENCE)
        self.ending = ContainerEnd(settings, self, self.container, self)
        agent: Any = self
        self.place = place / "state.db"
        self.monitor = Monitor(self, lambda: StateDatabase(self.place, write=True), agent, self, self.ending)

    # What is watched

    def busy(self) -> bool:
        return self.is_busy.pop() if len(self.is_busy) > 1 else self.is_busy[0]

    def live(self) -> Release | None:
        return LIVE

    def look(self, _live: Release) -> Look:
        self.during_look()
        given_up = int(time.time()) - 1000
        return looked_at(Process("web", "web", self.state, 0, "Exited too quickly", started_at=given_up, ended_at=given_up))

    def health(self, _live: Release) -> HealthSettings:
        return HealthSettings(deadline=10.0, stable_for=3.0, watch=self.watch)

    def target(self) -> Any:
        raise NotImplementedError

    def fire(self, method: str, _trigger: str) -> str | None:
        self.told.append(method)
        return None

    # Supervisord

    def shut_down(self) -> str | None:
        self.told.append("shutdown")
        return self.container.shut_down()

    # The log

    def info(self, event: str, **_values: object) -> None:
        self.told.append(event)

    def warning(self, event: str, **values: object) -> None:
        self.told.append(event)
        self.said = values

    # Consul

    ttl = 1000.0

    def update(self, _live: Release | None, health: Health) -> bool:
        if self.consul_says:
            raise ConsulError(self.consul_says)
        self.told.append(f"consul: {health.state}")
        self.shown.append(health)
        return True

    def register(self, *_what: object) -> None:
        """Take it."""

    def in_maintenance(self) -> str | None:
        return None


def test_reason_is_logged_and_in_consul_before_supervisord_is_asked_to_end(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    desk.monitor.round()

    assert desk.told == ["exit.fired", "consul: critical", "health.changed", "shutdown"]
    assert desk.shown[-1].problems == (
        "the container ends ([monitor] exit_when): web FATAL for 30 s",
        "web is not well",
    )
    assert desk.shown[-1].state is HealthState.CRITICAL


def test_log_says_which_process_since_when_and_how_it_ended(tmp_path: Path) -> None:
    desk = Desk(tmp_path)

    desk.ending.announce(LIVE, desk.ending.consider(looked_at(process())))

    assert desk.said == {
        "release": LIVE.name,
        "process": "web:web",
        "since": "2023-11-14T22:13:20+00:00",
        "why": "FATAL: Exited too quickly",
        "end": "exit status 3",
        "output": "web since 1699999999",
    }


def test_consul_that_does_not_answer_keeps_no_container_alive(tmp_path: Path) -> None:
    desk = Desk(tmp_path, consul="connection refused")

    desk.monitor.round()

    assert desk.told == ["exit.fired", "shutdown", "health.changed"]


def test_journal_that_cannot_be_opened_keeps_no_container_alive(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.place.write_text("no database" * 1000)

    desk.monitor.round()

    assert desk.container.asked == 1


def test_nothing_is_said_any_more_once_supervisord_ends(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.monitor.round()
    told = list(desk.told)

    desk.monitor.round()

    assert desk.told == told


def test_supervisord_that_refuses_is_asked_again(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.container.refuses = "not today"
    desk.monitor.round()
    assert desk.told[-1] == "exit.refused"

    desk.monitor.round()

    assert desk.container.asked == 2


def test_without_the_option_no_container_ends(tmp_path: Path) -> None:
    desk = Desk(tmp_path, exit_when="never")

    desk.monitor.round()

    assert desk.container.asked == 0


def test_run_that_holds_the_lock_makes_the_time_begin_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.is_busy = [False, True]
    desk.monitor.round()

    desk.monitor.round()

    assert desk.container.asked == 0


def test_run_that_begins_during_the_look_makes_the_time_begin_anew(tmp_path: Path) -> None:
    desk = Desk(tmp_path)
    desk.during_look = lambda: setattr(desk, "is_busy", [False, True])
    desk.monitor.round()
    desk.during_look = lambda: None

    desk.monitor.round()

    assert desk.container.asked == 0


def test_rollback_that_the_watch_fires_is_given_its_time(tmp_path: Path) -> None:
    desk = Desk(tmp_path, watch=10e9)
    with StateDatabase(desk.place, write=True) as journal:
        journal.begin(Request("d-1"), PUBLISHED)
        journal.end(Record("d-1", Outcome.DEPLOYED, LIVE.name), None)

    desk.monitor.round()
    desk.monitor.round()

    assert (desk.told.count("rollback"), desk.container.asked) == (1, 0)
