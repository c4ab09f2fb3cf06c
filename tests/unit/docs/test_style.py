"""Pages, docstrings, messages and comments are in plain English, as far as a machine can tell."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest

from support.environment import PROJECT
from support.markdown import page, pages
from support.plain_english import comments, faults, texts

if TYPE_CHECKING:
    from pathlib import Path

MODULES = sorted((PROJECT / "release_agent").rglob("*.py"))
CONFIGURATIONS = [*sorted((PROJECT / "supervisor.d").glob("*.conf")), PROJECT / "Dockerfile"]

EXCEPTIONS = {
    ("docs/architecture.md", "room"),  # the folders of the code are called rooms
}
"""Words that may stay in a page."""

_CODE = re.compile(r"`[^`]*`|<!--.*?-->", re.DOTALL)


def _faults_of(name: str) -> list[str]:
    allowed = {word for place, word in EXCEPTIONS if place == name}
    found = faults(_CODE.sub("", page(name).prose))
    return [fault for fault in found if fault.split("'")[1] not in allowed]


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PROJECT)))
def test_docstrings_messages_and_comments_are_in_plain_english(path: Path) -> None:
    assert [f"line {text.line}: {fault}" for text in texts(path) for fault in faults(text.words)] == []


@pytest.mark.parametrize("path", CONFIGURATIONS, ids=lambda path: path.name)
def test_comments_of_configuration_files_are_in_plain_english(path: Path) -> None:
    assert [f"line {text.line}: {fault}" for text in comments(path) for fault in faults(text.words)] == []


@pytest.mark.parametrize("name", pages())
def test_page_is_in_plain_english(name: str) -> None:
    assert _faults_of(name) == []


@pytest.mark.parametrize(
    ("words", "found"),
    [
        ("Where Consul forgot the service, it is registered again.", "if, when"),
        ("Deploy where nothing is live.", "if, when"),
        ("Restart what is live.", "the live release"),
        ("Its id and age are told.", "the actor as the subject"),
        ("Mend the file.", "fix"),
        ("Take the host back.", "roll back, restore"),
        ("Nothing happens yet.", "a sentence that says an effect, or none"),
        ("Return its code, else 0.", "otherwise"),
        ("It is not well.", "healthy, unhealthy"),
        ("Roll back to the place where releases lie.", None),
    ],
)
def test_words_to_avoid_are_found(words: str, found: str | None) -> None:
    assert [fault.partition(": write ")[2] for fault in faults(words)] == ([found] if found else [])
