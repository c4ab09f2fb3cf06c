"""A file replaced by what it should not be."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from support.attacked import remove

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def a_link(place: Path) -> None:
    """Link to what was there, which lies elsewhere now."""
    elsewhere = place.parent / f"{place.name}-elsewhere"
    remove(elsewhere)
    if os.path.lexists(place):
        place.rename(elsewhere)
    place.symlink_to(elsewhere)


def a_huge_file(place: Path) -> None:
    """Make a file of 80 MiB that takes no room, and is larger than anything that is read whole."""
    with place.open("wb") as file:
        file.truncate(80 << 20)


KINDS: dict[str, Callable[[Path], object]] = {
    "pipe": os.mkfifo,
    "link": a_link,
    "directory": lambda place: (place / "inner").mkdir(parents=True),
    "empty file": lambda place: place.touch(),
    "huge file": a_huge_file,
}


def replace(place: Path, kind: str) -> None:
    """Put another kind of file into a place."""
    if kind != "link":
        remove(place)
    KINDS[kind](place)
