"""Check the programs of a release, so that a repository cannot do more than the services' own user may."""

from __future__ import annotations

import ipaddress
import os
import pwd
import re
import shlex
import stat
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from supervisor.datatypes import InetStreamSocketConfig

from release_agent.config.schema import Problem
from release_agent.plugin.rehearsal import NAME as REHEARSAL
from release_agent.services.programs import AGENT_VERBS, is_own

if TYPE_CHECKING:
    from collections.abc import Collection, Iterator

    from release_agent.plugin.programs.sections import Section

OWN_NAMES = (*AGENT_VERBS, REHEARSAL)
_ROOT = 0
_LONGEST_STOP = 86400
_NUMBERS = ("priority", "startsecs", "startretries", "stopwaitsecs")
_LONGEST_COMMANDS = 64 << 10  # splitting them into words is slow
_LONGEST_VALUES = 1 << 20
_CHANNELS = ("stdout", "stderr")
_MOST_BACKUPS = 100  # supervisord looks for each of them at the start of each new file
_LARGEST_CAPTURE = 1 << 20  # bytes in supervisord's memory
_PROCESS = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_SAFE_LOGS = ("/dev/fd/1", "/dev/fd/2", "/dev/stdout", "/dev/stderr", "/dev/null")
_SOCKETS = "/run"


def of_all(groups: Collection[Any]) -> list[Problem]:
    """Return the problems with the total size of all groups after expansion: too many characters would block supervisord."""
    processes = [process for group in groups for process in group.process_configs]
    commands = sum(len(process.command) for process in processes)
    values = sum(map(_length, processes))
    counted = (("commands", commands, _LONGEST_COMMANDS), ("values", values, _LONGEST_VALUES))
    told = [(what, most) for what, count, most in counted if count > most]
    return [Problem("programs", f"the {what} of all processes have more than {most} characters together") for what, most in told]


def _length(process: Any) -> int:
    texts = (process.command, process.directory, process.stdout_logfile, process.stderr_logfile, process.serverurl, process.name)
    environment = [text for pair in process.environment.items() for text in pair]
    return sum(len(text) for text in (*texts, *environment) if isinstance(text, str))


def of_process(section: Section, process: Any, users: Collection[str]) -> list[Problem]:
    """Return the problems of a process of a section; ``process``: supervisor's configuration of it in its group.

    ``users``: the allowed users, if supervisord is root.
    """
    told = [*_of_process(process)]
    if os.geteuid() == _ROOT:
        told += _as_root(section, process, users)
    return [section.problem(key, text) for key, text in told]


def of_group(section: Section, group: Any, sockets: Collection[str]) -> list[Problem]:
    """Return the problems of the names of a group's processes, and of its socket; ``section``: the section of the group.

    ``sockets``: supervisord's current sockets for programs of releases.
    """
    socket = getattr(group, "socket_config", None)
    told: list[str] = []
    if isinstance(socket, InetStreamSocketConfig):
        told += _unsafe_host(socket.host)
    elif socket is not None and os.geteuid() == _ROOT and socket.url not in sockets:
        told += _unsafe_path(socket.path)
    return [*_of_names(section, group), *(section.problem("socket", text) for text in told)]


def _of_names(section: Section, group: Any) -> list[Problem]:
    names = [process.name for process in group.process_configs]
    # The names are not shown, because they may contain a variable of supervisord's.
    told = ["several of its processes have the same name"] if len(set(names)) < len(names) else []
    if not all(map(_PROCESS.fullmatch, names)):
        told.append("the names of its processes must have only letters, digits, '.', '_' and '-'")
    told += [f"{name} is a name of the agent's own programs; use another name" for name in OWN_NAMES if name in names]
    return [section.problem("", text) for text in told]


def _of_process(process: Any) -> Iterator[tuple[str, str]]:
    if is_own({"command": process.command}):
        yield "command", "runs the agent itself, which a release cannot bring"
    try:
        words = shlex.split(process.command)
    except ValueError as error:
        yield "command", f"supervisor cannot split it into words: {error}"
    else:
        if not words:
            yield "command", "must not be empty"
    if process.stopwaitsecs > _LONGEST_STOP:
        yield "stopwaitsecs", f"must be at most {_LONGEST_STOP} seconds, a day, because a deployment waits that long"
    most = dict.fromkeys(_NUMBERS, xmlrpc.client.MAXINT)
    for channel in _CHANNELS:
        most[f"{channel}_logfile_maxbytes"] = xmlrpc.client.MAXINT
        most[f"{channel}_logfile_backups"] = _MOST_BACKUPS
        most[f"{channel}_capture_maxbytes"] = _LARGEST_CAPTURE
    for key, number in most.items():
        if abs(getattr(process, key)) > number:
            yield key, f"must be at most {number}"


def _as_root(section: Section, process: Any, users: Collection[str]) -> Iterator[tuple[str, str]]:
    """Yield the problems of a program under root's supervisord, which would do these things as root."""
    whom = ", ".join(users) or "none"
    if process.uid is None:
        yield "user", f"must be one of the users for programs of releases ({whom}): otherwise the program runs as root"
    elif process.uid == _ROOT or process.uid not in _uids(users):
        yield "user", f"must be one of the users for programs of releases: {whom}"
    for key in ("stdout_logfile", "stderr_logfile"):
        value = getattr(process, key)
        if isinstance(value, str) and value not in _SAFE_LOGS:
            allowed = f"must be AUTO, NONE or one of {', '.join(_SAFE_LOGS)}"
            yield key, f"{allowed}: supervisord would write {section.values[key]!a:.200} as root"
        elif value in _SAFE_LOGS and value != os.devnull and getattr(process, f"{key}_maxbytes"):
            yield f"{key}_maxbytes", f"must be 0: supervisord would rename {value} as root to start a new file"


def _uids(users: Collection[str]) -> set[int]:
    known = set()
    for user in users:
        try:
            known.add(int(user) if user.isascii() and user.isdecimal() else pwd.getpwnam(user).pw_uid)
        except KeyError:
            continue
    return known


def _unsafe_host(host: str) -> Iterator[str]:
    """Yield a problem if a name server has to resolve the address of a socket: supervisord would wait for it."""
    try:
        ipaddress.IPv4Address("127.0.0.1" if host == "localhost" else host)
    except ValueError:
        yield "must be at an IPv4 address or localhost: supervisord would wait for a name server"


def _unsafe_path(path: str) -> Iterator[str]:
    """Yield a problem if root's supervisord must not make a unix socket: supervisord first removes any file at its path."""
    if os.path.dirname(path) != _SOCKETS:  # noqa: PTH120 - a text
        yield f"must be a TCP socket, or lie in {_SOCKETS} itself: supervisord makes it as root"
    elif os.path.lexists(path):
        kind = "a socket" if stat.S_ISSOCK(os.lstat(path).st_mode) else "a file"
        yield f"supervisord would remove {kind} of another owner at this path"
