"""The services under supervisor, one process at a time, over supervisor's XML-RPC."""

from __future__ import annotations

import re
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from release_agent.errors import SERVICE_LOG_HINT, Code, Failed, Unhealthy
from release_agent.services import answers
from release_agent.services.faults import FaultCode, check_state, strange
from release_agent.services.programs import is_own, smallest

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence
    from signal import Signals

    from release_agent.config.sections import Service
    from release_agent.health import Process
    from release_agent.services.rpc import Rpc

_T = TypeVar("_T")
_MIGRATES = Path("/proc/sys/net/ipv4/tcp_migrate_req")


class SupervisorServices:
    """Groups of processes in one supervisord. Every method may raise SupervisorGone.

    Calls that stop and start are made with ``wait=False``; the caller polls, which is 50 times faster.
    """

    def __init__(self, rpc: Rpc) -> None:
        """``rpc`` reaches supervisord."""
        self._rpc = rpc

    def alive(self) -> None:
        """Raise SupervisorGone if supervisor does not answer or is shutting down."""
        check_state(self._ask(answers.state, "getState"))

    def fire(self, method: str, trigger: str) -> str | None:
        """Fire ``release.METHOD`` of the plugin without arguments; returns the reason of a refusal, or None."""
        try:
            self._rpc(f"release.{method}", "", False, trigger)
        except xmlrpc.client.Fault as fault:
            return str(fault.faultString)
        except Failed as error:
            return error.message
        return None

    def shut_down(self) -> str | None:
        """Ask supervisord to stop everything and end; returns the reason of a refusal, or None."""
        try:
            self._rpc("shutdown")
        except xmlrpc.client.Fault as fault:
            return str(fault.faultString)
        except Failed as error:
            return error.message
        return None

    def supervisor_pid(self) -> int:
        """Return supervisord's process id."""
        return self._ask(answers.pid, "getPID")

    def programs(self) -> list[dict[str, Any]]:
        """Return supervisor's configuration of every process, as getAllConfigInfo gives it."""
        return self._ask(answers.programs, "getAllConfigInfo")

    def migrates_requests(self) -> bool:
        """Return whether the kernel gives the requests of a closed SO_REUSEPORT socket to another one (Linux 5.14, ip-sysctl)."""
        try:
            return _MIGRATES.read_text(encoding="ascii").strip() == "1"
        except OSError:
            return False

    def stop_seconds(self, service: str) -> float:
        """Return the longest ``stopwaitsecs`` of a service's programs, 0 if there are none."""
        return max((program["stopwaitsecs"] for program in self._programs_of(service)), default=0)

    def start_seconds(self, service: str) -> float:
        """Return the longest ``startsecs`` of a service's programs, 0 if there are none."""
        return max((program["startsecs"] for program in self._programs_of(service)), default=0)

    def smallest_program(self, service: str) -> int:
        """Return the number of processes of the service's smallest program, 0 if there are none."""
        return smallest(self._programs_of(service))

    def processes(self) -> dict[str, list[Process]]:
        """Return every group's processes."""
        groups: dict[str, list[Process]] = {}
        for process in self._ask(answers.processes, "getAllProcessInfo"):
            groups.setdefault(process.service, []).append(process)
        return groups

    def look(self, process: Process) -> Process | None:
        """Return the state of a process now; None if supervisor no longer knows it."""
        try:
            answer = self._rpc("getProcessInfo", process.full_name)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == FaultCode.BAD_NAME:
                return None
            raise strange(self._rpc.url, "getProcessInfo", fault) from fault
        return self._read(answers.process, "getProcessInfo", answer)

    def check(self, services: Sequence[Service]) -> None:
        """Raise Failed if a service is unknown, a single process of a group, or the agent itself."""
        if not services:
            self.alive()
            return
        programs = self.programs()
        groups = self.processes()
        for service in services:
            if service.name not in groups:
                raise _unknown(service.name, groups)
            if any(is_own(program) for program in programs if program["group"] == service.name):
                raise Failed(
                    Code.SERVICE_REFUSED,
                    f"service {service.name} is a program of the agent itself; it would restart itself",
                    hint="name the groups that run from `current`",
                )

    def stop(self, process: Process) -> None:
        """Ask supervisor to stop a process, which may already have stopped; raises Unhealthy (restart-failed)."""
        self._change("stopProcess", process, allowed=(FaultCode.NOT_RUNNING,))

    def start(self, process: Process) -> None:
        """Ask supervisor to start a process, which may already run; raises Unhealthy (restart-failed).

        The process may also have ended again, or supervisor could not spawn it. Supervisor may then try again, and the proof of
        the release sees the result.
        """
        self._change("startProcess", process, allowed=(FaultCode.ALREADY_STARTED, FaultCode.SPAWN_ERROR))

    def signal(self, process: Process, signal: Signals) -> None:
        """Send a signal to a process, which may have stopped; raises Unhealthy (restart-failed)."""
        self._change("signalProcess", process, str(int(signal)), allowed=(FaultCode.NOT_RUNNING,))

    def _programs_of(self, service: str) -> list[dict[str, Any]]:
        return [program for program in self.programs() if program["group"] == service]

    def _ask(self, read: Callable[[object], _T], method: str, *arguments: object) -> _T:
        """Call and read the answer; raises Failed (supervisor-refused) for an answer that is not supervisor's."""
        try:
            answer = self._rpc(method, *arguments)
        except xmlrpc.client.Fault as fault:
            raise strange(self._rpc.url, method, fault) from fault
        return self._read(read, method, answer)

    def _read(self, read: Callable[[object], _T], method: str, answer: object) -> _T:
        try:
            return read(answer)
        except ValueError as error:
            raise strange(self._rpc.url, method, error) from error

    def _change(
        self,
        method: str,
        process: Process,
        argument: object = False,  # noqa: FBT002 - XML-RPC: wait=False
        *,
        allowed: Collection[FaultCode],
    ) -> None:
        try:
            self._rpc(method, process.full_name, argument)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode not in allowed:
                raise Unhealthy(
                    Code.RESTART_FAILED,
                    f"supervisor could not {method.removesuffix('Process')} {process.full_name}: {fault.faultString}",
                    hint=SERVICE_LOG_HINT,
                    services=(process.service,),
                ) from fault


def _unknown(name: str, groups: Mapping[str, Collection[Process]]) -> Failed:
    inside = next((p for processes in groups.values() for p in processes if name in (p.name, p.full_name)), None)
    plain = re.sub(r"[^\w.:-]", "?", name)
    if inside:
        return Failed(
            Code.SERVICE_REFUSED,
            f"service {plain} is a single program inside the group {inside.service}",
            hint=f'restart the group: name = "{inside.service}"',
        )
    return Failed(
        Code.SERVICE_UNKNOWN,
        f"supervisor does not know a group {plain}; it knows {', '.join(sorted(groups))}",
        hint="add its [program:…] and `supervisorctl update`, or fix [[service]] name",
    )
