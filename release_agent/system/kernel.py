"""Read the tables of the kernel, see proc(5)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path


def lines(table: Path, most: int = -1) -> list[str]:
    """Return the lines of a table that are not empty, at most its first ``most`` bytes. Raises OSError.

    Only a line feed ends a line. Names in a table may have the other characters that end lines for Python, such as U+2028.
    """
    with table.open("rb") as file:
        text = file.read(most).decode("utf-8", "surrogateescape")
    return [line for line in text.split("\n") if line]
