"""The agent rebuilds a journal from the releases on disk."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from release_agent.journal.journal import StateDatabase
from release_agent.journal.rebuild import publications, rebuild
from release_agent.model import Release, State
from support.roots import release

Rebuilt = Callable[[dict[int, State], int | None], StateDatabase]

H, F = State.HEALTHY, State.FAILED


@pytest.fixture
def rebuilt(journal: StateDatabase) -> Rebuilt:
    """Rebuild the journal from releases that were published on the day of their number."""

    def from_releases(states: dict[int, State], current: int | None) -> StateDatabase:
        rebuild(journal, _published(states), release(current).name if current else None)
        return journal

    return from_releases


def _published(states: dict[int, State]) -> list[Release]:
    return [release(n, state, published_at=f"2024-01-{n:02d}T00:00:00.000000Z") for n, state in states.items()]


def test_a_journal_is_rebuilt_from_the_releases_there_are(rebuilt: Rebuilt) -> None:
    journal = rebuilt({1: State.HEALTHY, 2: State.FAILED, 3: State.HEALTHY}, 3)

    assert journal.line() == [release(1).name, release(3).name]
    assert journal.unfinished() == []
    assert [(entry["outcome"], entry["trigger"]) for entry in journal.history()] == [
        ("deployed", "rebuilt"),
        ("rolled-back", "rebuilt"),
        ("deployed", "rebuilt"),
    ]
    assert journal.history()[0]["started_at"] == "2024-01-03T00:00:00.000000Z"
    assert journal.last_number() == 3


def test_a_rebuilt_journal_knows_what_tags_named_and_what_was_live_when(rebuilt: Rebuilt) -> None:
    journal = rebuilt({1: State.HEALTHY, 3: State.HEALTHY}, 3)
    second_of_january = 1704153600

    assert journal.deployed_commits("v1.0.0") == release(1).commits
    assert journal.live_at(second_of_january) == release(1).name


def test_a_live_release_that_is_not_the_newest_ends_the_rebuilt_line(rebuilt: Rebuilt) -> None:
    journal = rebuilt({1: State.HEALTHY, 2: State.HEALTHY, 3: State.HEALTHY}, 2)

    assert journal.line() == [release(1).name, release(2).name]
    assert journal.history()[0]["release"] == release(2).name
    assert journal.live_at(4102444800) == release(2).name


def test_releases_that_were_never_published_are_not_in_a_rebuilt_journal(journal: StateDatabase) -> None:
    rebuild(journal, [release(1), release(2, State.BUILT, published_at="2024-01-02T00:00:00.000000Z")], None)

    assert journal.is_empty()


def test_a_failed_release_that_is_live_is_not_on_the_rebuilt_line(rebuilt: Rebuilt) -> None:
    journal = rebuilt({1: State.FAILED, 2: State.HEALTHY}, 1)

    assert journal.line() == [release(2).name]


@pytest.mark.parametrize(
    ("states", "replaced", "current", "order"),
    [
        ({}, {}, None, []),
        ({1: H, 2: H}, {}, None, [(1, "deploy"), (2, "deploy")]),
        ({1: H, 2: H, 3: H}, {3: 1}, 3, [(2, "deploy"), (1, "deploy"), (3, "deploy")]),
        ({1: H, 2: H, 3: H}, {2: 1}, 2, [(1, "deploy"), (2, "deploy"), (3, "deploy"), (2, "rollback")]),
        ({1: F, 2: H}, {}, 1, [(1, "deploy"), (2, "deploy")]),
        ({1: H, 2: H}, {1: 2, 2: 1}, 2, [(1, "deploy"), (2, "deploy")]),
    ],
    ids=["nothing", "nothing live", "replaced an older one", "went back", "failed and live", "replaced each other"],
)
def test_order_in_which_releases_were_live(
    states: dict[int, State], replaced: dict[int, int], current: int | None, order: list[tuple[int, str]]
) -> None:
    releases = [
        replace(each, previous=release(replaced[each.number]).name if each.number in replaced else None)
        for each in _published(states)
    ]

    found = publications(releases, release(current).name if current else None)

    assert [(publication.release.number, publication.action) for publication in found] == order
