"""What unit tests share: a clean environment, a repository, a root, a clock that tests move."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.journal.journal import StateDatabase
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Repository:
    """A repository that nobody changes, with one commit, tagged v1.0.0."""
    made = Repository(tmp_path_factory.mktemp("template") / "api")
    made.commit({"app.py": "print('one')\n"}, tag="v1.0.0")
    return made


@pytest.fixture
def repo(template: Repository, tmp_path: Path) -> Repository:
    """A repository with one commit, tagged v1.0.0."""
    return Repository.copied(template, tmp_path / "repos" / "api")


@pytest.fixture
def scratch(tmp_path: Path) -> Path:
    """A directory of the agent's own, for git's views."""
    made = tmp_path / "scratch"
    made.mkdir()
    return made


@pytest.fixture
def root(tmp_path: Path) -> Root:
    """An application's root, prepared and empty."""
    made = Root(tmp_path / "root", SystemClock())
    made.prepare()
    return made


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[StateDatabase]:
    """A journal that is written."""
    with StateDatabase(tmp_path / "state.db", write=True) as made:
        yield made
