"""Replace a file by another kind of file, or cover it by a mount."""

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
    """Move a file elsewhere, and make a link to it in its place."""
    elsewhere = elsewhere or place.parent / f"{place.name}-elsewhere"
    remove(elsewhere)
    if os.path.lexists(place):
        place.rename(elsewhere)
    place.symlink_to(elsewhere)


def a_huge_file(place: Path) -> None:
    """Make a sparse file of 80 MiB, larger than any file that the agent reads completely."""
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
    """Replace a file by another kind of file."""
    if kind != "link":
        remove(place)
    KINDS[kind](place)


MOUNTS = ("tmpfs", "directory of others", "dying disk")


@contextmanager
def mounted(place: Path, kind: str, others: Path) -> Iterator[None]:
    """Cover a path by a mount: an empty tmpfs, the directory ``others``, or a file whose reads fail with EIO."""
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
