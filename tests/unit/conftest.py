"""Fixtures of unit tests: a root, a journal."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.journal.journal import StateDatabase
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


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
