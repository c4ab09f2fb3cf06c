"""The page "Deploy without losing a request" agrees with supervisor.d/examples."""

from __future__ import annotations

import configparser
import itertools
import re
import tomllib

import pytest

from support.environment import PROJECT
from support.markdown import page, slug

PAGE = page("docs/guides/without-losing-a-request.md")
SECTIONS = PAGE.headings()[1:]
EXAMPLES = {path.name: path.read_text() for path in (PROJECT / "supervisor.d" / "examples").glob("*.conf")}
ROWS = [re.findall(r"\[([^\]]+)\]\(([^)]+)\)", f"{row[0]} {row[1]}") for row in PAGE.rows()]


def programs(text: str) -> set[str]:
    """Return the programs of a file of supervisor's."""
    parser = configparser.RawConfigParser(inline_comment_prefixes=(" ;",))
    parser.read_string(text)
    return {section.partition(":")[2] for section in parser.sections()}


def settings(text: str, *, commented: bool) -> set[str]:
    """Return the settings of a file: those with a comment above them, or those without."""
    lines = text.splitlines()
    pairs = itertools.pairwise(lines)
    return {line.partition("=")[0] for above, line in pairs if re.match(r"\w+=", line) and above.startswith(";") == commented}


def test_every_example_has_its_row_and_its_section_and_no_other() -> None:
    assert sorted(file for _, (file, _) in ROWS) == sorted(EXAMPLES)
    assert [link.removeprefix("#") for (_, link), _ in ROWS] == [slug(title) for title in SECTIONS]


@pytest.mark.parametrize("title", SECTIONS)
def test_services_of_a_section_are_programs_of_the_examples(title: str) -> None:
    (toml,) = PAGE.section(title).examples("toml")

    named = {service["name"] for service in tomllib.loads(toml)["service"]}
    assert named <= {program for text in EXAMPLES.values() for program in programs(text)}


@pytest.mark.parametrize("name", EXAMPLES)
def test_settings_without_a_comment_are_in_the_example_of_a_service(name: str) -> None:
    service = (PROJECT / "supervisor.d" / "example-service.conf").read_text()

    assert settings(EXAMPLES[name], commented=False) <= settings(service, commented=True) | settings(service, commented=False)
