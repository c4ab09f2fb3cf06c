"""Rehearse a release that is not live: start a copy of one process of a service, then remove the copy.

The copy is a process of the agent's own group, beside `deploy`. So the service's group and the configuration files,
which `reread` compares with the groups, do not change. The copy ends with the run that requested it.
"""

from __future__ import annotations

import contextlib
import copy
import os
import re
import shutil
import signal
import socket
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor import events
from supervisor.datatypes import InetStreamSocketConfig
from supervisor.options import FastCGIGroupConfig, ProcessGroupConfig
from supervisor.states import STOPPED_STATES, ProcessStates

from release_agent.deploy.policy.rehearsal import copied
from release_agent.errors import Code, Failed
from release_agent.health import Candidate
from release_agent.plugin.watch import PidWatch
from release_agent.system.left_behind import end_marked
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from release_agent.config.sections import Rehearsal, Service

NAME = "release-rehearsal"
_LOOPBACK = "127.0.0.1"
# At these events, the process has ended and still has its pid.
_REAPED = (ProcessStates.STOPPED, ProcessStates.EXITED, ProcessStates.BACKOFF)


@dataclass(frozen=True)
class RehearsedRelease:
    """The release of a copy: ``directory`` replaces the path ``current`` in the copy's configuration.

    ``run`` and ``id``: the pid and the id of the run that requested the copy.
    """

    current: str
    directory: str
    run: int
    id: str


@dataclass(frozen=True)
class _Copy:
    """The copy, its group, the directory of its socket, if it has one, and the variables that mark its descendants."""

    process: Any
    group: Any
    place: str
    marks: dict[str, str]

    def end_descendants(self) -> None:
        """Kill the processes that the copy left behind, such as a daemon; supervisord stops the copy itself."""
        with contextlib.suppress(Exception):
            end_marked(self.marks, spared=self.process.pid)


class CopyKeeper:
    """Keeps the copy of a rehearsal in one supervisord; there is at most one."""

    def __init__(self) -> None:
        self._copy: _Copy | None = None
        self._watches: list[PidWatch] = []
        self._run = 0
        events.subscribe(events.Tick5Event, self._on_tick)
        events.subscribe(events.SupervisorStoppingEvent, self._on_stopping)
        events.subscribe(events.ProcessStateEvent, self._on_state)

    @property
    def processes(self) -> dict[str, Any]:
        """Return the copy by its name; empty if there is no copy."""
        return {NAME: self._copy.process} if self._copy else {}

    def prepare(self, own: Any, live: Any, service: Service, release: RehearsedRelease) -> dict[str, Any]:
        """Make the copy of a process of the group ``live``, in the agent's group ``own``; the caller starts it.

        Returns its port and its socket's path. Raises Failed if the previous copy is still stopping, or if no
        process of the service can be copied.
        """
        if not self.end():
            raise Failed(Code.SERVICE_REFUSED, "the previous rehearsal is still stopping", hint="try again in a few seconds")
        settings = _settings(service)
        original = copied(service, settings, candidates(live, release.current))
        config = copy.copy(live.processes[original.name].config)
        port = _free_port()
        place = tempfile.mkdtemp(prefix=f"{NAME}-") if "{socket}" in settings.command + str(settings.environment) else ""
        with contextlib.ExitStack() as undo:
            undo.callback(_remove, place)
            _hand_over(place, config)
            _redirect(config, settings, release, {"{port}": str(port), "{socket}": f"{place}/socket" if place else ""})
            group = _private_group(live.config, config, port)
            undo.pop_all()
        self._copy = _Copy(group.processes[NAME], own, place, _marks(release))
        self._run = release.run
        own.processes[NAME] = self._copy.process
        self._watch(release.run, self._on_run_ended)
        return {"port": port, "socket": f"{place}/socket" if place else ""}

    def _watch(self, pid: int, attend: Callable[[], bool]) -> None:
        """Handle the end of a process; without a pidfd the next tick does that."""
        with contextlib.suppress(Exception):
            self._watches.append(_EndWatch(os.pidfd_open(pid), attend))

    def _on_run_ended(self) -> bool:
        if not self.end() and self._copy:
            self._watch(self._copy.process.pid, self.end)
        return True

    def end(self) -> bool:
        """Stop the copy, and remove it once it has stopped; returns whether it is gone."""
        if self._copy is None:
            return True
        process, own = self._copy.process, self._copy.group
        if own.processes.get(NAME) is process and process.get_state() not in STOPPED_STATES:
            if process.get_state() == ProcessStates.BACKOFF:
                process.give_up()
            elif process.get_state() != ProcessStates.STOPPING:
                process.stop()
            return False
        if own.processes.get(NAME) is process:
            del own.processes[NAME]
        self._copy.end_descendants()
        self._let_go()
        _remove(self._copy.place)
        self._copy = None
        return True

    def _on_tick(self, _event: object) -> None:
        with contextlib.suppress(Exception):
            if self._copy and not _is_alive(self._run):
                self.end()

    def _on_stopping(self, _event: object) -> None:
        # Supervisord stops all processes, also the copy. A reload closes every descriptor it does not know.
        with contextlib.suppress(Exception):
            self._let_go()
            if self._copy:
                _remove(self._copy.place)
                self._copy.end_descendants()

    def _on_state(self, event: Any) -> None:
        """Kill the rest of the copy's process group when the copy is reaped; its pid is the number of the group."""
        with contextlib.suppress(Exception):
            process = event.process
            if self._copy and process is self._copy.process and process.pid and process.get_state() in _REAPED:
                os.killpg(process.pid, signal.SIGKILL)

    def _let_go(self) -> None:
        for watch in self._watches:
            watch.close()
        self._watches = []


