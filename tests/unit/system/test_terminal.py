from __future__ import annotations

import fcntl
import io
import os
import struct
import termios

import pytest

from release_agent.system.terminal import Cell, Style, Terminal


def rows(*words: str) -> list[list[Cell]]:
    return [[Cell(word) for word in line.split("|")] for line in words]


def table(columns: int, *words: str) -> list[str]:
    return list(Terminal(columns, coloured=False).table(rows(*words)))


def opened(columns: int) -> Terminal | None:
    """Return what is found behind a stream on a terminal of this width."""
    master, slave = os.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 24, columns, 0, 0))
    with os.fdopen(slave, "w", encoding="utf-8") as stream:
        terminal = Terminal.of(stream)
    os.close(master)
    return terminal


def test_columns_are_aligned() -> None:
    assert table(80, "deployed|3 h ago|v1.1.0", "failed|12 min ago|v1") == [
        "deployed  3 h ago     v1.1.0",
        "failed    12 min ago  v1",
    ]


def test_column_that_no_row_fills_takes_no_room() -> None:
    assert table(80, "a||b", "c||d") == ["a  b", "c  d"]
    assert table(80, "") == []
    assert table(80) == []


def test_rows_that_are_too_wide_go_on_below_all_of_them_from_the_same_cell_on() -> None:
    assert table(40, "open|twenty-four columns wide|id-1", "deployed|a|id-2") == [
        "open      twenty-four columns wide  id-1",
        "deployed  a                         id-2",
    ]
    assert table(39, "open|twenty-four columns wide|id-1", "deployed|a|id-2") == [
        "open      twenty-four columns wide",
        "          id-1",
        "deployed  a",
        "          id-2",
    ]


def test_row_that_has_nothing_more_to_say_has_no_empty_line() -> None:
    assert table(20, "a|b|this is a long cause", "c|d|") == ["a  b", "this is a long cause", "c  d"]


@pytest.mark.parametrize("columns", [1, 2, 3, 10, 26, 27, 79, 200])
def test_no_line_is_wider_than_the_terminal(columns: int) -> None:
    lines = table(columns, f"deployed|{'日' * 90}|v1|{'x' * 500}", "open||e\u0301|")

    assert lines
    assert max(Cell(line).width for line in lines) <= columns


def test_wide_characters_and_accents_do_not_shift_the_columns() -> None:
    assert table(80, "日本|a", "e\u0301|b", "1234|c") == ["日本  a", "e\u0301     b", "1234  c"]
    assert Cell("日本日本").cut(6) == Cell("日本…")


def test_colours_do_not_shift_the_columns() -> None:
    cells = [Cell("failed", Style.RED), Cell("", Style.BOLD), Cell("x"), Cell("y", Style.DIM)]

    (line,) = Terminal(80, coloured=True).table([cells])

    assert line == "\x1b[31mfailed\x1b[0m  x  \x1b[2my\x1b[0m"


@pytest.mark.parametrize(
    ("environment", "coloured"),
    [
        ({"TERM": "xterm"}, True),
        ({"TERM": "xterm", "NO_COLOR": ""}, True),
        ({"TERM": "xterm", "NO_COLOR": "1"}, False),
        ({"TERM": "dumb"}, False),
        ({}, False),
    ],
)
def test_terminal_has_its_own_width_and_the_colours_that_it_takes(
    monkeypatch: pytest.MonkeyPatch, environment: dict[str, str], coloured: bool
) -> None:
    for name in ("TERM", "NO_COLOR"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)

    assert opened(57) == Terminal(57, coloured)


def test_terminal_that_does_not_know_its_width_has_the_usual_one() -> None:
    terminal = opened(0)

    assert terminal
    assert terminal.columns == 80


def test_file_and_pipe_are_no_terminal(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TERM", "xterm")

    assert Terminal.of(io.StringIO()) is None
