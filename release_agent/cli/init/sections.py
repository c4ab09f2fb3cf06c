"""Make supervisor's sections that a container lacks, from those that come with the package."""

from __future__ import annotations

import re
import shlex
import sysconfig
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.variables import DEFAULT_CONFIG, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping

    from release_agent.cli.init.seen import SeenContainer

SECTIONS = {
    "deploy": "program:deploy",
    "boot": "program:boot",
    "monitor": "program:monitor",
    "plugin": "rpcinterface:release",
}
_HEAD = "; Written by `release-agent init`, which never changes an existing file: you may edit this one.\n"
_SOCKET = """; The user of the program deploy restarts the services over this socket.

[unix_http_server]
chown={}
chmod={}
"""
_PATTERN = re.compile(r"\*[^*?\[]*")
_CONTAINER_LOG = re.compile(r"^(?:; The container's log|std(?:out|err)_logfile).*\n", re.MULTILINE)
_WILD = re.compile(r"[*?\[]")


def proposed(container: SeenContainer) -> dict[Path, str]:
    """Return the texts of the sections that are missing, by path."""
    place, ending = place_of(container)
    found = {name: _section(container, name) for name in lacking(container)}
    if opens_socket(container) and not keeps_socket(container):
        found["socket"] = _HEAD + _SOCKET.format(*_access(container))
    return {place / f"release-agent-{name}{ending}": text for name, text in found.items()}


def lacking(container: SeenContainer) -> list[str]:
    """Return the names in SECTIONS that supervisor lacks; leave out a plugin that would keep supervisor from starting."""
    seen = container.supervisor
    return [name for name, section in SECTIONS.items() if section not in seen.own and (name != "plugin" or seen.can_load)]


def waiting(container: SeenContainer) -> list[str]:
    """Return the names in SECTIONS that supervisord has not read yet: the lacking ones, and those of an earlier init."""
    seen, new = container.supervisor, lacking(container)
    return [name for name, section in SECTIONS.items() if section not in seen.loaded and (section in seen.own or name in new)]


def opens_socket(container: SeenContainer) -> bool:
    """Return whether to open supervisor's socket to the deploying user; only a supervisord of the root user can do that."""
    return not container.deployer.has_socket and not container.supervisor.user


def keeps_socket(container: SeenContainer) -> bool:
    """Return whether the configuration opens the socket already, at the next start of supervisord."""
    return opens_socket(container) and container.supervisor.socket_access == _access(container)


def _access(container: SeenContainer) -> tuple[str, str]:
    return f"root:{container.deployer.group}", "0770"


def restarts(container: SeenContainer) -> bool:
    """Return whether to restart supervisord: for its socket, or for the plugin if no program runs."""
    return opens_socket(container) or (container.supervisor.is_idle and "plugin" in waiting(container))


def will_have_plugin(container: SeenContainer) -> bool:
    """Return whether the plugin works after all steps; supervisord reads its section only at its start."""
    return container.supervisor.has_plugin or (restarts(container) and "plugin" in waiting(container))


def place_of(container: SeenContainer) -> tuple[Path, str]:
    """Return the first directory that [include] reads, and the suffix of the files in it.

    If [include] reads no directory, return a directory beside the configuration.
    """
    for pattern in container.supervisor.include:
        if _PATTERN.fullmatch(pattern.name) and not _WILD.search(str(pattern.parent)):
            return pattern.parent, pattern.name[1:] or ".conf"
    return container.config.parent / "supervisor.d", ".conf"


def _section(container: SeenContainer, name: str) -> str:
    text = files("release_agent.cli.init").joinpath("supervisor.d", f"{name}.conf").read_text(encoding="utf-8")
    user, config = container.deployer, str(container.config)
    variables = {"HOME": user.home, "USER": user.name, "LOGNAME": user.name}
    if _must_name_config(container):
        variables[Variable.RELEASE_AGENT_CONFIG] = config
        if name == "plugin":
            text = f"{text}config = {_escaped(config)}\n"
    # Only root's supervisord can change the user.
    text = _with_line(text, "user=", "" if container.supervisor.user else f"user={user.name}\n")
    text = _with_line(text, "environment=", f"environment={_listed(variables)}\n")
    if not container.supervisor.finds_agent:
        agent = Path(sysconfig.get_path("scripts")) / "release-agent"
        text = _with_line(text, "command=release-agent", f"command={_escaped(shlex.quote(str(agent)))} {name}\n")
    if not user.has_log:
        text = _CONTAINER_LOG.sub("", text)  # supervisor's default is a file in its childlogdir
    # Releases bring no programs until a person has named the users for them.
    return _HEAD + re.sub(r"^(programs|program_users) =", r"; \1 =", text, flags=re.MULTILINE)


def _with_line(text: str, beginning: str, line: str) -> str:
    """Replace the line that starts with this text."""
    return re.sub(rf"^{re.escape(beginning)}.*\n", lambda _: line, text, flags=re.MULTILINE)


def _must_name_config(container: SeenContainer) -> bool:
    known = container.supervisor.environment.get(Variable.RELEASE_AGENT_CONFIG) or DEFAULT_CONFIG
    return known != str(container.config)


def _listed(variables: Mapping[str, str]) -> str:
    return ",".join(f'{name}="{_escaped(value)}"' for name, value in variables.items())


def _escaped(text: str) -> str:
    """Write a text so that supervisord expands nothing in it."""
    return text.replace("%", "%%")
