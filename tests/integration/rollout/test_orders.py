"""Orders of people to a rollout that runs, and to one that nobody runs, over simulated hosts."""

from __future__ import annotations

import signal
import sqlite3
from contextlib import closing
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from support.desk import Operator
from support.simulated_host import commit_of
from support.terminal import Terminal
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Ran
    from support.simulated_rollouts import SimulatedRollouts

OLD, NEW = "v1.0.0", "v1.1.0"


def test_paused_rollout_begins_no_host_until_it_is_resumed(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin()
    fleet.held(0)
    assert fleet.rollout("pause", operator.id).code == 0
    operator.seen("rollout.paused")
    fleet.let_go(0)
    operator.seen("host.finished", host="host-1", stage="done")

    status = fleet.rollout("status", operator.id).json
    assert (status["running"], status["phase"]) == (True, "paused")
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.rollout("resume", operator.id).code == 0
    assert operator.end() == 0
    assert [event["event"] for event in operator.events() if event["event"] in ("rollout.paused", "rollout.running")] == [
        *("rollout.paused", "rollout.running"),
    ]
    assert fleet.live() == [NEW] * 5


def test_status_that_is_watched_is_told_at_each_change_until_the_end(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin()
    fleet.held(0)
    watching = Operator(fleet, fleet.command("status", operator.id, "--watch"))
    eventually(watching.events, "the first state is shown")
    fleet.let_go(0)

    assert (operator.end(), watching.end()) == (0, 0)
    told = watching.events()
    assert (told[0]["phase"], told[-1]["phase"]) == ("running", "completed")
    assert all(one != other for one, other in pairwise(told))


def test_status_that_is_watched_says_at_last_that_the_operator_is_gone(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin()
    operator.seen("host.deploying", host="host-1")
    watching = Operator(fleet, fleet.command("status", operator.id, "--watch"))
    eventually(watching.events, "the first state is shown")

    operator.send(signal.SIGKILL)

    assert watching.end() == 0
    assert [told["running"] for told in watching.events()] == [True, False]


def test_rollout_that_waits_for_approval_ends_with_43_and_goes_on_once_it_is_had(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin("--approve")

    assert operator.end() == 43
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.rollout("status", operator.id).json["phase"] == "waiting"
    assert fleet.rollout("resume", operator.id).code == 43
    resume = f"release-agent rollout resume {operator.id}"
    paused, approved = fleet.rollout("pause", operator.id), fleet.rollout("approve", operator.id)
    assert (paused.code, approved.code) == (0, 0)
    nobody = f"no operator runs {operator.id} now"
    assert paused.json["said"] == f"{nobody}; the rollout waits until somebody resumes it: {resume}"
    assert approved.json["said"] == f"{nobody}; the approval is kept for the next operator: {resume}"
    assert fleet.rollout("resume", operator.id).code == 0
    assert fleet.live() == [NEW] * 5


def test_rollout_whose_terminal_is_closed_at_the_question_waits_for_its_approval(fleet: SimulatedRollouts) -> None:
    terminal = Terminal(command=fleet.start_command("--approve", revision=NEW)[:-1], columns=120, **fleet.environment)
    try:
        terminal.see("Go on with the other 4? [y/N]")
        terminal.hang_up()
        assert terminal.process.wait(60) == 43
    finally:
        terminal.abandon()

    (rollout,) = fleet.rollout("list").json
    assert (rollout["phase"], rollout["aborted"]) == ("waiting", "")
    fleet.rollout("approve", rollout["id"])
    assert fleet.rollout("resume", rollout["id"]).code == 0
    assert fleet.live() == [NEW] * 5


def test_revision_that_was_moved_while_a_rollout_waited_is_not_taken_for_the_same(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin("--approve")
    assert operator.end() == 43
    for host in fleet.hosts:
        host.commits |= {NEW: commit_of("moved")}
    fleet.rollout("approve", operator.id)

    done = fleet.rollout("resume", operator.id)

    assert done.code == 40
    assert [host["code"] for host in done.json["hosts"]] == ["", "commits-differ", "", "", ""]


def test_aborted_rollout_leaves_hosts_as_they_are(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin("--revert")
    fleet.held(0)
    assert fleet.rollout("abort", operator.id).code == 0
    operator.seen("order.heard", verb="abort")
    fleet.let_go(0)

    assert operator.end() == 40
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.rollout("status", operator.id).json["phase"] == "aborted"
    assert fleet.rollout("resume", operator.id).code == 22


def test_abort_while_hosts_are_watched_is_heard_at_once_and_reverts_nothing(fleet: SimulatedRollouts) -> None:
    operator = Operator(fleet, fleet.command("start", NEW, "--fleet", fleet.file, "--bake", "10m", "--revert"))
    operator.seen("bake.started")

    assert fleet.rollout("abort", operator.id).code == 0

    assert operator.end() == 40
    assert fleet.rollout("status", operator.id).json["phase"] == "aborted"
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]


def test_abort_starts_no_host_that_is_busy_with_another_deployment(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin("--waves", "1")
    fleet.held(0)
    fleet.hold(1)
    fleet.hosts[1].deploy("v0.9.0", False, "by-hand")
    fleet.let_go(0)
    operator.seen("host.started", host="host-2")

    assert fleet.rollout("abort", operator.id).code == 0
    fleet.let_go(1)

    assert operator.end() == 40
    assert list(fleet.stages(operator.id).values()) == ["done", "pending", "pending", "pending", "pending"]
    assert fleet.live() == [NEW, "v0.9.0", OLD, OLD, OLD]
    assert fleet.fired(1) == ["by-hand"]


def test_second_operator_is_refused_and_told_who_runs_what_since_when(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin()
    fleet.held(0)

    second = fleet.start("--max-failed", "1")
    fleet.let_go(0)

    assert second.code == 44
    assert operator.id in second.json["error"]["message"]
    assert f" {NEW} " in second.json["error"]["message"]
    assert operator.end() == 0


def test_two_starts_at_once_are_one_rollout_and_one_refusal(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)  # whoever is second meets the first
    operators = [fleet.begin(), fleet.begin()]

    refused = eventually(lambda: next((one for one in operators if one.process.poll() is not None), None), "one is refused")
    assert refused.end() == 44
    fleet.let_go(0)
    assert sorted(operator.end() for operator in operators) == [0, 44]
    assert fleet.live() == [NEW] * 5
    assert [len(fleet.fired(number)) for number in range(5)] == [1] * 5


def test_rollout_is_not_gone_on_with_by_another_password_and_knows_its_own(locked_fleet: SimulatedRollouts) -> None:
    fleet = locked_fleet
    operator = fleet.begin("--approve")
    assert operator.end() == 43
    fleet.rollout("approve", operator.id)
    bare = [word for word in fleet.command("resume", operator.id) if word not in fleet.access]
    (fleet.path / "other").write_text("another")

    refused = fleet.run([*bare, "--user", "agent", "--password-file", str(fleet.path / "other")])

    assert (refused.code, refused.json["error"]["code"]) == (10, "host-unauthorised")
    assert fleet.run(bare).code == 0
    assert fleet.live() == [NEW] * 3


def test_reason_is_kept_and_shown(fleet: SimulatedRollouts) -> None:
    done = fleet.start("--reason", "the payment bug\nof Friday")
    words = [word for word in fleet.command("status", done.json["id"]) if word != "--json"]

    shown = fleet.run(words)

    assert done.code == 0
    assert fleet.rollout("list").json[0]["reason"] == "the payment bug\nof Friday"
    assert shown.out.splitlines()[0].endswith("completed  reason: the payment bug; of Friday")


def test_frozen_fleet_begins_and_resumes_no_rollout_while_one_that_runs_goes_on_to_its_end(fleet: SimulatedRollouts) -> None:
    unknown = fleet.rollout("freeze", "ap", "test", "the database moves")
    assert "no recent rollout of ap in test is known: check the names" in unknown.out
    fleet.hold(0)
    operator = fleet.begin()
    fleet.held(0)

    frozen = fleet.rollout("freeze", "api", "test", "the database moves", "--until", "2h")
    assert (frozen.code, f"{operator.id} still runs, by" in frozen.out) == (0, True)
    assert fleet.rollout("pause", operator.id).code == 0
    operator.seen("rollout.paused")
    fleet.let_go(0)
    operator.seen("host.finished", host="host-1", stage="done")
    for refused in (fleet.rollout("resume", operator.id), *_left(fleet, operator)):
        assert (refused.code, refused.json["error"]["code"]) == (12, "frozen"), refused
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.start(revision="v1.2.0").code == 12
    assert fleet.start("--dry-run").code == 0

    assert fleet.rollout("unfreeze", "api", "test").json["said"] == "rollouts of api in test are not frozen any more"
    assert fleet.rollout("resume", operator.id).code == 0
    assert fleet.live() == [NEW] * 5


def _left(fleet: SimulatedRollouts, operator: Operator) -> Iterator[Ran]:
    """Let an operator go away, and have somebody else resume the rollout."""
    assert operator.send(signal.SIGTERM) == 14
    yield fleet.rollout("resume", operator.id)


def test_rollout_of_a_frozen_fleet_is_aborted_and_reverted_all_the_same(fleet: SimulatedRollouts) -> None:
    first = fleet.begin("--approve")
    assert first.end() == 43
    fleet.rollout("freeze", "api", "test", "the database moves")

    assert fleet.rollout("abort", first.id).code == 0
    assert fleet.rollout("revert", first.id).code == 0
    assert fleet.live() == [OLD] * 5
    assert fleet.start("--despite-freeze").code == 0
    assert fleet.live() == [NEW] * 5


@pytest.mark.parametrize("kept", ["[]", "{", "[" * 100_000, '{"why": "?", "by": "ada", "since": "today"}'])
def test_freeze_that_cannot_be_read_begins_no_rollout_and_can_be_ended(fleet: SimulatedRollouts, kept: str) -> None:
    fleet.rollout("freeze", "api", "test", "the database moves")
    with closing(sqlite3.connect(fleet.path / "operator/release-agent/rollouts.db")) as record, record:
        record.execute("UPDATE frozen SET body = ?", (kept,))

    assert fleet.start().json["error"]["code"] == "record-unreachable"
    assert fleet.live() == [OLD] * 5
    assert fleet.rollout("unfreeze", "api", "test").json["said"] == "rollouts of api in test are not frozen any more"
    assert fleet.start().code == 0


@pytest.mark.parametrize("names", [("../../api", "test"), ("api/x", "test"), ("", "test"), ("api", "_test"), ("api", "\x1b[31m")])
def test_names_that_no_fleet_has_are_not_frozen(fleet: SimulatedRollouts, names: tuple[str, str]) -> None:
    refused = fleet.rollout("freeze", *names, "the database moves")

    assert (refused.code, "must be letters, digits" in refused.err) == (2, True), refused
    assert fleet.rollout("unfreeze", *names).code == 2


def test_names_of_a_fleet_that_was_deployed_to_long_ago_are_not_doubted(fleet: SimulatedRollouts) -> None:
    assert fleet.start().code == 0
    with closing(sqlite3.connect(fleet.path / "operator/release-agent/rollouts.db")) as record, record:
        record.execute("DELETE FROM rollout")  # those of other fleets came since

    assert "check the names" not in fleet.rollout("freeze", "api", "test", "the database moves").json["said"]
