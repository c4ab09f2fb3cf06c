"""Clients that follow a run can read the output of its hooks, and never disturb the run."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from release_agent.store.output import RunOutput, read

if TYPE_CHECKING:
    from pathlib import Path


def writer(place: Path, redact: dict[str, str] | None = None, *, run: str = "d-1") -> RunOutput:
    return RunOutput(place, run, lambda text: (redact or {}).get(text, text))


def said(identity: str, line: str) -> dict[str, object]:
    return {"event": "hook.output", "id": identity, "line": line}


def test_what_a_hook_says_is_read_piece_by_piece(tmp_path: Path) -> None:
    output = writer(tmp_path / "output")
    output.take(said("d-1", "one"))
    first, after = read(tmp_path / "output", "d-1", 0)
    output.take(said("d-1", "größer\nzwei"))
    second, end = read(tmp_path / "output", "d-1", after)

    assert ([event["line"] for event in first], [event["line"] for event in second]) == (["one"], ["größer\nzwei"])
    assert read(tmp_path / "output", "d-1", end) == ([], end)


def test_another_deployments_hooks_and_other_events_are_not_shown(tmp_path: Path) -> None:
    output = writer(tmp_path / "output", run="d-2")
    output.take(said("d-1", "recovered"))
    output.take({"event": "release.built", "id": "d-2"})
    output.take(said("d-2", "own"))

    assert [event["line"] for event in read(tmp_path / "output", "d-2", 0)[0]] == ["own"]


def test_a_run_is_followed_from_its_beginning_though_the_file_of_the_run_before_was_seen(tmp_path: Path) -> None:
    before = writer(tmp_path / "output", run="d-1")
    for _ in range(20):
        before.take(said("d-1", "x" * 8000))
    _, after = read(tmp_path / "output", "d-2", 0)

    writer(tmp_path / "output", run="d-2").take(said("d-2", "own"))

    assert [event["line"] for event in read(tmp_path / "output", "d-2", after)[0]] == ["own"]


def test_a_secret_is_not_in_it(tmp_path: Path) -> None:
    writer(tmp_path / "output", {"hunter2": "[secret]"}).take(said("d-1", "hunter2"))

    assert "hunter2" not in (tmp_path / "output").read_text()


def test_a_run_begins_a_new_file_and_follows_no_link(tmp_path: Path) -> None:
    (tmp_path / "precious").write_text("kept")
    (tmp_path / "output").symlink_to("precious")

    writer(tmp_path / "output").take(said("d-1", "one"))

    assert (tmp_path / "precious").read_text() == "kept"
    assert [event["line"] for event in read(tmp_path / "output", "d-1", 0)[0]] == ["one"]


def test_a_line_is_read_once_it_is_whole(tmp_path: Path) -> None:
    writer(tmp_path / "output").take(said("d-1", "one"))
    data = (tmp_path / "output").read_bytes()
    (tmp_path / "output").write_bytes(data + b'{"event": "hook.out')

    assert read(tmp_path / "output", "d-1", 0)[1] == len(data)


@pytest.mark.parametrize("kind", ["missing", "pipe", "link", "directory", "garbage", "list", "replaced"])
def test_what_is_no_output_shows_nothing(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "output"
    if kind == "pipe":
        os.mkfifo(place)
    elif kind == "directory":
        place.mkdir()
    elif kind == "link":
        writer(tmp_path / "real").take(said("d-1", "one"))
        place.symlink_to("real")
    elif kind != "missing":
        place.write_bytes({"garbage": b"d-1\n\xff\n{\n", "list": b"d-1\n[1]\n", "replaced": b'-1", "line": 1}\n'}[kind])

    assert read(place, "d-1", 0)[0] == []


@pytest.mark.parametrize("kind", ["directory", "nowhere"])
def test_where_it_cannot_be_written_nobody_is_disturbed(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "output" if kind == "directory" else tmp_path / "nowhere" / "output"
    if kind == "directory":
        place.mkdir()
    output = writer(place)

    output.take(said("d-1", "one"))
    output.take(said("d-1", "two"))
    output.close()


def test_a_hook_that_says_too_much_does_not_fill_the_disk(tmp_path: Path) -> None:
    output = writer(tmp_path / "output")
    for _ in range(400):
        output.take(said("d-1", "x" * 8000))

    assert (tmp_path / "output").stat().st_size <= 1 << 20


def test_an_event_that_is_larger_than_a_piece_does_not_hold_up_those_behind_it(tmp_path: Path) -> None:
    output = writer(tmp_path / "output")
    output.take(said("d-1", "x" * 100_000))
    output.take(said("d-1", "behind"))

    events, _ = read(tmp_path / "output", "d-1", 0)

    assert [event["line"][-6:] for event in events] == ["xxxxxx", "behind"]


def test_hooks_that_say_too_much_leave_room_for_the_phases(tmp_path: Path) -> None:
    output = writer(tmp_path / "output")
    for _ in range(200):
        output.take(said("d-1", "x" * 8000))
    output.take({"event": "phase.finished", "id": "d-1", "phase": "hooks", "seconds": 1.5})

    events, end = read(tmp_path / "output", "d-1", 0)
    while events[-1]["event"] == "hook.output":
        events, end = read(tmp_path / "output", "d-1", end)

    assert (events[-1]["phase"], events[-1]["seconds"]) == ("hooks", 1.5)
    assert (tmp_path / "output").stat().st_size <= 1 << 20


@pytest.mark.parametrize(
    "written", ['{"id": "d-1"}', '{"id": "d-1", "event": 1}', '{"id": "d-1", "event": "phase.finished"}', "[]", "x"]
)
def test_what_a_hook_wrote_into_the_file_is_no_event(tmp_path: Path, written: str) -> None:
    (tmp_path / "output").write_text(f"d-1\n{written}\n")

    assert read(tmp_path / "output", "d-1", 0)[0] == []
