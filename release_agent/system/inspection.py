"""Inspect other processes: their files and their environment, see proc(5).

A look returns an empty set for a process that has ended, and None for a process that it may not inspect.
"""

from __future__ import annotations

import json
import os
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NoReturn

from release_agent.system.kernel import lines
from release_agent.system.mounts import paths_of
from release_agent.system.processes import all_pids, started_at

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    _Look = Callable[[int], set[str] | None]

_LARGEST_MAPS = 4 << 20  # bytes
# By file of /proc/net: the columns of the address, the state and the inode, and the state of a listening socket.
_SOCKETS = {"tcp": (1, 3, 9, "0A"), "tcp6": (1, 3, 9, "0A"), "unix": (7, 3, 6, "00010000")}


def releases_in_use(releases: Path, live_at: Callable[[float], str | None], serving: Iterable[int] = ()) -> set[str]:
    """Return the names under ``releases`` that a process works in, runs, has mapped, or has a file of open.

    A process that may not be inspected, and one in ``serving`` (pids), count for the release that was live when they
    started: no other can have started them. An interpreter in ``serving`` may have no file of its release open.
    """
    seen = _using(os.path.realpath(releases))
    hidden = [pid for pid, names in seen.items() if names is None]
    used = {release for release in map(live_at, map(started_at, [*serving, *hidden])) if release}
    return used.union(*filter(None, seen.values()))


def uses(directory: Path) -> bool:
    """Return whether a process that may be inspected works in a directory, runs, has mapped, or has a file of it open."""
    place = Path(os.path.realpath(directory))
    return any(place.name in (names or ()) for names in _using(str(place.parent)).values())


def _using(parent: str) -> dict[int, set[str] | None]:
    """Return the names in a directory that each process uses in any way, through any mount; see _names_in()."""
    prefixes = tuple(f"{path}/" for path in {parent, *paths_of(parent)})
    return _seen(all_pids(), lambda pid: _names_in(pid, *prefixes, open_files=True))


def releases_of(pids: Iterable[int], releases: Path) -> dict[str, list[int]]:
    """Return processes by the names under ``releases`` that they work in, run or have mapped.

    Processes that may not be inspected have an empty name.
    """
    prefix = os.path.realpath(releases) + "/"
    found: dict[str, list[int]] = {}
    for pid, names in _seen(pids, lambda pid: _names_in(pid, prefix)).items():
        for name in {""} if names is None else names:
            found.setdefault(name, []).append(pid)
    return found


def _names_in(pid: int, *prefixes: str, open_files: bool = False) -> set[str] | None:
    """Return the names after some prefixes that one process uses, none if it has ended; None if it may not be inspected.

    ``open_files``: also those whose files it has open, or that are its root.
    """
    try:
        links = ("cwd", "exe", "root") if open_files else ("cwd", "exe")
        places = [str(Path(f"/proc/{pid}/{link}").readlink()) for link in links]
        places += (_open_files(pid) or ()) if open_files else ()
        maps = lines(Path(f"/proc/{pid}/maps"), _LARGEST_MAPS)
        places += [line.partition("/")[1] + line.partition("/")[2] for line in maps]
    except PermissionError:
        return None
    except OSError:
        return set()
    found = [place.removeprefix(prefix) for place in places for prefix in prefixes if place.startswith(prefix)]
    return {place.split("/")[0].split(" ")[0] for place in found}


def started_with(variables: Mapping[str, str], among: Iterable[int] | None = None) -> set[int]:
    """Return the processes that were started with all of some variables, as far as they may be inspected.

    ``among``: look only at these processes; None: at all.
    """
    marks = {f"{name}={value}" for name, value in variables.items()}
    pids = all_pids() if among is None else among
    return {pid for pid, found in _seen(pids, lambda pid: _marks_of(pid, marks)).items() if found == marks}


def _marks_of(pid: int, marks: set[str]) -> set[str] | None:
    """Return the variables that one process was started with, none if it has ended; None if it may not be inspected."""
    try:
        variables = Path(f"/proc/{pid}/environ").read_bytes().split(b"\0")
    except PermissionError:
        return None
    except OSError:
        return set()
    return {mark for mark in marks if mark.encode() in variables}


def accepting_with(own: Iterable[int], others: Iterable[int]) -> set[int]:
    """Return the processes that accept connections at an address of one of ``own``.

    Processes that may not be inspected are left out.
    """
    others = list(others)
    if not others:
        return set()
    addresses = _accepting()
    there = {addresses[file] for files in _seen(own, _open_files).values() for file in files or () if file in addresses}
    seen = _seen(others, _open_files)
    return {pid for pid, files in seen.items() if there & {addresses.get(file, "") for file in files or ()}}


def _open_files(pid: int) -> set[str] | None:
    """Return the targets of a process' descriptors."""
    found = set()
    try:
        for descriptor in os.scandir(f"/proc/{pid}/fd"):
            with suppress(FileNotFoundError):  # it is now closed
                found.add(os.readlink(descriptor.path))  # noqa: PTH115 - thousands on a host, at three times the cost
    except PermissionError:
        return None
    except OSError:
        return set()
    return found


def _accepting() -> dict[str, str]:
    """Return the addresses of the sockets that listen, by their names in /proc/PID/fd."""
    found = {}
    for kind, (address, state, inode, accepts) in _SOCKETS.items():
        for row in _rows(kind):
            if len(row) > inode and row[state] == accepts:
                found[f"socket:[{row[inode]}]"] = f"{kind} {row[address] if len(row) > address else row[inode]}"
            elif kind != "unix":
                break  # connections, tens of thousands on a busy host, follow those that listen: Linux' proc_net_tcp.rst
    return found


def _rows(kind: str) -> Iterator[list[str]]:
    with suppress(OSError), Path(f"/proc/net/{kind}").open(encoding="utf-8", errors="replace") as sockets:
        next(sockets, "")
        yield from map(str.split, sockets)


def _seen(pids: Iterable[int], look: _Look) -> dict[int, set[str] | None]:
    """Look at processes, as their users if needed; None for those that may not be inspected."""
    seen = {pid: look(pid) for pid in pids}
    denied = [pid for pid, found in seen.items() if found is None]
    if denied and os.geteuid() == 0:
        seen |= _seen_by_their_users(denied, look)
    return seen


def _seen_by_their_users(pids: Sequence[int], look: _Look) -> dict[int, set[str] | None]:
    """Look in a child that becomes each process' user, because root in a container usually lacks CAP_SYS_PTRACE, see ptrace(2).

    This process itself keeps its user, because nobody could inspect it after a change.
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
        return {int(pid): None if found is None else set(found) for pid, found in json.loads(told).items()}
    except (OSError, ValueError):
        return {}


def _answer(pids: Sequence[int], look: _Look, words: BinaryIO) -> NoReturn:
    """Write the result of each look, and exit: this is a copy of the whole process."""
    try:
        os.setgroups([])
        seen = {pid: _seen_by_its_user(pid, look) for pid in pids}
        words.write(json.dumps({pid: None if found is None else sorted(found) for pid, found in seen.items()}).encode())
        words.flush()
    finally:
        os._exit(0)


def _seen_by_its_user(pid: int, look: _Look) -> set[str] | None:
    try:
        status = lines(Path(f"/proc/{pid}/status"))
        user, group = (int(next(line for line in status if line.startswith(key)).split()[2]) for key in ("Uid:", "Gid:"))
    except OSError:
        return set()
    os.setegid(group)
    os.seteuid(user)
    try:
        return look(pid)
    finally:
        os.seteuid(0)
        os.setegid(0)
