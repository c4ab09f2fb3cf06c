"""A file replaced by what it should not be, or covered by a mount."""

from __future__ import annotations

import os
import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.attacked import remove

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


def a_link(place: Path, elsewhere: Path | None = None) -> None:
    """Link to what was there, which lies elsewhere now."""
    elsewhere = elsewhere or place.parent / f"{place.name}-elsewhere"
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


MOUNTS = ("tmpfs", "directory of others", "dying disk")


@contextmanager
def mounted(place: Path, kind: str, others: Path) -> Iterator[None]:
    """Cover a place by a mount: an empty tmpfs, the directory ``others``, or a file whose reading fails with EIO."""
    remove(place)
    if kind == "dying disk":
        place.touch()
        mount = ["--bind", "/proc/1/mem"]
    else:
        place.mkdir()
        mount = ["-t", "tmpfs", "tmpfs"] if kind == "tmpfs" else ["--bind", str(others)]
    subprocess.run(["mount", *mount, place], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "--lazy", place], check=True)
