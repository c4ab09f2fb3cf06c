"""Keep the last output of the services' processes since their starts, and the end of each process.

Supervisord sends a program's output as events if its section has `stderr_events_enabled=true`. For a log in /dev/fd/2,
which cannot be read, these events are the only way. Supervisord reports the end of a process that did not live for its startsecs
only in its own log. That line lacks the group's name, but it follows the event of the process' new state, which
has the name. No callback raises, because supervisord would close the program's pipe.
"""

from __future__ import annotations

import contextlib
import os
import re
import stat
import time
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from typing import TYPE_CHECKING, Any

from supervisor import events, loggers

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

_CHANNELS = ("stderr", "stdout")
_KEPT = 16 << 10  # bytes of each channel
_STARTS = 5  # a process that starts more often prints the same each time
_LINES = 20
_LONGEST_LINE = 500  # characters
_FRAMES = 3  # kept lines of a traceback: the outermost call, and the place of the error with its code
# supervisor.process.Subprocess.finish and supervisor.options.decode_wait_status
_EXITED = re.compile(r"exited: (?P<name>.*) \((?P<how>exit status \d+|terminated by \w+).*; not expected\)", re.DOTALL)


@dataclass
class _Channel:
    """The end of the output on one channel: pieces with their times (seconds since 1970), and their total bytes."""

    pieces: deque[tuple[float, bytes]] = field(default_factory=deque)
    kept: int = 0

    def take(self, data: bytes) -> None:
        """Add a piece, and drop the oldest ones beyond the limit."""
        piece = data[-_KEPT:]
        self.pieces.append((time.time(), piece))
        self.kept += len(piece)
        while self.kept > _KEPT:
            self.kept -= len(self.pieces.popleft()[1])


@dataclass
class _Said:
    """The output of one process, and the ends of its log files at its starts."""

    channels: dict[str, _Channel] = field(default_factory=lambda: {channel: _Channel() for channel in _CHANNELS})
    starts: deque[tuple[float, dict[str, int]]] = field(default_factory=lambda: deque(maxlen=_STARTS))


class LastWords:
    """The last words of every process of one supervisord."""

    def __init__(self, log: Any) -> None:
        """``log``: supervisord's own."""
        self._said: dict[tuple[str, str], _Said] = {}
        self._ending = ("", "")  # group and name of the process that ended last
        self._ends: dict[tuple[str, str], tuple[float, str]] = {}
        log.addHandler(_Exits(self._on_exit))
        events.subscribe(events.ProcessStateBackoffEvent, self._on_end)
        events.subscribe(events.ProcessStateExitedEvent, self._on_end)
        events.subscribe(events.ProcessStateStartingEvent, self._on_start)
        events.subscribe(events.ProcessLogEvent, self._on_log)

    def of(self, group: str, processes: Mapping[str, Any], since: float) -> list[str]:
        """Return the last lines, at most 20, of a group's processes since a time; from stdout if stderr is empty."""
        several = len(processes) > 1
        lines = []
        for name, process in sorted(processes.items()):
            said = self._said.get((group, name), _Said())
            texts = (_since(process, said, channel, since) for channel in _CHANNELS)
            lines += [f"{name}: {line}" if several else line for line in next(filter(None, texts), [])]
        return lines[-_LINES:]

    def end_of(self, group: str, processes: Mapping[str, Any], since: float) -> str:
        """Return the last unexpected end of a group's process since a time, such as ``exit status 3``."""
        ends = [self._ends[group, name] for name in processes if (group, name) in self._ends]
        return max((end for end in ends if end[0] >= since), default=(0.0, ""))[1]

    def _on_end(self, event: Any) -> None:
        with contextlib.suppress(Exception):
            self._ending = _key(event.process)

    def _on_exit(self, name: str, how: str) -> None:
        if name == self._ending[1]:
            self._ends[self._ending] = (time.time(), how)

    def _on_start(self, event: Any) -> None:
        with contextlib.suppress(Exception):
            sizes = {channel: _size(_log_file(event.process, channel)) for channel in _CHANNELS}
            self._of(event.process).starts.append((time.time(), sizes))

    def _on_log(self, event: Any) -> None:
        with contextlib.suppress(Exception):
            data = event.data if isinstance(event.data, bytes) else str(event.data).encode()
            self._of(event.process).channels[event.channel].take(data)

    def _of(self, process: Any) -> _Said:
        return self._said.setdefault(_key(process), _Said())


def _key(process: Any) -> tuple[str, str]:
    """Return a process' group and its name in it."""
    return process.group.config.name, process.config.name


class _Exits(loggers.Handler):  # type: ignore[misc]
    """A handler of supervisord's log that writes nothing, and reports each unexpected end of a process."""

    level = loggers.LevelsByName.WARN

    def __init__(self, take: Callable[[str, str], None]) -> None:
        super().__init__()
        self._take = take

    def emit(self, record: Any) -> None:
        """Read a line of the log."""
        with contextlib.suppress(Exception):
            found = _EXITED.fullmatch(str(record.msg))
            if found:
                self._take(found["name"], found["how"])

    def flush(self) -> None:
        """Do nothing."""

    close = remove = reopen = flush


def _since(process: Any, said: _Said, channel: str, since: float) -> list[str]:
    """Return the lines of one channel, from its log file or from supervisord's events."""
    began = next((sizes for moment, sizes in said.starts if moment >= since), None)
    file = _log_file(process, channel)
    if began is not None and _size(file) >= 0:
        text = _read(file, began[channel])
    else:
        text = b"".join(piece for moment, piece in said.channels[channel].pieces if moment >= since)
    lines = text.decode("utf-8", "replace").splitlines()
    shown = [line[:_LONGEST_LINE] for line in lines if line.strip()]
    return (shown if len(shown) <= _LINES else _without_frames(shown))[-_LINES:]


def _without_frames(lines: Sequence[str]) -> list[str]:
    """Leave out the middle of tracebacks, because a long one of the master would push out the error of a worker."""
    kept: list[str] = []
    told = (line for line in lines if line.strip(" ^~"))
    for indented, run in groupby(told, lambda line: line[0].isspace()):
        block = list(run)
        kept += [block[0], "  …", *block[1 - _FRAMES :]] if indented and len(block) > _FRAMES + 1 else block
    return kept


def _log_file(process: Any, channel: str) -> str:
    return str(getattr(process.config, f"{channel}_logfile", None) or "")


def _size(file: str) -> int:
    """Return the size of a log file, -1 for a pipe, a terminal or a missing file."""
    try:
        there = os.stat(file)  # noqa: PTH116 - a name without a log is ""
    except (OSError, ValueError):
        return -1
    return there.st_size if stat.S_ISREG(there.st_mode) else -1


def _read(file: str, begin: int) -> bytes:
    """Return the last bytes of a log file after an earlier size; after a rotation, the last bytes of the whole file."""
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        size = os.fstat(descriptor).st_size
        first = begin if 0 <= begin <= size else 0
        return os.pread(descriptor, _KEPT, max(first, size - _KEPT))
    finally:
        os.close(descriptor)
