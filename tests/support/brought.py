"""A host whose programs come with its releases."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from support.host import SERVICE_PYTHON, SERVICE_USER

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host

RELEASE_TOML = """programs = "supervisor.d/*.conf"
[health]
deadline = "{deadline}"
stable_for = "100ms"
"""
_SECTION = """\
[program:{name}]
command={python} -IS {root}/current/{script}
environment=PORT="{port}",SICK_FILE="{path}/sick"
user={user}
autorestart=true
startsecs=1
startretries=1
{more}
"""
IDLE = "import time\nwhile True: time.sleep(60)\n"


def file_of(host: Host) -> Path:
    """Return the file that supervisord reads the programs of releases from."""
    return host.path / "brought" / "programs.conf"


def allow_programs(host: Host, *services: str, users: str = SERVICE_USER) -> Host:
    """Let supervisord take programs from releases; its own configuration keeps these services."""
    host.plugin_settings = f"programs = {file_of(host)}\nprogram_users = {users}"
    host.services = [f"[include]\nfiles = {host.path}/brought/*.conf {host.path}/more/*.conf", *services]
    return host


def program(host: Host, name: str = "web", more: str = "", script: str = "web.py") -> str:
    """Return supervisor's section for a program of a release; ``web.py`` serves the host's port."""
    values = {"python": SERVICE_PYTHON, "root": host.root, "port": host.port, "path": host.path, "user": SERVICE_USER}
    return _SECTION.format(name=name, more=more, script=script, **values)


def idle(host: Host, name: str, more: str = "") -> str:
    """Return supervisor's section for a program of a release that does nothing."""
    return program(host, name, more, "idle.py")


def release(host: Host, tag: str, *programs: str, behaviour: str = "ok", **files: Any) -> None:
    """Tag a release that brings programs in one file; its release.toml has no ``programs`` if there are none."""
    text = RELEASE_TOML.format(deadline="60s" if behaviour == "ok" else "4s")
    brought = {"supervisor.d__all.conf": "\n".join(programs)} if programs else {}
    toml = text if programs else text.partition("\n")[2]
    host.repository.release(tag, behaviour, **{"release.toml": toml, "idle.py": IDLE, **brought, **files})


def pids(host: Host) -> dict[str, int]:
    """Return the pids of all running processes, by name."""
    return {info["name"]: info["pid"] for info in host.rpc.supervisor.getAllProcessInfo() if info["pid"]}


def groups(host: Host) -> set[str]:
    """Return supervisord's groups, without the agent's own."""
    return {info["group"] for info in host.rpc.supervisor.getAllProcessInfo()} - {"deploy", "boot"}
