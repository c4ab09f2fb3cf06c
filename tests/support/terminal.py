"""Run a scene on a real terminal, and draw its output on a screen."""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import select
import struct
import termios
import threading
from pathlib import Path
from typing import TYPE_CHECKING

from support import warm

if TYPE_CHECKING:
    from collections.abc import Sequence

COLUMNS, LINES = 80, 24
_PATIENCE = 60  # seconds
_SIZE = ("COLUMNS", "LINES")  # the environment may have the size of another terminal
_PART = re.compile(r"\x1b\[(\??[0-9;]*)([A-Za-z])|(.)", re.DOTALL)


class Screen:
    """The parts of a terminal that a table needs: lines, a cursor that moves up to the first visible line, and erasing."""

    def __init__(self, columns: int, lines: int) -> None:
        """Make an empty screen."""
        self.columns, self.height = columns, lines
        self.lines, self.row, self.column = [""], 0, 0
        self.has_cursor, self.pending, self.raw = True, "", ""

    def feed(self, data: bytes) -> None:
        """Draw output."""
        written = data.decode(errors="surrogateescape").encode(errors="surrogateescape").decode(errors="replace")
        self.raw += written
        written = self.pending + written
        cut = re.search(r"\x1b(\[[?0-9;]*)?\Z", written)
        self.pending = cut[0] if cut else ""
        for part in _PART.finditer(written, 0, cut.start() if cut else len(written)):
            self._control(part[2], part[1]) if part[2] else self._put(part[3])

    def _control(self, letter: str, number: str) -> None:
        if letter == "A":
            self.row = max(self.row - int(number or 1), len(self.lines) - self.height, 0)
        elif letter == "K":
            assert number == "2"
            self.lines[self.row] = ""
        elif number == "?25":
            self.has_cursor = letter == "h"
        else:
            assert letter == "m", letter

    def _put(self, character: str) -> None:
        if character == "\r":
            self.column = 0
        elif character == "\n":
            self._down()
        elif character >= " ":
            if self.column == self.columns:
                self._down()
                self.column = 0
            line = self.lines[self.row].ljust(self.column)
            self.lines[self.row] = line[: self.column] + character + line[self.column + 1 :]
            self.column += 1

    def _down(self) -> None:
        self.row += 1
        if self.row == len(self.lines):
            self.lines.append("")


class Terminal:
    """A real terminal with a scene, and a screen that shows the scene's output."""

    def __init__(
        self, scene: str = "", *, command: Sequence[str] = (), columns: int = COLUMNS, lines: int = LINES, **environment: str
    ) -> None:
        """Start the scene, or a command."""
        self.screen = Screen(columns, lines)
        self._master, slave = os.openpty()
        fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))
        control, self._control = os.pipe()
        self._reply, reply = os.pipe()
        kept = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "LC_ALL") if name in os.environ}
        named = {"TERM": "xterm", "PYTHONUTF8": "1"}
        descriptors = (slave, slave, slave, control, reply)
        shell = {name: value for name, value in (kept | named | environment).items() if name not in _SIZE}
        self.process = warm.start(command or ["scene", scene], shell, descriptors)
        for descriptor in (slave, control, reply):
            os.close(descriptor)
        self._drawn, self._abandoned = threading.Condition(), threading.Event()
        self._thread = threading.Thread(target=self._draw)
        self._thread.start()

    def _draw(self) -> None:
        with contextlib.suppress(OSError):  # its last process is gone
            while not self._abandoned.is_set():
                if not select.select([self._master], [], [], 0.1)[0]:
                    continue
                data = os.read(self._master, 65536)
                with self._drawn:
                    self.screen.feed(data)
                    self._drawn.notify_all()

    def see(self, *what: str) -> list[str]:
        """Wait until the screen has all these words; returns its lines."""
        with self._drawn:
            seen = self._drawn.wait_for(lambda: all(one in "\n".join(self.screen.lines) for one in what), _PATIENCE)
            assert seen, "\n".join(self.screen.lines)
            return [line.rstrip() for line in self.screen.lines]

    def resize(self, columns: int, lines: int) -> None:
        """Set the size of the terminal, and clear it."""
        with self._drawn:
            self.screen = Screen(columns, lines)
        fcntl.ioctl(self._master, termios.TIOCSWINSZ, struct.pack("HHHH", lines, columns, 0, 0))

    def type(self, what: str) -> None:
        """Press keys."""
        os.write(self._master, what.encode())

    def go(self) -> None:
        """Let the scene continue."""
        os.write(self._control, b".")

    def reply(self) -> str:
        """Return the scene's message to the test."""
        assert select.select([self._reply], [], [], _PATIENCE)[0], "\n".join(self.screen.lines)
        return os.read(self._reply, 1000).decode().strip()

    def close(self) -> list[str]:
        """Wait for the end of the scene; returns the lines of the screen without the empty ones at the end."""
        self.process.wait(_PATIENCE)
        self._thread.join(_PATIENCE)
        return [line.rstrip() for line in "\n".join(self.screen.lines).rstrip().split("\n")]

    def hang_up(self) -> None:
        """Close the terminal, as if its window or its connection were gone."""
        self._abandoned.set()
        self._thread.join()
        with Path(os.devnull).open() as nothing:
            os.dup2(nothing.fileno(), self._master)

    def abandon(self) -> None:
        """End the scene, however the test ended."""
        self._abandoned.set()
        self.process.kill()
        self.process.wait()
        self._thread.join()
        for descriptor in (self._master, self._control, self._reply):
            os.close(descriptor)
