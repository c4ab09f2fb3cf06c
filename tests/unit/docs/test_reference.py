"""The reference in the tree is the one that scripts/reference writes."""

from __future__ import annotations

import runpy
from typing import TYPE_CHECKING

import pytest

from support.environment import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

MADE: dict[Path, str] = runpy.run_path(str(PROJECT / "scripts" / "reference"))["made"]()


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_file_is_what_scripts_reference_writes(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == MADE[path]
