"""What the journal keeps beside the deployments."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.health import Health

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
