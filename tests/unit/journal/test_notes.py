"""The journal's other content, besides the deployments."""

from __future__ import annotations

import json
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.health import Health
from release_agent.model import Freeze, timestamp

if TYPE_CHECKING:
    from release_agent.journal.journal import StateDatabase


def test_reports_wait_in_order_until_they_are_sent(journal: StateDatabase) -> None:
    for number in range(3):
        journal.keep_report({"id": f"d-{number}"})
    sequence = [seq for seq, _ in journal.reports()]
    assert [body["id"] for _, body in journal.reports()] == ["d-0", "d-1", "d-2"]

    journal.forget_report(sequence[1])
    journal.keep_report({"id": "d-3"})

    assert [body["id"] for _, body in journal.reports()] == ["d-0", "d-2", "d-3"]


def test_a_pin_is_set_changed_and_taken_away(journal: StateDatabase) -> None:
    journal.pin("v1")
    assert journal.pinned() == "v1"
    journal.pin("v2")
    assert journal.pinned() == "v2"
    journal.pin(None)
    assert journal.pinned() is None


def test_how_what_is_live_was_last_found(journal: StateDatabase) -> None:
    assert journal.last_found() is None
    journal.found(Health.of("web: no connection", "worker is FATAL"))
    assert (journal.last_found() or {})["problems"] == "web: no connection; worker is FATAL"
    journal.found(Health.of())

    found = journal.last_found()

    assert found is not None
    assert (found["health"], found["problems"]) == ("passing", "")
    assert found["at"].endswith("Z")


def test_what_a_check_found_is_kept_for_who_asked_and_is_no_history(journal: StateDatabase) -> None:
    journal.answer("check-1", {"build": True})

    assert journal.answer_to("check-1") == {"build": True}
    assert journal.answer_to("check-2") is None
    assert journal.history() == []


def test_only_the_last_answers_are_kept(journal: StateDatabase) -> None:
    for number in range(25):
        journal.answer(f"check-{number}", {"number": number})

    kept = [number for number in range(25) if journal.answer_to(f"check-{number}")]

    assert kept == list(range(5, 25))


def test_maintenance_is_kept_until_somebody_ends_it(journal: StateDatabase) -> None:
    assert journal.maintenance() == ""
    journal.maintained("new disks")
    assert journal.maintenance() == "new disks"
    journal.maintained("")
    assert journal.maintenance() == ""


def a_freeze(seconds: float | None) -> Freeze:
    """A freeze that began an hour ago and ends in so many seconds."""
    now = datetime.now(UTC)
    until = "" if seconds is None else timestamp(now + timedelta(seconds=seconds))
    return Freeze("the database moves", "ada", timestamp(now - timedelta(hours=1)), until)


@pytest.mark.parametrize(
    ("seconds", "holds"),
    [
        (3600, True),
        (None, True),
        (-1, False),
        (-(10**9), False),  # the clock has jumped ahead
        (10**9, True),  # it has jumped back: a person ends it
    ],
)
def test_a_freeze_holds_until_its_end(journal: StateDatabase, seconds: float | None, holds: bool) -> None:
    frozen = a_freeze(seconds)
    journal.freeze(frozen)

    assert journal.frozen() == (frozen if holds else None)


def test_a_freeze_is_replaced_and_ended(journal: StateDatabase) -> None:
    assert journal.frozen() is None
    journal.freeze(a_freeze(None))
    journal.freeze(a_freeze(3600))
    assert (journal.frozen() or a_freeze(None)).until
    journal.freeze(None)
    assert journal.frozen() is None


@pytest.mark.parametrize("kept", ["", "{", "[]", "{}", '{"why": 1}', '{"why": "", "by": "", "since": "today"}'])
def test_a_freeze_that_no_agent_wrote_is_a_broken_journal(journal: StateDatabase, kept: str) -> None:
    journal.write("INSERT INTO setting VALUES ('freeze', ?)", (kept,))

    with pytest.raises(Failed) as broken:
        journal.require_understood()
    assert broken.value.code is Code.JOURNAL_BROKEN


def test_a_newer_agents_freeze_is_read(journal: StateDatabase) -> None:
    kept = json.dumps(a_freeze(None).to_json() | {"teams": ["db"]})
    journal.write("INSERT INTO setting VALUES ('freeze', ?)", (kept,))

    assert (journal.frozen() or a_freeze(1)).by == "ada"
