"""Make the configurations that tests start from."""

from __future__ import annotations

import tomllib
from typing import TYPE_CHECKING

from release_agent.config import load, sections

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.schema import Problem

APP = '[app]\nname = "api"\nenvironment = "production"\nroot = "/srv/api"\n'
REPOSITORY = '[[repository]]\nname = "api"\npath = "/repos/api"\n'
MINIMAL = APP + REPOSITORY


def problems_of(text: str) -> list[str]:
    """Return the problems of a document."""
    problems: list[Problem] = []
    load.parse(tomllib.loads(text), problems, {})
    return [str(problem) for problem in problems]


def configuration(
    extra: str = "", *, app: str = APP, repository: str = REPOSITORY, environ: dict[str, str] | None = None
) -> sections.Config:
    """Return the configuration of a document without problems."""
    problems: list[Problem] = []
    made = load.parse(tomllib.loads(app + repository + extra), problems, environ or {})
    assert not problems
    return made


def write(path: Path, text: str) -> str:
    """Write a file and return its path as text."""
    path.write_text(text, encoding="utf-8")
    return str(path)
