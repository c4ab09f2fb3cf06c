"""pip installs the manual page, groff formats it without a warning, and it has all commands."""

from __future__ import annotations

import re
import subprocess

import pytest

from release_agent.cli.commands import COMMANDS
from release_agent.cli.main import parser
from release_agent.errors import Exit
from support.environment import BIN, PROJECT

INSTALLED = BIN.parent / "share" / "man" / "man1" / "release-agent.1"


@pytest.fixture(scope="module")
def shown() -> str:
    """The page as a terminal shows it, without bold and italics."""
    command = ["groff", "-man", "-ww", "-Tutf8", "-P-cbou", INSTALLED]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    assert done.stderr == ""
    return done.stdout


def test_installed_page_is_the_one_of_the_tree() -> None:
    assert INSTALLED.read_text() == (PROJECT / "man" / "release-agent.1").read_text()


def test_page_has_its_sections_in_the_usual_order(shown: str) -> None:
    assert re.findall("^[A-Z][A-Z ]+$", shown, re.MULTILINE) == [
        *("NAME", "SYNOPSIS", "DESCRIPTION", "OPTIONS", "COMMANDS", "EXIT STATUS", "ENVIRONMENT", "FILES", "SEE ALSO"),
    ]


def test_page_has_every_command_and_verb(shown: str) -> None:
    titles = re.findall("^   ([a-z]+(?: [a-z]+)*)$", shown, re.MULTILINE)

    assert titles == [one.prog.removeprefix("release-agent ") for one in parser().all()][1:]
    assert set(titles) > set(COMMANDS)


def test_page_has_every_exit_code(shown: str) -> None:
    section = shown.partition("\nEXIT STATUS\n")[2].partition("\nENVIRONMENT\n")[0]

    assert [int(number) for number in re.findall(r"^       (\d+) ", section, re.MULTILINE)] == list(Exit)
