"""The pictures in the tree are those that scripts/pictures draws, and each has a description in words."""

from __future__ import annotations

import runpy
import sys
import xml.etree.ElementTree as ET
from typing import TYPE_CHECKING

import pytest

from support.environment import PROJECT

if TYPE_CHECKING:
    from pathlib import Path

MADE: dict[Path, str] = runpy.run_path(str(PROJECT / "scripts" / "pictures"))["made"]()
NAME = "{http://www.w3.org/2000/svg}"


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_picture_is_what_its_script_draws(path: Path) -> None:
    assert path.read_text(encoding="utf-8") == MADE[path]


@pytest.mark.parametrize("path", MADE, ids=lambda path: path.name)
def test_picture_is_told_to_who_does_not_see_it_and_has_a_ground_and_a_dark_dress(path: Path) -> None:
    root = ET.fromstring(MADE[path])  # noqa: S314 - our own
    words = {
        element.get("id"): element.text
        for element in (root.find(f"{NAME}title"), root.find(f"{NAME}desc"))
        if element is not None
    }

    assert all(words[name] for name in (root.get("aria-labelledby") or "").split())
    assert root.find(f"{NAME}rect").get("class") == "ground"  # type: ignore[union-attr]
    assert "prefers-color-scheme: dark" in MADE[path]


def test_words_that_do_not_fit_their_card_are_not_drawn() -> None:
    picture = sys.modules["svg"].Picture(100, "title", "description")
    picture.card("plain", (0, 0, 60, 60), "Build", "files")

    with pytest.raises(ValueError, match="does not fit"):
        picture.card("plain", (0, 0, 60, 60), "Build", "files of the commit")
