"""Every command's help ends with examples, and each example is a valid command line."""

from __future__ import annotations

import shlex

import pytest

from release_agent.cli.main import parser

PARSERS = {one.prog: one for one in parser().all()}


@pytest.mark.parametrize("prog", PARSERS)
def test_help_says_what_it_is_for_and_ends_with_examples(prog: str) -> None:
    shown = PARSERS[prog].format_help()

    assert PARSERS[prog].description
    _, found, examples = shown.partition("\nexamples:\n")
    assert found
    lines = [line for line in examples.splitlines() if not line.startswith("      ")]
    assert lines
    assert all(line.startswith(f"  {prog}") for line in lines)


def examples() -> list[str]:
    return [line for one in PARSERS.values() for line in one.examples]


@pytest.mark.parametrize("line", sorted(set(examples())))
def test_example_is_a_command_line_that_is_right(line: str) -> None:
    words = shlex.split(line.partition(" < ")[0].partition(" > ")[0])
    if "--help" in words:
        words.remove("--help")

    assert parser().parse_args(words[1:]).command == words[1]


@pytest.mark.parametrize("prog", PARSERS)
def test_help_fits_a_terminal_of_100_columns(prog: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")

    assert max(map(len, PARSERS[prog].format_help().splitlines())) <= 100
