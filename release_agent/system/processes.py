"""Read other processes from /proc, see proc(5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

_STATE, _PARENT, _START_TIME = 0, 1, 19  # fields 3, 4 and 22, counted after the name in parentheses


def started(pid: int) -> int | None:
    """Return the start of a living process in clock ticks since boot, or None; pid and start together identify a process."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in "ZX" else int(fields[_START_TIME])


def in_group(group: int) -> list[int]:
    """Return the ids of the living processes of a process group."""
    return [pid for pid in all_pids() if group_of(pid) == group and started(pid) is not None]


def group_of(pid: int) -> int | None:
    """Return the process group of a process, or None if it has ended."""
    try:
        return os.getpgid(pid)
    except OSError:
        return None


def owner(pid: int) -> int | None:
    """Return the user id that a process runs as, or None if it has ended."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def environ(pid: int) -> list[bytes]:
    """Return the variables that a process was started with, as NAME=value; none if it has ended or may not be inspected."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def environment(pid: int) -> dict[str, str]:
    """Return the environment that a process was started with; empty if it has ended or may not be inspected."""
    pairs = (os.fsdecode(pair).partition("=") for pair in environ(pid))
    return {name: value for name, _, value in pairs if name}


def ancestry(pid: int) -> set[int]:
    """Return a process, its parent, the parent's parent, and so on."""
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = _parent_of(pid)
    return found


def with_descendants(pids: Iterable[int]) -> list[int]:
    """Return processes and their living descendants, by one pass over /proc."""
    return reachable(pids, children())


def children() -> dict[int, list[int]]:
    """Return all processes by their parent, by one pass over /proc; process 1 gets the orphans."""
    found: dict[int, list[int]] = {}
    for pid in all_pids():
        found.setdefault(_parent_of(pid), []).append(pid)
    return found


def reachable(pids: Iterable[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    """Return processes and their descendants, each once: a pid that is reused during the pass may make a circle."""
    found = dict.fromkeys(pids)
    waiting = list(found)
    while waiting:
        new = [child for child in children.get(waiting.pop(), ()) if child not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def _parent_of(pid: int) -> int:
    try:
        stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return 0
    return int(stat.rpartition(")")[2].split()[_PARENT])


def all_pids() -> Iterator[int]:
    """Yield the ids of all processes."""
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def started_at(pid: int) -> float:
    """Return the start of a process in seconds since 1970."""
    boot = next(line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if line.startswith("btime "))
    return int(boot.split()[1]) + (started(pid) or 0) / os.sysconf("SC_CLK_TCK")