class _EndWatch(PidWatch):
    """Handles the end of a process in several turns, because supervisord reaps a process one turn after its end."""

    def __init__(self, descriptor: int, attend: Callable[[], bool]) -> None:
        super().__init__(descriptor)
        self._attend = attend

    def handle_read_event(self) -> None:
        """Handle the end, and leave the loop when that is done."""
        if self._attend():
            self.close()


def _settings(service: Service) -> Rehearsal:
    if service.rehearsal is None:
        message = f"service {service.name} has no [service.rehearsal]"
        raise Failed(Code.SERVICE_REFUSED, message, hint="add it to the service, in release.toml or release-agent.toml")
    return service.rehearsal


def candidates(live: Any, current: str) -> list[Candidate]:
    """Return the processes of a group in supervisor's order; ``current``: the path that processes of releases name."""
    configs = [process.config for process in sorted(live.processes.values())]
    return [Candidate(config.name, config.startsecs, _names(config, current), config.stopwaitsecs) for config in configs]


def _names(config: Any, current: str) -> bool:
    """Return whether a program's own section names a path; variables of supervisord do not count."""
    # Supervisor copies its variables into every program's environment.
    others = config.options.configroot.supervisord.environment or {}
    own = [value for name, value in (config.environment or {}).items() if others.get(name) != value]
    texts = (config.command, config.directory or "", *own)
    return any(_path(current).search(text) for text in texts)


def _redirect(config: Any, settings: Rehearsal, release: RehearsedRelease, placeholders: Mapping[str, str]) -> None:
    """Change a copied configuration to run from another directory, listen elsewhere, and start once."""
    given = {name: _moved(_filled(value, placeholders), release) for name, value in settings.environment}
    # A program also has all variables of supervisord's own environment.
    inherited = {name: value for name, value in os.environ.items() if _moved(value, release) != value}
    there = {name: _moved(value, release) for name, value in {**inherited, **(config.environment or {})}.items()}
    config.environment = {**there, **given, **_marks(release)}
    config.command = _moved(_filled(settings.command, placeholders) or config.command, release)
    config.directory = _moved(config.directory, release) if config.directory else config.directory
    config.name = NAME
    config.autostart, config.autorestart, config.startretries = False, False, 0
    config.stopasgroup, config.killasgroup = True, True
    # Two processes must not rotate one log file. The plugin keeps the output, and shows it after a failure.
    for channel in ("stdout", "stderr"):
        setattr(config, f"{channel}_logfile", None)
        setattr(config, f"{channel}_syslog", False)
        setattr(config, f"{channel}_events_enabled", True)


def _marks(release: RehearsedRelease) -> dict[str, str]:
    """Return the variables that mark the copy of a run and its descendants."""
    return {Variable.RELEASE_REHEARSAL.value: "1", Variable.RELEASE_ID.value: release.id}


def _moved(text: str, release: RehearsedRelease) -> str:
    """Replace the path of ``current`` by that of the release, if it is a whole path or the start of one."""
    return _path(release.current).sub(lambda _: release.directory, text)


def _path(path: str) -> re.Pattern[str]:
    return re.compile(r"(?<![\w.-])" + re.escape(path) + r"(?![\w.-])")


def _filled(text: str, placeholders: Mapping[str, str]) -> str:
    for placeholder, value in placeholders.items():
        text = text.replace(placeholder, value)
    return text


def _private_group(live: Any, config: Any, port: int) -> Any:
    """Make a group for the copy, unknown to supervisord; an fcgi-program gets a socket of its own on its stdin."""
    if isinstance(live, FastCGIGroupConfig):
        listening = InetStreamSocketConfig(_LOOPBACK, port)
        return FastCGIGroupConfig(live.options, NAME, live.priority, [config], listening).make_group()
    return ProcessGroupConfig(live.options, NAME, live.priority, [config]).make_group()


def _free_port() -> int:
    with socket.socket() as free:
        free.bind((_LOOPBACK, 0))
        port: int = free.getsockname()[1]
        return port


def _hand_over(place: str, config: Any) -> None:
    """Let the copy's user make a socket in a directory, and other users reach it."""
    if not place:
        return
    if config.uid is not None:
        os.chown(place, config.uid, -1)
    Path(place).chmod(0o711)


def _remove(place: str) -> None:
    if place:
        shutil.rmtree(place, ignore_errors=True)


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True
