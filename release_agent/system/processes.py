"""What /proc tells about other processes: proc(5)."""

from __future__ import annotations

import os
import pwd
import stat
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


def become_owner(place: Path) -> str | None:
    """Become the user who owns a directory, where root is asked to work in it; returns the user's name.

    Whoever enters a container is root. What root wrote, the agent's own user
    could neither change nor remove later.
    """
    if os.geteuid() != 0 or not place.exists() or place.stat().st_uid == 0 or not _is_open_to_all(Path(os.__file__)):
        return None
    status = place.stat()
    try:
        user = pwd.getpwuid(status.st_uid)
        name, home = user.pw_name, user.pw_dir
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
    except KeyError:  # a volume of a user this container does not know
        name, home = str(status.st_uid), "/"
        os.setgroups([])
        os.setgid(status.st_gid)
    os.setuid(status.st_uid)
    os.environ.update(HOME=home, USER=name, LOGNAME=name)
    return name


def _is_open_to_all(file: Path) -> bool:
    """Whether another user could go on importing: a Python in somebody's home cannot be shared."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in file.resolve().parents)


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
            places = [os.readlink(f"/proc/{pid}/{link}") for link in ("cwd", "exe")]  # noqa: PTH115 - text, not a path
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
