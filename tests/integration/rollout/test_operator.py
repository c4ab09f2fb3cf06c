"""Operators that are stopped, killed, or whose output nobody reads, over simulated hosts."""

from __future__ import annotations

import json
import os
import signal
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support import warm
from support.desk import KilledAtWrites
from support.environment import BIN
from support.simulated_host import commit_of
from support.tracing import killed_at
from support.waiting import ended

if TYPE_CHECKING:
    from support.simulated_rollouts import SimulatedRollouts

OLD, NEW = "v1.0.0", "v1.1.0"


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_operator_who_is_stopped_leaves_hosts_as_they_are_and_says_how_to_go_on(
    fleet: SimulatedRollouts, number: signal.Signals
) -> None:
    fleet.hold(1)
    operator = fleet.begin()
    fleet.held(1)

    assert operator.send(number) == 14

    (ended,) = operator.events("rollout.ended")
    assert ended["resume"].startswith(f"release-agent rollout resume {operator.id}")
    status = fleet.rollout("status", operator.id).json
    assert (status["phase"], status["why"]) == ("interrupted", f"stopped by {number.name}")
    fleet.let_go(1)
    assert fleet.rollout("resume", operator.id).code == 0
    assert fleet.live() == [NEW] * 5
    assert [fleet.fired(n) for n in range(5)] == [[operator.id]] * 5


def test_rollout_whose_plan_cannot_be_read_is_listed_and_keeps_no_other_from_starting(fleet: SimulatedRollouts) -> None:
    spoilt = fleet.start().json["id"]
    with closing(sqlite3.connect(next(fleet.path.rglob("rollouts.db")))) as db:
        db.execute("UPDATE rollout SET plan = '{}'")
        db.commit()

    started = fleet.start(revision=OLD)

    assert started.code == 0, started.out
    assert [(one["id"], one["phase"]) for one in fleet.rollout("list").json] == [
        (started.json["id"], "completed"),
        (spoilt, "unknown"),
    ]
    assert fleet.run(fleet.command("list")[:-1]).out.splitlines()[1:] == [
        f"{spoilt}  unknown: cannot read its plan: KeyError('app')"
    ]


def test_host_that_was_deployed_to_often_since_is_followed_from_where_the_operator_left_it(fleet: SimulatedRollouts) -> None:
    host = fleet.hosts[0]
    fleet.hold(0)
    operator = fleet.begin("--waves", "1,100%")
    operator.seen("host.deploying", host="host-1")
    assert fleet.stages(operator.id)["host-1"] == "deploying", "it is written down, for whoever looks from elsewhere"
    operator.send(signal.SIGKILL)
    fleet.let_go(0)
    for revision in (OLD, NEW) * 15:
        host.deploy(revision, False, "person")
        host.let_go()

    resumed = fleet.rollout("resume", operator.id)

    assert resumed.code == 0, resumed.out
    assert fleet.fired(0).count(operator.id) == 1


def test_reader_that_goes_away_leaves_the_rollout_to_go_on(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    reading, writing = os.pipe()
    with Path(os.devnull).open("r+") as nothing:
        command = fleet.start_command(revision=NEW)
        run = warm.start(command, fleet.environment, [nothing.fileno(), writing, nothing.fileno()])
    os.close(writing)
    assert os.read(reading, 1)
    os.close(reading)
    fleet.let_go(0)

    assert ended(run) == 0
    assert fleet.live() == [NEW] * 5


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("first", [1, 2, 3])
def test_operator_killed_at_any_write_is_gone_on_with_and_no_host_is_deployed_to_twice_or_left_out(
    fleet: SimulatedRollouts, first: int
) -> None:
    """Signal 9 at the N-th time that the record is made durable, for every third N: a revision of its own each time."""
    killer, numbers, begun = KilledAtWrites(fleet), range(first, 21, 3), 0
    for number in numbers:
        revision = f"v1.1.{number}"
        for host in fleet.hosts:
            host.commits |= {revision: commit_of(revision)}
        before = [fleet.fired(n) for n in range(5)]

        killed = killer.rollout(number, revision)

        assert killed is not None, "a rollout writes more often than that"
        if killed:
            begun += 1
            assert fleet.rollout("resume", killed).code == 0
            assert fleet.live() == [revision] * 5
            assert [fleet.fired(n) for n in range(5)] == [[*fired, killed] for fired in before]
    assert (killer.kills, begun >= 4) == (len(numbers), True)


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("call", ["fdatasync", "pwrite64"])
def test_record_of_an_older_agent_whose_migration_is_killed_at_any_write_keeps_the_abort_that_waits(
    fleet: SimulatedRollouts, call: str
) -> None:
    assert fleet.begin("--approve").end() == 43
    (listed,) = fleet.rollout("list").json
    path = fleet.path / "operator" / "release-agent" / "rollouts.db"
    order = {"verb": "abort", "who": "ada@ops", "at": "2026-11-01T10:00:00Z"}
    with closing(sqlite3.connect(path, isolation_level=None)) as older:
        older.executescript("DROP TABLE frozen; DROP TABLE waiting")
        older.execute("CREATE TABLE wish (rollout TEXT PRIMARY KEY, body TEXT NOT NULL)")
        older.execute("INSERT INTO wish VALUES (?, ?)", (listed["id"], json.dumps(order)))
        older.execute("PRAGMA user_version = 1")

    kills = 0
    with Path(os.devnull).open("r+") as nothing:
        while killed_at(call, 1 + kills, fleet.command("list"), fleet.environment, [nothing.fileno()] * 3) != 0:
            kills += 1
            assert kills < 100, "the migration comes to its end"

    assert kills > 1
    resumed = fleet.rollout("resume", listed["id"])
    assert (resumed.code, resumed.json["phase"], resumed.json["why"]) == (40, "aborted", "ordered by ada@ops")


def test_terminal_that_is_closed_interrupts_the_rollout_and_is_no_bug(fleet: SimulatedRollouts) -> None:
    fleet.hold(1)
    program, *arguments = [word for word in fleet.start_command(revision=NEW) if word != "--json"]
    command = ["setsid", "--ctty", str(BIN / program), *arguments]
    terminal, inside = os.openpty()
    with (fleet.path / "operator.err").open("w") as errors:
        run = subprocess.Popen(command, env=fleet.environment, stdin=inside, stdout=inside, stderr=errors)
    os.close(inside)
    fleet.held(1)

    os.close(terminal)

    assert run.wait(60) == 14
    (listed,) = fleet.rollout("list").json
    assert (listed["phase"], listed["why"]) == ("interrupted", "stopped by SIGHUP")
    assert (fleet.path / "operator.err").read_text() == ""
    fleet.let_go(1)
