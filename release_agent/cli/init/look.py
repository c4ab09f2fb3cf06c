"""Look at a container, without changes: its running supervisord and its deploying user."""

from __future__ import annotations

import os
import pwd
import re
import shutil
import stat
import subprocess
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.cli.init.seen import Deployer, SeenProgram, SeenSupervisor
from release_agent.errors import Code, Misconfigured, SupervisorGone
from release_agent.services.plugin import is_loaded
from release_agent.services.programs import AGENT_VERBS, directory_of, is_own
from release_agent.services.rpc import Rpc
from release_agent.services.sections import Sections, UnknownSectionsError, command_line, running
from release_agent.services.starting import await_start
from release_agent.services.supervisor import SupervisorServices
from release_agent.system import processes
from release_agent.system.urls import Address
from release_agent.system.user import group_name, name_of
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from release_agent.system.clock import Clock


_USER = "release"
_USUAL_URL = "unix:///run/supervisor.sock"
_CHOICE = f"export {Variable.SUPERVISOR_SERVER_URL}={{url}}"
_PLUGIN = "rpcinterface:release"
_PAIR = re.compile(r"""(\w+)=(?:"([^"]*)"|'([^']*)'|([^,]*))""")
_LONGEST = 20  # seconds for supervisord's Python to import the plugin


def supervisor(url: str, environ: Mapping[str, str], clock: Clock, tell: Callable[[str], object]) -> SeenSupervisor:
    """Look at supervisord at ``url``, at the URL of the environment, or at the only one that runs; raises Failed.

    Waits for a supervisord that has been started and does not listen yet; ``tell`` gets a sentence then.
    """
    url = url or environ.get(Variable.SUPERVISOR_SERVER_URL, "") or _found_url()
    rpc = Rpc(url, environ)
    services = SupervisorServices(rpc)
    await_start(rpc, clock, tell)
    programs, pid = services.programs(), services.supervisor_pid()
    environment = processes.environment(pid)
    uid = processes.owner(pid)
    seen: dict[str, Any] = {
        "url": rpc.url,
        "pid": pid,
        "user": name_of(uid) if uid else "",
        "environment": environment,
        "is_idle": not any(process.pid for group in services.processes().values() for process in group),
        "has_login": bool(environ.get(Variable.SUPERVISOR_USERNAME)) or Address.of(url).login is not None,
        "has_plugin": _has_plugin(rpc),
        "can_load": _can_load(pid, environment),
        "taken": tuple(dict.fromkeys(p["group"] for p in programs if p["group"] in AGENT_VERBS and not is_own(p))),
        "finds_agent": shutil.which("release-agent", path=environment.get("PATH", os.defpath)) is not None,
    }
    own = {f"program:{verb}" for verb in AGENT_VERBS if any(is_own(p, (verb,)) or p["group"] == verb for p in programs)}
    own |= {_PLUGIN} if seen["has_plugin"] else set()
    seen["loaded"] = frozenset(own)
    try:
        sections = Sections(pid, environment)
    except UnknownSectionsError as error:
        groups = tuple(_programs(programs, None))
        return SeenSupervisor(**seen, programs=groups, own=seen["loaded"], unreadable=str(error))
    own |= {name.replace("eventlistener:", "program:") for name in sections.names()}
    return SeenSupervisor(
        **seen,
        file=os.path.realpath(sections.file),
        programs=tuple(_programs(programs, sections)),
        own=frozenset(own),
        outer=sections.outer,
        socket_access=(sections.value("unix_http_server", "chown"), sections.value("unix_http_server", "chmod")),
        takes_programs=bool(sections.value(_PLUGIN, "programs")),
        include=tuple(sorted(sections.include, key=lambda pattern: not pattern.parent.is_dir())),
    )


def _has_plugin(rpc: Rpc) -> bool:
    """Return whether the plugin is loaded, even without its configuration."""
    try:
        return is_loaded(rpc)
    except xmlrpc.client.Fault:
        return False


def _found_url() -> str:
    """Return the URL of the only supervisord that runs on this machine; raises SupervisorGone, Misconfigured."""
    pids = running()
    if not pids:
        raise SupervisorGone(
            Code.SUPERVISOR_UNREACHABLE,
            "no supervisord runs here",
            hint=f"start it, or run this inside its container; if it runs, export {Variable.SUPERVISOR_SERVER_URL}",
        )
    if len(pids) == 1:
        return _url_of(pids[0])
    # A child of supervisord that has not started its program yet has the same command line.
    urls = list(dict.fromkeys(url for pid in pids for url in _reachable(pid)))
    if len(urls) != 1:
        raise Misconfigured(
            Code.MISCONFIGURED,
            f"{len(pids)} supervisords run here, and one address is needed{': ' if urls else ''}{', '.join(urls)}",
            hint=_CHOICE.format(url=next(iter(urls), _USUAL_URL)),
        )
    return urls[0]


