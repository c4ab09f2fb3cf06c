from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Cancelled, Code, Failed, RolledBack
from release_agent.journal.journal import HookRun
from release_agent.model import Action, Deployed, Outcome, Request, Stage
from support.runs import NOON, Runs

if TYPE_CHECKING:
    from release_agent.journal.journal import StateDatabase


@pytest.fixture
def runs(journal: StateDatabase) -> Runs:
    """Runs that the journal is told of."""
    return Runs(journal)


def test_an_empty_journal_knows_nothing(journal: StateDatabase) -> None:
    assert journal.is_empty()
    assert (journal.line(), journal.history(), journal.unfinished(), journal.reports()) == ([], [], [], [])
    assert (journal.running(), journal.pinned(), journal.live_at(0)) == (None, None, None)
    assert (journal.deployed_commits("v1"), journal.last_number(), journal.stage_of("d-1")) == (None, 0, None)


def test_a_number_is_never_given_twice(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("000009-aaaaaaaaaaaa", Failed.outcome)
    runs.deploy("000010-aaaaaaaaaaaa", Failed.outcome)
    runs.roll_back("000002-aaaaaaaaaaaa")

    assert journal.last_number() == 10


def test_open_runs_are_told_oldest_first_with_all_that_recovery_needs(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1")
    runs.begin("2")
    record = runs.begin("3", Action.ROLLBACK, Stage.REVERTING)

    first, second = journal.unfinished()

    assert (first.request, first.stage, first.record.release) == (Request("d-2", revision="v2"), Stage.PREPARING, None)
    assert (second.request.action, second.stage, second.kind) == (Action.ROLLBACK, Stage.REVERTING, None)
    assert second.record == record


def test_the_phase_of_a_run(journal: StateDatabase, runs: Runs) -> None:
    first = runs.begin("1")
    second = runs.begin("2", stage=Stage.PUBLISHING)
    journal.phase("build", first)
    journal.phase("restart", second)

    assert journal.running() == (second.id, "restart")
    assert (journal.stage_of(first.id), journal.stage_of(second.id)) == (Stage.PREPARING, Stage.PUBLISHING)
    runs.end(second, Outcome.DEPLOYED)
    assert journal.running() == (first.id, "build")


def test_what_is_known_of_an_open_run_so_far_is_in_history(journal: StateDatabase, runs: Runs) -> None:
    record = runs.begin("1")
    record.phases["build"] = 2.5
    journal.phase("sync", record)

    (entry,) = journal.history()

    assert entry == record.to_json() | {"action": "deploy", "trigger": "command", "started_at": NOON}
    assert entry["phases"] == [{"name": "build", "seconds": 2.5}]


def test_history_is_newest_first_in_the_shape_of_deploy_with_trigger_and_start(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1")
    record = runs.deploy("2", RolledBack.outcome)
    runs.begin("3", stage=Stage.PUBLISHING)

    newest, second, first = journal.history()

    assert second == record.to_json() | {"action": "deploy", "trigger": "command", "started_at": NOON}
    assert (newest["outcome"], newest["release"], newest["revision"]) == (None, "3", "v3")
    assert newest.keys() == first.keys() == second.keys()
    assert [entry["id"] for entry in journal.history(2)] == ["d-3", "d-2"]


def test_a_run_that_only_began_is_in_history_with_what_was_asked(journal: StateDatabase) -> None:
    journal.begin(Request("d-1", Action.ROLLBACK, trigger="rpc"), NOON)

    (entry,) = journal.history()

    assert (entry["revision"], entry["release"], entry["trigger"], entry["action"]) == (None, None, "rpc", "rollback")
    assert not journal.is_empty()


def test_closing_again_tells_more(journal: StateDatabase, runs: Runs) -> None:
    record = runs.deploy("1")
    record.phases["report"] = 1.5
    runs.end(record, Outcome.DEPLOYED)

    assert journal.history()[0]["phases"] == [{"name": "report", "seconds": 1.5}]


def test_hooks_are_kept_in_order_each_with_its_run(journal: StateDatabase) -> None:
    journal.hook("d-1", "build", "make", "exited with 0", "ünï\x1b[31m")
    journal.hook("d-2", "build", "make", "exited with 0", "")
    journal.hook("d-1", "after_deploy", "notify", "exited with 3", "no")

    assert journal.hooks_of("d-1") == [
        HookRun("build", "make", "exited with 0", "ünï\x1b[31m"),
        HookRun("after_deploy", "notify", "exited with 3", "no"),
    ]


def test_one_deployment_as_history_shapes_it(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1")
    runs.deploy("2")

    assert journal.entry("d-1") == journal.history()[1]
    assert journal.entry("d-9") is None


def test_newest_run_that_made_its_release_live(journal: StateDatabase, runs: Runs) -> None:
    assert journal.last_deployed() is None
    runs.deploy("1")
    runs.roll_back("1")
    runs.deploy("2", RolledBack.outcome)
    runs.deploy("1", Outcome.UNCHANGED)
    runs.begin("3", stage=Stage.PUBLISHING)

    assert journal.last_deployed() == Deployed("1", "rollback", "command")


def test_commits_count_as_tried_however_that_ended(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1", Failed.outcome)
    runs.roll_back("2")

    assert journal.was_tried({"api": "commit of 1"})
    assert not journal.was_tried({"api": "commit of 2"}), "a rollback tries nothing"
    assert not journal.was_tried({"api": "commit of 3"})


def test_commits_whose_deployment_was_killed_and_undone_count_as_untried(journal: StateDatabase, runs: Runs) -> None:
    for release, code in (("1", Code.INTERRUPTED), ("2", Code.CANCELLED)):
        record = runs.begin(release)
        journal.phase("build", record)
        assert journal.was_tried(record.commits), "perhaps it still runs"
        record.error = Cancelled(code, "stopped").to_json()
        runs.end(record, Cancelled.outcome)

    assert not journal.was_tried({"api": "commit of 1"})
    assert journal.was_tried({"api": "commit of 2"}), "a person has stopped it"


def test_commits_whose_deployment_lost_its_supervisor_count_as_untried(journal: StateDatabase, runs: Runs) -> None:
    record = runs.begin("1")
    journal.phase("build", record)
    record.error = Failed(Code.SUPERVISOR_UNREACHABLE, "supervisor is shutting down").to_json()
    runs.end(record, Failed.outcome)

    assert not journal.was_tried(record.commits)


def test_commits_whose_deployment_was_killed_three_times_count_as_tried(journal: StateDatabase, runs: Runs) -> None:
    tried = []
    for number in range(3):
        record = runs.begin(str(number))
        record.commits = {"api": "c0ffee"}
        journal.phase("build", record)
        record.error = Cancelled(Code.INTERRUPTED, "stopped").to_json()
        runs.end(record, Cancelled.outcome)
        tried.append(journal.was_tried(record.commits))

    assert tried == [False, False, True], "perhaps it kills its container"


def test_error_without_a_code_is_no_killed_run(journal: StateDatabase, runs: Runs) -> None:
    record = runs.begin("1")
    journal.phase("build", record)
    record.error = {"message": "of another agent"}
    runs.end(record, Cancelled.outcome)

    assert journal.was_tried(record.commits)
