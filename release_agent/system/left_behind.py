"""Process groups that outlive a killed run: each is noted before its command begins, and ended by the next run."""

from __future__ import annotations

import os
import signal
import stat
import time
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.system import processes

if TYPE_CHECKING:
    from collections.abc import Iterator

_NOTE = "hook-"
_LONGEST = 32  # bytes of a note
_PATIENCE = 10.0  # seconds until a killed process is gone; one that waits for a broken disk may never be
_POLL = 0.01
_MARK = b"RELEASE_ID="  # in the environment of every hook


def note(directory: Path, pid: int) -> Path:
    """Write down that a process leads a group of the agent's; raises OSError. The note is removed when the group has ended.

    An earlier hook may have put anything into the directory, or in its place: the
    note's name cannot be guessed, and no link is followed.
    """
    place = directory / f"{_NOTE}{pid}-{os.urandom(8).hex()}"
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        descriptor = os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    finally:
        os.close(parent)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(str(processes.started(pid)))
    return place


def end_left_behind(directory: Path) -> list[int]:
    """Kill the process groups that a killed run left, and wait until they are gone; returns their ids.

    One whose number another process has by now is spared.
    """
    ended = [pid for pid, began in _noted(directory) if _is_left(pid, began)]
    for pid in ended:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while any(processes.in_group(pid) for pid in ended) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return ended


def _noted(directory: Path) -> Iterator[tuple[int, str]]:
    """Yield each group's id and its leader's start; what is no note of the agent's is passed over."""
    for place in directory.glob(f"{_NOTE}*"):
        number = place.name.removeprefix(_NOTE).partition("-")[0]  # an older agent's notes end here
        if number.isascii() and number.isdigit() and int(number) > 1:
            with suppress(OSError):
                yield int(number), _content(place)


def _content(place: Path) -> str:
    """Read a note; of what is no file, such as a pipe that would never end, nothing."""
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    try:
        regular = stat.S_ISREG(os.fstat(descriptor).st_mode)
        return os.read(descriptor, _LONGEST).decode("ascii", "replace") if regular else ""
    finally:
        os.close(descriptor)


def _is_left(pid: int, began: str) -> bool:
    started = processes.started(pid)
    if started is not None:
        return str(started) == began
    # Its leader has ended. The number is not given away while the group has members, if these are a hook's.
    return began.isdigit() and any(_is_hooks(member) for member in processes.in_group(pid))


def _is_hooks(pid: int) -> bool:
    with suppress(OSError):
        return any(variable.startswith(_MARK) for variable in Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    return False
