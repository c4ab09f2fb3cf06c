"""The output of commands: streamed line by line, and its end kept."""

from __future__ import annotations

import gc
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from release_agent.system.clock import SystemClock
from release_agent.system.command import CommandResult, CommandRunner

if TYPE_CHECKING:
    from collections.abc import Callable

KEPT = 64 * 1024
LONGEST_LINE = 8 * 1024
ENVIRONMENT = {"PATH": os.environ["PATH"]}


class Said:
    """The lines that a command said, and how it ended."""

    def __init__(self, directory: Path, command: str, on_line: Callable[[str], object] | None = None) -> None:
        self.lines: list[str] = []

        def take(line: str) -> None:
            self.lines.append(line)
            if on_line:
                on_line(line)

        self.ended: CommandResult = CommandRunner(SystemClock(), take).run(command, 60, directory, ENVIRONMENT)


def test_lines_are_told_in_order_without_their_ends(tmp_path: Path) -> None:
    assert Said(tmp_path, "echo one; echo; echo two").lines == ["one", "", "two"]


def test_a_last_line_without_its_end_is_told_too(tmp_path: Path) -> None:
    said = Said(tmp_path, "printf 'one\\ntwo'")

    assert said.lines == ["one", "two"]
    assert said.ended.output == "one\ntwo"


def test_a_command_that_says_nothing_has_no_lines(tmp_path: Path) -> None:
    said = Said(tmp_path, "true")

    assert (said.lines, said.ended.output) == ([], "")


def test_lines_are_told_while_the_command_runs(tmp_path: Path) -> None:
    heard = tmp_path / "heard"

    said = Said(tmp_path, "echo ready; while [ ! -e heard ]; do sleep 0.01; done; echo done", lambda _line: heard.touch())

    assert said.ended.well
    assert said.lines == ["ready", "done"]


def test_the_pieces_of_a_line_are_put_together(tmp_path: Path) -> None:
    said = Said(tmp_path, "printf 'a'; sleep 0.1; printf 'b'; sleep 0.1; echo c")

    assert said.lines == ["abc"]


def test_what_was_said_just_before_the_end_is_not_lost(tmp_path: Path) -> None:
    said = Said(tmp_path, "seq 10000")

    assert said.lines == [str(number) for number in range(1, 10001)]
    assert said.ended.output == "".join(f"{line}\n" for line in said.lines)


def test_the_last_64_kib_are_kept(tmp_path: Path) -> None:
    said = Said(tmp_path, "seq 100000")
    whole = "".join(f"{number}\n" for number in range(1, 100001))

    assert len(said.lines) == 100000
    assert said.ended.output == whole[-KEPT:]


def test_lines_without_number_are_told_up_to_a_limit_and_their_end_is_kept(tmp_path: Path) -> None:
    said = Said(tmp_path, "seq 1000000")
    whole = "".join(f"{number}\n" for number in range(990000, 1000001))

    assert said.lines[:-1] == [str(number) for number in range(1, 100001)]
    assert said.lines[-1].startswith("… more than 100000 lines: the rest is not logged")
    assert said.ended.output == whole[-KEPT:]


def test_ten_megabytes_without_a_line_break_are_no_burden(tmp_path: Path) -> None:
    said = Said(tmp_path, "head -c 10000000 /dev/zero | tr '\\0' x")

    assert said.ended.well
    assert said.ended.output == "x" * KEPT
    assert set(map(len, said.lines)) <= set(range(LONGEST_LINE + 1))
    assert sum(map(len, said.lines)) <= 10000000


def test_a_very_long_line_is_told_by_its_beginning(tmp_path: Path) -> None:
    said = Said(tmp_path, "printf 'begin'; head -c 20000 /dev/zero | tr '\\0' x; echo; echo next")

    assert said.lines[0][:10] == "beginxxxxx"
    assert said.lines[-1] == "next"
    assert max(map(len, said.lines)) <= LONGEST_LINE
    assert len(said.ended.output) == len("begin") + 20000 + len("\nnext\n")


@pytest.mark.parametrize(
    ("printed", "read"), [("\\377x", "\ufffdx"), ("a\\300\\200b", "a\ufffd\ufffdb"), ("\\303\\274\\342\\234\\223", "ü✓")]
)
def test_what_is_no_utf_8_is_marked_and_what_is_is_read(tmp_path: Path, printed: str, read: str) -> None:
    said = Said(tmp_path, f"printf '{printed}\\n'")

    assert said.lines == [read]
    assert said.ended.output == read + "\n"


def test_a_letter_that_arrives_in_two_pieces_is_one_letter(tmp_path: Path) -> None:
    said = Said(tmp_path, "printf '\\342\\234'; sleep 0.1; printf '\\223\\n'")

    assert said.lines == ["✓"]


def test_command_that_closed_its_output_costs_no_descriptor_a_wait(tmp_path: Path) -> None:
    gc.collect()
    gc.disable()  # which would close what nobody needs any more
    try:
        before = len(list(Path("/proc/self/fd").iterdir()))
        Said(tmp_path, "exec >&- 2>&-; sleep 1")
        assert len(list(Path("/proc/self/fd").iterdir())) <= before + 3  # the runner's own
    finally:
        gc.enable()
