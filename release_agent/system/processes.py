"""What /proc tells about other processes: proc(5)."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_STATE, _START_TIME = 0, 19  # fields 3 and 22, counted after the name in parentheses


def started(pid: int) -> int | None:
    """Return when a living process started, in clock ticks since boot; with the pid it names one process for good."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace").rpartition(")")[2].split()
    except OSError:
        return None
    return None if fields[_STATE] in "ZX" else int(fields[_START_TIME])


def owner(pid: int) -> int | None:
    """Return the user id a process runs as."""
    try:
        return Path(f"/proc/{pid}").stat().st_uid
    except OSError:
        return None


def releases_in_use(releases: Path, live_at: Callable[[float], str | None]) -> set[str]:
    """Return the names under ``releases`` that a process runs or works in.

    Where a process cannot be looked into (another user's), the release that
    was live when it started counts as used: only then could it have been
    started from it.
    """
    used: set[str] = set()
    prefix = os.path.realpath(releases) + "/"
    for pid in _pids():
        try:
            places = [str(Path(f"/proc/{pid}/{link}").readlink()) for link in ("cwd", "exe")]
        except PermissionError:
            release = live_at(started_at(pid))
            used |= {release} if release else set()
        except OSError:  # it ended, or is a thread of the kernel
            continue
        else:
            used |= {place.removeprefix(prefix).split("/")[0] for place in places if place.startswith(prefix)}
    return used


def _pids() -> Iterator[int]:
    return (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())


def started_at(pid: int) -> float:
    """Return when a process started, in seconds since 1970."""
    boot = next(line for line in Path("/proc/stat").read_text(encoding="ascii").splitlines() if line.startswith("btime "))
    return int(boot.split()[1]) + (started(pid) or 0) / os.sysconf("SC_CLK_TCK")
