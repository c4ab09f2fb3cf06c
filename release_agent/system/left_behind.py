"""End the processes that outlive a killed run. A run notes each group before its command starts; the next run ends the group.

The RELEASE_ID in its environment identifies a process that has left its group by setsid(2), and a process of a
rehearsal's copy.
"""

from __future__ import annotations

import os
import re
import signal
import stat
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent.system import processes
from release_agent.system.inspection import started_with

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator, Mapping
    from pathlib import Path

_NOTE = "hook-"
_LONGEST = 32  # bytes of a note
_PATIENCE = 10.0  # seconds to wait for the end of a killed process; one that waits for a broken disk may never end
_POLL = 0.01
_SWEEPS = 5  # a process may fork during a look at others
_MARK = b"RELEASE_ID="  # in the environment of every hook
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9-]{3,63}")


def note(directory: Path, pid: int, run: str = "") -> Path:
    """Write a note of a process group of the agent's; raises OSError. The caller removes the note when the group has ended.

    ``run``: the RELEASE_ID in its environment. An earlier hook may have changed or replaced the directory. So the note has
    a random name, and no link is followed.
    """
    identity = f"-{run}" if _RUN.fullmatch(run) else ""
    place = directory / f"{_NOTE}{pid}-{os.urandom(8).hex()}{identity}"
    parent = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        descriptor = os.open(place.name, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600, dir_fd=parent)
    finally:
        os.close(parent)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(str(processes.started(pid)))
    return place


def end_left_behind(directory: Path) -> list[int]:
    """Kill the processes of a killed run, and wait for their end; returns the ids of groups, and of processes outside of them.

    A group whose number now belongs to another process is spared.
    """
    notes = list(_noted(directory))
    groups = [pid for pid, began, _ in notes if _is_left(pid, began)]
    for pid in groups:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(pid, signal.SIGKILL)
    alone = _of_runs({run for _, _, run in notes if run}, groups)
    for pid in alone:
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, signal.SIGKILL)
    deadline = time.monotonic() + _PATIENCE
    while (any(map(processes.in_group, groups)) or any(map(processes.started, alone))) and time.monotonic() < deadline:
        time.sleep(_POLL)
    return [*groups, *alone]


def end_marked(variables: Mapping[str, str], *, spared: int = 0) -> None:
    """Kill every process that has all of some variables in its environment, except ``spared``; do not wait for their end."""
    killed = {spared}
    for _ in range(_SWEEPS):
        found = started_with(variables) - killed
        if not found:
            return
        for pid in found:
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, signal.SIGKILL)
        killed |= found


def _of_runs(runs: set[str], groups: Collection[int]) -> list[int]:
    """Return the processes outside of the groups that a run's hooks started; never this one or its ancestors."""
    own = processes.ancestry(os.getpid())
    found = (pid for pid in processes.all_pids() if runs and pid not in own and _run_of(pid) in runs)
    return [pid for pid in found if processes.group_of(pid) not in groups and processes.started(pid) is not None]


def _noted(directory: Path) -> Iterator[tuple[int, str, str]]:
    """Yield each group's id, its leader's start and its run's id; ignore other files."""
    for place in directory.glob(f"{_NOTE}*"):
        # An older agent's notes end with the number, or with the random digits.
        number, _, run = (*place.name.removeprefix(_NOTE).split("-", maxsplit=2), "", "")[:3]
        if number.isascii() and number.isdigit() and int(number) > 1:
            with suppress(OSError):
                yield int(number), _content(place), run


def _content(place: Path) -> str:
    """Read a note; return an empty text for anything except a regular file, such as a pipe."""
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
    # Its leader has ended. The kernel does not reuse the number while the group has members.
    return began.isdigit() and any(_is_hooks(member) for member in processes.in_group(pid))


def _is_hooks(pid: int) -> bool:
    return _run_of(pid) is not None


def _run_of(pid: int) -> str | None:
    """Return the RELEASE_ID in a process' environment, None if it has none or may not be inspected."""
    marks = [variable.removeprefix(_MARK) for variable in processes.environ(pid) if variable.startswith(_MARK)]
    return marks[0].decode("ascii", "replace") if marks else None
