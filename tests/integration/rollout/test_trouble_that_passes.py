"""Trouble of a host that passes says nothing about the release: the rollout asks the host again, and rolls nothing back."""

from __future__ import annotations

import os
import signal
import sqlite3
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import pytest

from support.fleet import Fleet
from support.go_between import GoBetween
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.desk import Operator

OLD, NEW = "v1.0.0", "v1.1.0"
LOCKED = b"database is locked"


class _Fleet(Fleet):
    """Two hosts; what is said to each can be looked at."""

    def __init__(self) -> None:
        super().__init__(2)
        self.between = [GoBetween(port) for port in self.ports]
        for port, between in zip(self.ports, self.between, strict=True):
            self.file.write_text(self.file.read_text().replace(f":{port}", f":{between.port}"))

    @contextmanager
    def journal_locked(self, number: int) -> Iterator[None]:
        """Let somebody lock a host's journal, as a commit on a slow disk does."""
        path = self.hosts[number].root / ".release-agent" / "state.db"
        with closing(sqlite3.connect(path, isolation_level=None)) as journal:
            journal.execute("BEGIN EXCLUSIVE")
            yield

    def start_container_again(self, number: int) -> None:
        """End one host with everything inside, and start it again."""
        host = self.hosts[number]
        inside = [host.process(name)[1] for name in ("deploy", "web")]
        host.stop(signal.SIGKILL)
        for pid in inside:
            os.kill(pid, signal.SIGKILL)
        host.start(boot=True)

    def took_it_once(self, operator: Operator) -> None:
        """Hold the fleet to a rollout that was completed, and deployed to each host once."""
        assert operator.end() == 0, operator.events()
        assert self.live() == [NEW] * 2
        assert [self.fired(number) for number in range(2)] == [[operator.id]] * 2

    def came_back_once(self, operator: Operator) -> None:
        """Hold the fleet to a rollout that host-2 refused, and that host-1 was rolled back from once."""
        assert operator.end() == 41, operator.events()
        assert self.live() == [OLD] * 2
        assert [self.fired(number) for number in range(2)] == [[operator.id, f"{operator.id}-revert"], [operator.id]]

    def close(self) -> None:
        """End everything."""
        for between in self.between:
            between.close()
        super().close()


@pytest.fixture
def fleet() -> Iterator[_Fleet]:
    made = _Fleet()
    yield made
    made.close()


def test_journal_locked_while_a_host_deploys_does_not_take_back_the_fleet(fleet: _Fleet) -> None:
    fleet.hold(1)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(1)

    with fleet.journal_locked(1):
        fleet.between[1].passed(LOCKED)
    fleet.let_go(1)

    fleet.took_it_once(operator)


def test_journal_locked_while_hosts_are_looked_at_does_not_leave_one_out(fleet: _Fleet) -> None:
    with fleet.journal_locked(1):
        operator = fleet.begin("--revert")
        fleet.between[1].passed(LOCKED)

    fleet.took_it_once(operator)


def test_journal_locked_when_a_hosts_turn_comes_does_not_take_back_the_fleet(fleet: _Fleet) -> None:
    fleet.hold(0)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(0)

    with fleet.journal_locked(1):
        fleet.let_go(0)
        operator.seen("host.started", host="host-2")
        fleet.between[1].passed(LOCKED)

    fleet.took_it_once(operator)


def test_run_that_gave_up_on_a_locked_journal_is_started_again(fleet: _Fleet) -> None:
    fleet.hold(0)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(0)

    with fleet.journal_locked(1):
        fleet.let_go(0)
        operator.seen("host.deploying", host="host-2")
        eventually(lambda: fleet.hosts[1].process("deploy")[0] == "EXITED", "the run has given up")

    fleet.took_it_once(operator)


def test_run_that_cannot_begin_is_no_trouble_that_passes(fleet: _Fleet) -> None:
    fleet.hold(0)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(0)
    (fleet.hosts[1].root / ".release-agent" / "app").write_text("another")
    fleet.let_go(0)

    assert operator.end() == 41, operator.events()
    assert [event["code"] for event in operator.events("host.finished") if event["host"] == "host-2"] == ["not-begun"]
    assert fleet.fired(1) == []


def test_journal_locked_when_every_host_is_asked_at_the_end_does_not_take_back_the_fleet(fleet: _Fleet) -> None:
    operator = fleet.begin("--waves", "2", "--revert", "--gate", fleet.hosts[0].gate("judged"))
    fleet.hosts[0].reached("judged")

    with fleet.journal_locked(0):
        fleet.hosts[0].open("judged")
        operator.seen("verification.started")
        fleet.between[0].passed(LOCKED, 2)

    fleet.took_it_once(operator)


