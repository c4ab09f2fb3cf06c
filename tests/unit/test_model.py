from __future__ import annotations

from datetime import UTC, datetime

import pytest

from release_agent import errors
from release_agent.errors import Code, Exit, ReleaseError
from release_agent.model import (
    Record,
    State,
    exit_of,
    find_release,
    is_release_name,
    new_id,
    release_name,
    release_number,
    timestamp,
)
from support.roots import release


def test_a_releases_name_is_its_number_and_its_fingerprint() -> None:
    assert release_name(42, "1f3c9ab2d4e5" + "0" * 52) == "000042-1f3c9ab2d4e5"
    assert release_number("000042-1f3c9ab2d4e5") == 42
    assert release_number(release_name(12_345_678, "a" * 64)) == 12_345_678


@pytest.mark.parametrize("name", ["000042-1f3c9ab2d4e5", "1234567-000000000000"])
def test_names_of_releases(name: str) -> None:
    assert is_release_name(name)


@pytest.mark.parametrize(
    "name", ["", "42-1f3c9ab2d4e5", "000042-1F3C9AB2D4E5", "000042-1f3c", "000042-1f3c9ab2d4e5x", "000042", "current"]
)
def test_no_names_of_releases(name: str) -> None:
    assert not is_release_name(name)


def test_a_release_is_found_by_name_number_or_revision() -> None:
    known = [release(1), release(12)]

    assert [find_release(known, named) for named in ("1", "000001", known[0].name, "v1.0.0")] == [known[0]] * 4
    assert find_release(known, "2") is None


def test_of_one_revisions_releases_the_newest_healthy_one_is_meant() -> None:
    first, second = release(1, revision="main"), release(2, revision="main")
    failed = release(3, State.FAILED, revision="main")

    assert find_release([first, second, failed], "main") == second
    assert find_release([release(1, State.FAILED, revision="main"), failed], "main") == failed


def test_a_number_outranks_a_revision_of_that_name() -> None:
    known = [release(1), release(2, revision="1")]

    assert find_release(known, "1") == known[0]


def test_a_record_has_the_shape_that_commands_print() -> None:
    record = Record("d-1", "deployed", "000001-a", "v1", {"api": "c"}, None, 1.23456, {"build": 0.98765}, None)

    assert record.to_json() == {
        "id": "d-1",
        "outcome": "deployed",
        "release": "000001-a",
        "revision": "v1",
        "commits": {"api": "c"},
        "signers": {},
        "previous": None,
        "by": "",
        "seconds": 1.235,
        "phases": [{"name": "build", "seconds": 0.988}],
        "error": None,
    }


def test_a_moment_is_told_in_utc() -> None:
    assert timestamp(datetime(2024, 1, 2, 3, 4, 5, 6, tzinfo=UTC)) == "2024-01-02T03:04:05.000006Z"
    assert datetime.fromisoformat(timestamp()).tzinfo is not None


@pytest.mark.parametrize(
    ("outcome", "code"),
    [
        ("deployed", 0),
        ("unchanged", 0),
        ("error", 1),
        ("misconfigured", 10),
        ("busy", 11),
        ("refused", 12),
        ("failed", 13),
        ("cancelled", 14),
        ("rolled-back", 20),
        ("rollback-failed", 21),
        ("no-target", 22),
        (None, 1),
    ],
)
def test_outcomes_have_the_documented_exit_codes(outcome: str | None, code: int) -> None:
    assert exit_of(outcome) == code


def test_every_kind_of_error_has_the_exit_code_of_its_outcome() -> None:
    kinds = [kind for kind in vars(errors).values() if isinstance(kind, type) and issubclass(kind, ReleaseError)]

    assert len(kinds) > 8
    assert {kind.__name__: exit_of(kind.outcome) for kind in kinds} == {kind.__name__: kind.exit_code for kind in kinds}


def test_an_error_is_told_in_three_parts() -> None:
    error = ReleaseError(Code.BUG, "what happened", hint="what to do")

    assert error.to_json() == {"code": "bug", "message": "what happened", "hint": "what to do"}
    assert (str(error), error.exit_code) == ("what happened", Exit.ERROR)


def test_ids_tell_their_time_and_are_never_the_same() -> None:
    ids = {new_id() for _ in range(100)}

    assert len(ids) == 100
    assert all(len(made) == len("20240101T120000Z-aaaaaa") for made in ids)


@pytest.mark.parametrize(
    ("after", "begin"), [("20241231T235959Z-ffffff", "20"), ("20991231T235959Z-ffffff", "21000101T000000Z-")]
)
def test_id_sorts_after_one_of_a_clock_that_is_ahead(after: str, begin: str) -> None:
    made = new_id(after)

    assert made.startswith(begin)
    assert made > after


def test_id_that_a_person_made_up_is_no_time_to_go_on_from() -> None:
    assert len(new_id("somebody made this up")) == len("20240101T120000Z-aaaaaa")
