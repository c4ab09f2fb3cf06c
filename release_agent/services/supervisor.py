"""The inner services, over supervisor's XML-RPC."""

from __future__ import annotations

import re
import signal
import xmlrpc.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, Failed, ReleaseError, Unhealthy
from release_agent.model import Process
from release_agent.services.programs import is_own
from release_agent.services.rpc import ALREADY_STARTED, NOT_RUNNING, Rpc

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.config.sections import Service
    from release_agent.system.clock import Clock
    from release_agent.system.logs import Log

_POLL = 0.015
# Above a program's own stopwaitsecs: supervisord sends KILL then, and looks at its children once a second.
_STOP_MARGIN = 10.0
_START_TIMEOUT = 10.0
_ALIVE = ("STARTING", "RUNNING", "BACKOFF")
_FATAL = 200  # supervisor.states.ProcessStates; UNKNOWN is above


@dataclass(frozen=True)
class _Seen:
    """One process in one answer of getAllProcessInfo."""

    group: str
    name: str
    state: str
    pid: int
    why: str

    @property
    def full_name(self) -> str:
        return f"{self.group}:{self.name}"


class SupervisorServices:
    """Groups of processes; supervisor's calls are made with ``wait=False`` and polled, which is 50 times faster."""

    def __init__(self, rpc: Rpc, clock: Clock, log: Log) -> None:
        """Nothing is asked yet."""
        self._rpc = rpc
        self._clock = clock
        self._log = log

    def alive(self) -> None:
        """Raise SupervisorGone where supervisor does not answer or is shutting down."""
        self._rpc("getState")

    def fire(self, method: str, trigger: str) -> str | None:
        """Fire ``release.METHOD`` of the plugin, bare; returns why it was refused, or None."""
        try:
            self._rpc(f"release.{method}", "", False, trigger)  # noqa: FBT003 - XML-RPC: do not wait
        except xmlrpc.client.Fault as fault:
            return fault.faultString
        except Failed as error:
            return error.message
        return None

    def supervisor_pid(self) -> int:
        """Return supervisord's process id."""
        return int(self._rpc("getPID"))

    def programs(self) -> list[dict[str, Any]]:
        """Return supervisor's configuration of every process, as getAllConfigInfo gives it."""
        programs: list[dict[str, Any]] = self._rpc("getAllConfigInfo")
        return programs

    def processes(self) -> dict[str, list[Process]]:
        """Return every group's processes."""
        groups: dict[str, list[Process]] = {}
        for seen in self._look():
            groups.setdefault(seen.group, []).append(Process(seen.name, seen.state, seen.pid))
        return groups

    def reasons(self) -> dict[str, str]:
        """Return what supervisor says about each process that does not run, by ``group:name``."""
        return {seen.full_name: seen.why for seen in self._look() if seen.why}

    def check(self, services: Sequence[Service]) -> None:
        """Raise Failed where a service is unknown, one process of a group, or the agent itself."""
        if not services:
            self.alive()
            return
        programs = self.programs()
        seen = self._look()
        groups = {process.group for process in seen}
        for service in services:
            if service.name not in groups:
                raise _unknown(service.name, seen, sorted(groups))
            if any(is_own(program) for program in programs if program["group"] == service.name):
                raise Failed(
                    Code.SERVICE_REFUSED,
                    f"service {service.name} is a program of the agent itself; it would restart itself",
                    hint="name the groups that run from `current`",
                )

    def restart(self, services: Sequence[Service]) -> None:
        """Restart all, in order, each as its ``restart`` says; what is stopped is started.

        Raises Unhealthy (restart-failed) where a process does not stop or start.
        """
        for service in services:
            if service.restart == "restart":
                tired = [process.full_name for process in self._look(service.name) if process.state == "BACKOFF"]
                self.stop([service])
                self._start(service.name)
                self._start_afresh(service.name, tired)
            elif service.restart.startswith("signal:"):
                self._signal(service.name, service.restart.partition(":")[2])
            self._start(service.name)  # what was not running is started, too
            self._log.info("service.restarted", service=service.name, how=service.restart)

    def stop(self, services: Sequence[Service]) -> None:
        """Stop every process of the services, and return when they have stopped."""
        if not services:
            return
        programs = self.programs()
        for service in services:
            waits = [program["stopwaitsecs"] for program in programs if program["group"] == service.name]
            self._stop(service.name, max(waits, default=0))

    def start(self, services: Sequence[Service]) -> None:
        """Start what does not run."""
        for service in services:
            self._start(service.name)

    def _look(self, group: str = "") -> list[_Seen]:
        return [
            _Seen(
                i["group"],
                i["name"],
                i["statename"],
                i["pid"],
                i["spawnerr"] or (i["description"] if i["state"] >= _FATAL else ""),
            )
            for i in self._rpc("getAllProcessInfo")
            if not group or i["group"] == group
        ]

    def _stop(self, group: str, stop_wait: float) -> None:
        for process in self._look(group):
            if process.state in _ALIVE:
                self._call("stopProcess", process, allowed=NOT_RUNNING)
        deadline = self._clock.now() + stop_wait + _STOP_MARGIN
        self._until(group, lambda seen: seen.state not in (*_ALIVE, "STOPPING"), deadline, "stop")

    def _start(self, group: str) -> None:
        # A process that is being stopped cannot be started: supervisor would fail on it.
        deadline = self._clock.now() + _START_TIMEOUT
        self._until(group, lambda seen: seen.state != "STOPPING", deadline, "stop")
        for process in self._look(group):
            if process.state not in _ALIVE:
                self._call("startProcess", process, allowed=ALREADY_STARTED)

    def _start_afresh(self, group: str, tired: Sequence[str]) -> None:
        """Start those again that supervisor gave up at once.

        A process that was stopped between two tries keeps its count of them: the
        first failure of the next release would be its last. FATAL resets it.
        """
        if not tired:
            return
        start_seconds = max((p["startsecs"] for p in self.programs() if p["group"] == group), default=0)
        deadline = self._clock.now() + start_seconds + _START_TIMEOUT
        while self._clock.now() < deadline and any(seen.state == "STARTING" for seen in self._look(group)):
            self._clock.sleep(_POLL)
        self._start(group)

    def _signal(self, group: str, name: str) -> None:
        for process in self._look(group):
            if process.state in ("RUNNING", "STARTING"):
                self._call("signalProcess", process, str(int(signal.Signals[f"SIG{name}"])), allowed=NOT_RUNNING)

    def _call(self, method: str, process: _Seen, argument: object = False, *, allowed: int) -> None:  # noqa: FBT002 - wait=False
        try:
            self._rpc(method, process.full_name, argument)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode != allowed:
                raise Unhealthy(
                    Code.RESTART_FAILED,
                    f"supervisor could not {method.removesuffix('Process')} {process.full_name}: {fault.faultString}",
                    hint="see what it said: the container's log, or `supervisorctl tail SERVICE stderr`",
                ) from fault

    def _until(self, group: str, done: Callable[[_Seen], bool], deadline: float, what: str) -> None:
        while True:
            waiting = [seen for seen in self._look(group) if not done(seen)]
            if not waiting:
                return
            if self._clock.now() > deadline:
                states = ", ".join(f"{seen.full_name} is {seen.state}" for seen in waiting)
                raise Unhealthy(
                    Code.RESTART_FAILED,
                    f"could not {what} {group}: {states}",
                    hint="see what it said: the container's log, or `supervisorctl tail SERVICE stderr`",
                )
            self._clock.sleep(_POLL)


def _unknown(name: str, seen: Sequence[_Seen], groups: Sequence[str]) -> Failed:
    inside = next((process for process in seen if name in (process.name, process.full_name)), None)
    plain = re.sub(r"[^\w.:-]", "?", name)
    if inside:
        return Failed(
            Code.SERVICE_REFUSED,
            f"service {plain} is a single program inside the group {inside.group}",
            hint=f'restart the group: name = "{inside.group}"',
        )
    return Failed(
        Code.SERVICE_UNKNOWN,
        f"supervisor does not know a group {plain}; it knows {', '.join(groups)}",
        hint="add its [program:…] and `supervisorctl update`, or mend [[service]] name",
    )


def is_monitored(services: SupervisorServices) -> Callable[[], bool]:
    """Make a question of whether supervisor has a ``monitor`` program of this agent."""

    def ask() -> bool:
        try:
            return any(is_own(program, ("monitor",)) for program in services.programs())
        except ReleaseError:
            return False

    return ask
