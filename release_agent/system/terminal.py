"""Print aligned rows to a terminal, with its width, and in colours if it takes them."""

from __future__ import annotations

import os
import unicodedata
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, NamedTuple, Self

from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from typing import TextIO

_WITHOUT_COLOURS = ("", "dumb", "unknown")  # values of TERM
_USUAL = 80  # columns, if a terminal does not know how many it has
_GAP = 2  # columns between two cells
_LEAST = 26  # columns for the indent of a continued row
_CUT = "…"
_TAKES_NO_COLUMN = ("Mn", "Me", "Cf")  # categories of characters


class Style(StrEnum):
    """The style of words: the parameter of the control function SGR (ECMA-48), or empty."""

    PLAIN = ""
    BOLD = "1"
    DIM = "2"
    RED = "31"
    GREEN = "32"
    YELLOW = "33"


class Cell(NamedTuple):
    """Printable words on one line, and their style."""

    words: str = ""
    style: Style = Style.PLAIN

    @property
    def width(self) -> int:
        """The number of columns of the words."""
        return len(self.words) if self.words.isascii() else sum(map(_columns, self.words))

    def cut(self, width: int) -> Cell:
        """Return the cell cut to so many columns."""
        if self.width <= width:
            return self
        words, room = "", width - _columns(_CUT)
        for character in self.words:
            room -= _columns(character)
            if room < 0:
                break
            words += character
        return Cell(f"{words}{_CUT}" if width > 0 else "", self.style)


@dataclass(frozen=True)
class Terminal:
    """A terminal: its number of columns, and whether it takes colours."""

    columns: int
    coloured: bool

    @classmethod
    def of(cls, stream: TextIO) -> Self | None:
        """Return the terminal behind a stream; None if that is a file or a pipe."""
        if not stream.isatty():
            return None
        return cls(os.get_terminal_size(stream.fileno()).columns or _USUAL, takes_colours())

    def shown(self, cell: Cell) -> str:
        """Return the words of a cell in its style."""
        return f"\x1b[{cell.style}m{cell.words}\x1b[0m" if self.coloured and cell.style and cell.words else cell.words

    def table(self, rows: Sequence[Sequence[Cell]]) -> Iterator[str]:
        """Yield the lines of rows that have equally many cells, in aligned columns.

        If rows are too wide, all of them continue on another line from the same cell on. Cells wider than a line are cut.
        """
        columns = [column for column in zip(*rows, strict=True) if any(cell.words for cell in column)]
        widths = [max(cell.width for cell in column) for column in columns]
        margin = max(0, min(widths[0] + _GAP, self.columns - _LEAST)) if widths else 0
        lines = self._broken(widths, margin)
        for row in zip(*columns, strict=True):
            for number, line in enumerate(lines):
                room, indent = (self.columns - margin, " " * margin) if number else (self.columns, "")
                if shown := self._line([row[column] for column in line], [widths[column] for column in line], room):
                    yield f"{indent}{shown}"

    def _broken(self, widths: Sequence[int], margin: int) -> list[list[int]]:
        """Return the columns of each line."""
        lines: list[list[int]] = [[]]
        end = 0
        for column, width in enumerate(widths):
            if lines[-1] and end + width > self.columns:
                lines.append([])
                end = margin
            lines[-1].append(column)
            end += width + _GAP
        return lines

    def _line(self, cells: Sequence[Cell], widths: Sequence[int], room: int) -> str:
        """Return cells beside each other, each at the start of its column."""
        shown, end, begin = "", 0, 0
        for cell, width in zip(cells, widths, strict=True):
            if cell.words:
                fitting = cell.cut(room - begin)
                shown += " " * (begin - end) + self.shown(fitting)
                end = begin + fitting.width
            begin += width + _GAP
        return shown


def takes_colours() -> bool:
    """Return whether a terminal understands colours, and the person wants them."""
    return os.environ.get(Variable.TERM, "") not in _WITHOUT_COLOURS and not os.environ.get(Variable.NO_COLOR)


def _columns(character: str) -> int:
    if unicodedata.category(character) in _TAKES_NO_COLUMN:
        return 0
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
