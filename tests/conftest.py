"""Shared by all tests."""

from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

sys.path.insert(0, str(Path(__file__).parent))

from support.environment import FOREIGN

if TYPE_CHECKING:
    from collections.abc import Iterator

# Files with tests that take long, the longest first.
_LONG = ("test_real_hosts", "test_operator", "test_interruption", "test_record", "test_rollout_consul", "test_sabotage")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Begin with the tests that take long: one that begins last would keep every other worker waiting."""
    items.sort(key=_turn)


def _turn(item: pytest.Item) -> tuple[int, bool]:
    name = item.path.stem
    return (_LONG.index(name) if name in _LONG else len(_LONG), "unit" in item.path.parts)


@pytest.fixture(autouse=True)
def _clean_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing of the machine's git, Consul or supervisor shows."""
    for name in [name for name in os.environ if name.startswith(FOREIGN)]:
        monkeypatch.delenv(name)


@pytest.fixture
def open_place() -> Iterator[Path]:
    """A directory in which every user may work."""
    made = Path(tempfile.mkdtemp(prefix="release-agent-test-"))
    made.chmod(0o777)
    yield made
    shutil.rmtree(made)