def test_abort_in_the_last_look_waits_for_no_locked_journal(fleet: _Fleet) -> None:
    operator = fleet.begin("--waves", "2", "--gate", fleet.hosts[0].gate("judged"))
    fleet.hosts[0].reached("judged")

    with fleet.journal_locked(0):
        fleet.hosts[0].open("judged")
        fleet.between[0].passed(LOCKED)
        assert fleet.rollout("abort", operator.id).json["said"] == f"the operator of {operator.id} obeys: abort"
        assert operator.end() == 40

    assert fleet.rollout("status", operator.id).json["phase"] == "aborted"
    assert fleet.live() == [NEW] * 2


def test_journal_locked_before_a_host_is_rolled_back_does_not_leave_it_behind(fleet: _Fleet) -> None:
    fleet.configure(
        1, f"[hooks]\nbefore_publish = [{{ run = '{fleet.hosts[1].gate('held')}' }}]\nafter_deploy = [{{ run = 'false' }}]"
    )
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(1)

    with fleet.journal_locked(0):
        fleet.let_go(1)
        operator.seen("revert.started")
        fleet.between[0].passed(LOCKED, 2)

    fleet.came_back_once(operator)


def test_journal_locked_while_a_host_is_rolled_back_does_not_leave_it_behind(fleet: _Fleet) -> None:
    fleet.configure(0, f"[hooks]\nbefore_rollback = [{{ run = '{fleet.hosts[0].gate('back')}' }}]")
    fleet.refuse(1)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.hosts[0].reached("back")

    with fleet.journal_locked(0):
        fleet.between[0].passed(LOCKED, 2)
    fleet.hosts[0].open("back")

    fleet.came_back_once(operator)


def test_journal_locked_while_drift_is_measured_does_not_make_a_host_unknown(fleet: _Fleet) -> None:
    with ThreadPoolExecutor() as pool, fleet.journal_locked(1):
        found = pool.submit(fleet.rollout, "drift", "--fleet", fleet.file)
        fleet.between[1].passed(LOCKED)

    assert [host["revision"] for host in found.result().json["hosts"]] == [OLD, OLD]


def test_journal_locked_beyond_the_end_of_a_bake_does_not_take_back_the_fleet(fleet: _Fleet) -> None:
    operator = fleet.begin("--waves", "1", "--revert", "--bake", "1s")
    operator.seen("bake.started")

    with fleet.journal_locked(0):
        fleet.between[0].passed(LOCKED, 3)  # in the bake, at its end, and after that

    fleet.took_it_once(operator)


def test_host_whose_deployment_is_killed_after_it_published_is_rolled_back_too(fleet: _Fleet) -> None:
    fleet.configure(1, f"[hooks]\nafter_deploy = [{{ run = '{fleet.hosts[1].gate('held')}' }}]")
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(1)
    os.kill(fleet.hosts[1].process("deploy")[1], signal.SIGKILL)
    fleet.let_go(1)

    assert operator.end() == 41, operator.events()
    assert fleet.live() == [OLD] * 2


def test_container_that_is_started_again_before_it_published_is_asked_again(fleet: _Fleet) -> None:
    fleet.hold(1)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(1)

    fleet.start_container_again(1)
    fleet.let_go(1)

    assert operator.end() == 0, operator.events()
    assert fleet.live() == [NEW] * 2
    assert fleet.fired(1) == [operator.id] * 2


def test_container_that_is_started_again_before_it_staged_is_asked_again(fleet: _Fleet) -> None:
    fleet.configure(1, f"[hooks]\nbuild = [{{ run = '{fleet.hosts[1].gate('held')}' }}]")
    operator = fleet.begin("--stage")
    fleet.held(1)

    fleet.start_container_again(1)
    fleet.let_go(1)

    assert operator.end() == 0, operator.events()
    assert fleet.live() == [NEW] * 2
    assert fleet.fired(1) == [*[f"{operator.id}-stage"] * 2, operator.id]


def test_container_that_is_started_again_before_its_run_is_in_the_journal_is_asked_again(fleet: _Fleet) -> None:
    fleet.hold(0)
    operator = fleet.begin("--waves", "1", "--revert")
    fleet.held(0)

    with fleet.journal_locked(1):  # so the run cannot write its entry
        fleet.let_go(0)
        operator.seen("host.deploying", host="host-2")
        fleet.start_container_again(1)

    fleet.took_it_once(operator)


def test_container_that_is_started_again_while_it_waits_for_the_revision_is_asked_again(fleet: _Fleet) -> None:
    operator = fleet.begin("--waves", "1", "--wait-for", "5m", revision="v1.2.0")
    fleet.between[1].passed(b"<name>phases</name>")  # it has answered about its check

    fleet.start_container_again(1)
    fleet.release("v1.2.0")

    assert operator.end() == 0, operator.events()
    assert fleet.live() == ["v1.2.0"] * 2