def _reachable(pid: int) -> list[str]:
    try:
        return [_url_of(pid)]
    except Misconfigured:
        return []


def _url_of(pid: int) -> str:
    """Return the URL of a supervisord from its configuration; raises Misconfigured."""
    try:
        sections = Sections(pid, processes.environment(pid))
    except UnknownSectionsError as error:
        hint = _CHOICE.format(url=_USUAL_URL)
        raise Misconfigured(Code.MISCONFIGURED, f"the address of supervisor is unknown: {error}", hint=hint) from error
    for url in sections.urls:
        return url
    raise Misconfigured(
        Code.MISCONFIGURED,
        f"{sections.file} has neither [unix_http_server] nor [inet_http_server]: no client can connect to supervisor",
        hint="add [unix_http_server] with file=/run/supervisor.sock, and restart supervisord",
    )


def _can_load(pid: int, environment: Mapping[str, str]) -> bool:
    """Return whether supervisord's own Python can import this agent, as the user of supervisord."""
    try:
        python, *_ = command_line(pid)
    except UnknownSectionsError:
        return False
    user = processes.owner(pid)
    if not Path(python).name.startswith("python") or user is None:
        return False
    command = [python, "-P", "-c", "import release_agent.plugin"]
    account = {"user": user, "group": user, "extra_groups": []} if os.geteuid() == 0 != user else {}
    return _succeeds(command, environment, account)


def _succeeds(command: Sequence[str], environment: Mapping[str, str], account: dict[str, Any]) -> bool:
    quiet: dict[str, Any] = {"capture_output": True, "stdin": subprocess.DEVNULL, "cwd": "/", "timeout": _LONGEST}
    try:
        return subprocess.run(command, env=dict(environment), check=False, **quiet, **account).returncode == 0  # noqa: S603 - a list
    except (OSError, subprocess.SubprocessError):
        return False


def _programs(programs: list[dict[str, Any]], sections: Sections | None) -> Iterator[SeenProgram]:
    """Yield the groups, without those of the agent, and without those that have its names."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for program in programs:
        if not is_own(program) and program["group"] not in AGENT_VERBS:
            groups.setdefault(program["group"], []).append(program)
    for group, members in groups.items():
        first = members[0]
        section = _section(sections, group, first["name"]) if sections else ""
        yield SeenProgram(
            group,
            first["command"],
            directory=directory_of(first),
            socket=sections.value(section, "socket") if sections else "",
            environment=pairs(sections.value(section, "environment")) if sections else {},
        )


def _section(sections: Sections, group: str, process: str) -> str:
    """Return the name of the section of a process, empty if unknown."""
    members = sections.value(f"group:{group}", "programs").replace(",", " ").split()
    likely = sorted(members, key=lambda name: not process.startswith(name))
    names = [f"{kind}:{name}" for name in (group, process, *likely) for kind in ("fcgi-program", "program")]
    return next((name for name in names if name in sections.names()), "")


def pairs(text: str) -> dict[str, str]:
    """Return the variables in `environment=` of a section."""
    return {name: double or single or bare.strip() for name, double, single, bare in _PAIR.findall(text)}


def deployer(root: Path, seen: SeenSupervisor) -> Deployer:
    """Return the deploying user.

    It is the owner of the root directory, or `release`; if supervisord does not run as root, it is supervisord's user.
    Raises Misconfigured with the commands that make a missing user and root.
    """
    owner = root.stat().st_uid if root.exists() else 0
    try:
        user = pwd.getpwnam(seen.user) if seen.user else pwd.getpwuid(owner) if owner else pwd.getpwnam(_USER)
    except KeyError:
        named = f"{_USER} with the number {owner}" if owner else seen.user or _USER
        number = f"--uid {owner} " if owner else ""
        raise Misconfigured(
            Code.MISCONFIGURED,
            f"the container has no user {named} to run the agent and own {root}",
            hint=f"useradd --system --create-home {number}{_USER} && install -d -o {_USER} -g {_USER} {root}",
        ) from None
    has_log = not seen.user or all(_may_write(Path(f"/proc/{seen.pid}/fd/{number}"), user) for number in (1, 2))
    has_socket = _may_write(Path(seen.url.removeprefix("unix://")), user)
    return Deployer(user.pw_name, group_name(user.pw_gid), user.pw_dir, has_socket=has_socket, has_log=has_log)


def _may_write(path: Path, user: pwd.struct_passwd) -> bool:
    """Return whether a user may write to a socket or an open file; True if that is unknown, as of a URL with a port."""
    try:
        there = path.stat()
    except OSError:
        return True
    if there.st_uid == user.pw_uid:
        return bool(there.st_mode & stat.S_IWUSR)
    if there.st_gid in os.getgrouplist(user.pw_name, user.pw_gid):
        return bool(there.st_mode & stat.S_IWGRP)
    return bool(there.st_mode & stat.S_IWOTH)
