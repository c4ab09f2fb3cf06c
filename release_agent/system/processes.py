"""Read other processes from /proc, see proc(5)."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

_Seen = TypeVar("_Seen")  # what is seen of a process, as JSON has it
_STATE, _PARENT, _START_TIME = 0, 1, 19  # fields 3, 4 and 22, counted after the name in parentheses
_LARGEST_MAPS = 4 << 20  # characters


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
    """Return the variables that a process was started with, as NAME=value; none if it may not be looked at, or has ended."""
    try:
        return Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except OSError:
        return []


def releases_in_use(releases: Path, live_at: Callable[[float], str | None], serving: Iterable[int] = ()) -> set[str]:
    """Return the names under ``releases`` that a process runs or works in.

    If a process cannot be read (another user's), or is in ``serving`` (pids; an
    interpreter shows no file of its release), the release that was live when it
    started counts as used: no other can have started it.
    """
    used = {release for release in map(live_at, map(started_at, serving)) if release}
    prefix = os.path.realpath(releases) + "/"
    for pid in all_pids():
        try:
            places = [str(Path(f"/proc/{pid}/{link}").readlink()) for link in ("cwd", "exe")]
        except PermissionError:
            release = live_at(started_at(pid))
            used |= {release} if release else set()
        except OSError:  # it has ended, or is a kernel thread
            continue
        else:
            used |= {place.removeprefix(prefix).split("/")[0] for place in places if place.startswith(prefix)}
    return used


def ancestry(pid: int) -> set[int]:
    """Return a process, its parent, the parent's parent, and so on."""
    found: set[int] = set()
    while pid and pid not in found:
        found.add(pid)
        pid = _parent_of(pid)
    return found


def with_descendants(pids: Iterable[int]) -> list[int]:
    """Return processes, and their children's children that live, of one pass over /proc."""
    children: dict[int, list[int]] = {}
    for pid in all_pids():
        children.setdefault(_parent_of(pid), []).append(pid)
    return reachable(pids, children)


def reachable(pids: Iterable[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    """Return processes and all below them, each once: a number that was given away during the pass may make a circle."""
    found = dict.fromkeys(pids)
    waiting = list(found)
    while waiting:
        new = [child for child in children.get(waiting.pop(), ()) if child not in found]
        found |= dict.fromkeys(new)
        waiting += new
    return list(found)


def releases_of(pids: Iterable[int], releases: Path) -> dict[str, list[int]]:
    """Return processes by the names under ``releases`` that they work in, run or have mapped.

    Those that may not be looked at stand under an empty name.
    """
    prefix = os.path.realpath(releases) + "/"
    seen = _seen(pids, lambda pid: _names_in(pid, prefix))
    found: dict[str, list[int]] = {}
    for pid, names in seen.items():
        for name in [""] if names is None else names:
            found.setdefault(name, []).append(pid)
    return found


def with_variables(variables: Sequence[bytes]) -> set[int]:
    """Return the processes that were started with all of some variables, NAME=value, in their environment."""
    seen = _seen(all_pids(), lambda pid: _has(pid, variables))
    return {pid for pid, has in seen.items() if has}


def _seen(pids: Iterable[int], look: Callable[[int], _Seen | None]) -> dict[int, _Seen | None]:
    """Look at processes, as their users if root may not; None for those that nobody may look at."""
    seen = {pid: look(pid) for pid in pids}
    denied = [pid for pid, found in seen.items() if found is None]
    return seen | _as_their_users(denied, look) if denied and os.geteuid() == 0 else seen


def _has(pid: int, variables: Sequence[bytes]) -> bool | None:
    """Return whether a process has variables, False if it has ended; None if it may not be looked at."""
    try:
        return set(variables).issubset(Path(f"/proc/{pid}/environ").read_bytes().split(b"\0"))
    except PermissionError:
        return None
    except OSError:
        return False


def _names_in(pid: int, prefix: str) -> list[str] | None:
    """Return the names that one process uses, none if it has ended; None if it may not be looked at."""
    try:
        places = [str(Path(f"/proc/{pid}/{link}").readlink()) for link in ("cwd", "exe")]
        with Path(f"/proc/{pid}/maps").open(encoding="utf-8", errors="replace") as maps:
            places += [line.partition("/")[1] + line.partition("/")[2] for line in maps.read(_LARGEST_MAPS).splitlines()]
    except PermissionError:
        return None
    except OSError:
        return []
    return sorted({place.removeprefix(prefix).split("/")[0].split(" ")[0] for place in places if place.startswith(prefix)})


def _as_their_users(pids: Sequence[int], look: Callable[[int], _Seen | None]) -> dict[int, _Seen | None]:
    """Let a child look that becomes each process' user: root in a container usually has no CAP_SYS_PTRACE, see ptrace(2).

    A child, because who changes his own user to look, and back, may be looked into no more himself.
    """
    try:
        reading, writing = os.pipe()
        with os.fdopen(reading, "rb") as answer, os.fdopen(writing, "wb") as words:
            child = os.fork()
            if child == 0:
                _answer(pids, look, words)
            words.close()
            told = answer.read()
        os.waitpid(child, 0)
        return {int(pid): found for pid, found in json.loads(told).items()}
    except (OSError, ValueError):
        return {}


def _answer(pids: Sequence[int], look: Callable[[int], object], words: BinaryIO) -> NoReturn:
    """Write what was seen of each process, and end without coming back: this is a copy of the whole process."""
    try:
        os.setgroups([])
        words.write(json.dumps({pid: _as_its_user(pid, look) for pid in pids}).encode())
        words.flush()
    finally:
        os._exit(0)


def _as_its_user(pid: int, look: Callable[[int], object]) -> object:
    try:
        status = Path(f"/proc/{pid}/status").read_text(encoding="utf-8", errors="replace").splitlines()
        user, group = (int(next(line for line in status if line.startswith(key)).split()[2]) for key in ("Uid:", "Gid:"))
    except OSError:
        return look(pid)  # it has ended
    os.setegid(group)
    os.seteuid(user)
    try:
        return look(pid)
    finally:
        os.seteuid(0)
        os.setegid(0)


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
