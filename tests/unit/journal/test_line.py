from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Cancelled, Failed, RollbackFailed, RolledBack
from release_agent.model import Kind, Outcome, Stage
from support.runs import Runs

if TYPE_CHECKING:
    from release_agent.journal.journal import StateDatabase


@pytest.fixture
def runs(journal: StateDatabase) -> Runs:
    """Runs that the journal is told of."""
    return Runs(journal)


def test_deployments_add_to_the_line(journal: StateDatabase, runs: Runs) -> None:
    for release in ("1", "2", "3"):
        runs.deploy(release)

    assert journal.line() == ["1", "2", "3"]


def test_a_rollback_goes_back_along_the_line_and_another_further(journal: StateDatabase, runs: Runs) -> None:
    for release in ("1", "2", "3"):
        runs.deploy(release)

    runs.roll_back("2")
    assert journal.line() == ["1", "2"]
    runs.roll_back("1")
    assert journal.line() == ["1"]


def test_a_deployment_after_a_rollback_goes_on_from_there(journal: StateDatabase, runs: Runs) -> None:
    for release in ("1", "2", "3"):
        runs.deploy(release)
    runs.roll_back("1")
    runs.deploy("4")

    assert journal.line() == ["1", "4"]


def test_a_named_rollback_forward_adds_to_the_line(journal: StateDatabase, runs: Runs) -> None:
    for release in ("1", "2", "3"):
        runs.deploy(release)
    runs.roll_back("2")
    runs.roll_back("3")

    assert journal.line() == ["1", "2", "3"]


def test_a_rollback_to_a_release_that_was_live_twice_goes_to_the_later_time(journal: StateDatabase, runs: Runs) -> None:
    for release in ("1", "2", "1", "3"):
        runs.deploy(release)
    runs.roll_back("1")

    assert journal.line() == ["1", "2", "1"]


def test_a_release_deployed_again_is_on_the_line_once_in_a_row(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1")
    runs.deploy("1", Outcome.UNCHANGED)
    runs.deploy("2")
    runs.deploy("2")

    assert journal.line() == ["1", "2"]


@pytest.mark.parametrize("outcome", [RolledBack.outcome, RollbackFailed.outcome, Failed.outcome, Cancelled.outcome, "error"])
def test_failed_ones_were_never_on_the_line(journal: StateDatabase, runs: Runs, outcome: str) -> None:
    runs.deploy("1")
    runs.deploy("2", outcome)
    runs.roll_back("0", outcome)

    assert journal.line() == ["1"]


def test_a_release_that_stayed_live_after_a_failed_run_is_on_the_line_once_another_replaced_it(
    journal: StateDatabase, runs: Runs
) -> None:
    runs.deploy("1")
    runs.deploy("2", RollbackFailed.outcome, previous="1")
    runs.deploy("3", previous="2")
    runs.deploy("3", Outcome.UNCHANGED, previous="3")

    assert journal.line() == ["1", "2", "3"]
    runs.roll_back("2")
    assert journal.line() == ["1", "2"]


def test_a_run_that_never_ended_is_not_on_the_line(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1")
    runs.begin("2", stage=Stage.PUBLISHING)

    assert journal.line() == ["1"]


def test_what_was_live_at_a_time(journal: StateDatabase) -> None:
    for moment, release in ((1000.0, "1"), (2000.0, "2"), (3000.0, "1")):
        journal.published(release, moment)

    assert [journal.live_at(moment) for moment in (900, 1000, 1500, 2500, 9000)] == [None, "1", "1", "2", "1"]


def test_a_process_that_seems_to_have_started_a_moment_before_was_started_by_it(journal: StateDatabase) -> None:
    journal.published("1", 1000.0)
    journal.published("2", 2000.0)

    assert journal.live_at(1999.5) == "2"


def test_the_commits_of_a_tag_are_those_of_its_last_publication(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1")
    moved = runs.begin("1", stage=Stage.PREPARING)
    moved.commits = {"api": "moved"}
    runs.end(moved, "refused")
    assert journal.deployed_commits("v1") == {"api": "commit of 1"}

    accepted = runs.begin("1")
    accepted.commits = {"api": "moved"}
    journal.stage(Stage.PUBLISHING, accepted)
    assert journal.deployed_commits("v1") == {"api": "moved"}
    assert journal.deployed_commits("v2") is None


def test_a_tag_that_was_published_and_taken_back_counts(journal: StateDatabase, runs: Runs) -> None:
    runs.deploy("1", RolledBack.outcome)

    assert journal.deployed_commits("v1") == {"api": "commit of 1"}


@pytest.mark.parametrize("kind", [Kind.BRANCH, Kind.COMMIT])
def test_branches_may_move(journal: StateDatabase, runs: Runs, kind: Kind) -> None:
    runs.deploy("1", kind=kind)

    assert journal.deployed_commits("v1") is None


def test_a_rollback_says_nothing_of_what_its_tag_names(journal: StateDatabase, runs: Runs) -> None:
    runs.roll_back("1")

    assert journal.deployed_commits("v1") is None
