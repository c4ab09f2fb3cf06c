"""The inner services, over supervisor's XML-RPC."""

from __future__ import annotations

import base64
import http.client
import re
import shlex
import signal
import socket
import xmlrpc.client
from dataclasses import dataclass
from pathlib import PurePath
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from release_agent.errors import Code, Failed, SupervisorGone, Unhealthy
from release_agent.model import Process

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from release_agent.config.sections import Service
    from release_agent.deploy.ports import Clock, Log

URL_VARIABLE = "SUPERVISOR_SERVER_URL"
_CALL_TIMEOUT = 10.0
_POLL = 0.015
# Above a program's own stopwaitsecs: supervisord sends KILL then, and looks at its children once a second.
_STOP_MARGIN = 10.0
_START_TIMEOUT = 10.0
_UNKNOWN_METHOD, _SHUTDOWN_STATE, _NOT_RUNNING, _ALREADY_STARTED = 1, 6, 70, 60  # supervisor.xmlrpc.Faults
_UNAUTHORIZED = 401
_ALIVE = ("STARTING", "RUNNING", "BACKOFF")
_FATAL = 200  # supervisor.states.ProcessStates; UNKNOWN is above
_AGENT_VERBS = ("deploy", "boot", "monitor")


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CALL_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """One connection a call, with a time-out: supervisor's own has none, and stays broken after a failed connect."""

    def __init__(self, url: str, credentials: str) -> None:
        super().__init__()
        self._url = url
        if credentials:
            self._extra_headers = [("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")]

    def make_connection(self, host: Any) -> http.client.HTTPConnection:  # noqa: ANN401 - as the base class has it
        if self._url.startswith("unix://"):
            return _UnixConnection(self._url.removeprefix("unix://"))
        return http.client.HTTPConnection(host, timeout=_CALL_TIMEOUT)

    def close(self) -> None:
        """Nothing is kept open."""


class Rpc:
    """Calls to one supervisord. SupervisorGone where it does not answer, or is shutting down."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        """``url``: ``unix:///path`` or ``http://host:port``; credentials come from the environment."""
        self.url = url or environ.get(URL_VARIABLE, "")
        user = environ.get("SUPERVISOR_USERNAME", "")
        self._credentials = f"{user}:{environ.get('SUPERVISOR_PASSWORD', '')}" if user else ""

    def __call__(self, method: str, *arguments: object) -> Any:  # noqa: ANN401 - whatever the method answers
        """Call ``supervisor.METHOD``, or a method of another namespace; raises xmlrpc.client.Fault for a refusal."""
        if not self.url:
            raise SupervisorGone(
                Code.SUPERVISOR_UNREACHABLE,
                f"no supervisor to talk to: neither [supervisor] url nor {URL_VARIABLE} is set",
                hint=f"set [supervisor] url, or export {URL_VARIABLE}=unix:///run/supervisor.sock; under supervisord it is set",
            )
        if not self.url.startswith(("unix:///", "http://")):
            why = "is no URL: it must be unix:///path or http://host:port"
            raise self._no_supervisor(why)
        place = "http://localhost" if self.url.startswith("unix://") else self.url
        proxy = xmlrpc.client.ServerProxy(place, transport=_Transport(self.url, self._credentials))
        try:
            return getattr(proxy, method if "." in method else f"supervisor.{method}")(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTDOWN_STATE:
                raise SupervisorGone(
                    Code.SUPERVISOR_UNREACHABLE, "supervisor is shutting down", hint="`boot` goes on when it is back"
                ) from fault
            if fault.faultCode == _UNKNOWN_METHOD and "." not in method:
                why = f"does not know supervisor.{method}"
                raise self._no_supervisor(why) from fault
            raise
        except xmlrpc.client.ProtocolError as error:
            raise self._refused(error) from error
        except (ExpatError, xmlrpc.client.ResponseError) as error:
            why = f"does not speak XML-RPC: {error}"
            raise self._no_supervisor(why) from error
        except (OSError, http.client.HTTPException) as error:
            raise SupervisorGone(
                Code.SUPERVISOR_UNREACHABLE,
                f"supervisor at {self.url} does not answer: {error or type(error).__name__}",
                hint="is supervisord running, and may this user use its socket? `release-agent doctor` looks",
            ) from error

    def _no_supervisor(self, why: str) -> Failed:
        return Failed(
            Code.SUPERVISOR_REFUSED,
            f"what is at {self.url} is no supervisor with [rpcinterface:supervisor]: it {why}",
            hint=f"mend [supervisor] url or {URL_VARIABLE}, or supervisord's own configuration",
        )

    def _refused(self, error: xmlrpc.client.ProtocolError) -> Failed:
        if error.errcode == _UNAUTHORIZED:
            return Failed(
                Code.SUPERVISOR_REFUSED,
                f"supervisor at {self.url} wants a user and a password",
                hint="set SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD in the program's environment",
            )
        return Failed(
            Code.SUPERVISOR_REFUSED,
            f"supervisor at {self.url} answered {error.errcode} {error.errmsg}",
            hint="is that supervisor's URL?",
        )


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
                self._call("stopProcess", process, allowed=_NOT_RUNNING)
        deadline = self._clock.now() + stop_wait + _STOP_MARGIN
        self._until(group, lambda seen: seen.state not in (*_ALIVE, "STOPPING"), deadline, "stop")

    def _start(self, group: str) -> None:
        # A process that is being stopped cannot be started: supervisor would fail on it.
        deadline = self._clock.now() + _START_TIMEOUT
        self._until(group, lambda seen: seen.state != "STOPPING", deadline, "stop")
        for process in self._look(group):
            if process.state not in _ALIVE:
                self._call("startProcess", process, allowed=_ALREADY_STARTED)

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
                self._call("signalProcess", process, str(int(signal.Signals[f"SIG{name}"])), allowed=_NOT_RUNNING)

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


def is_own(program: Mapping[str, Any], verbs: Sequence[str] = _AGENT_VERBS) -> bool:
    """Whether a program of supervisor's runs this agent with one of ``verbs``."""
    try:
        words = shlex.split(program["command"])
    except ValueError:
        words = str(program["command"]).split()
    named = any(PurePath(word).name == "release-agent" for word in words[:3]) or "release_agent" in words[:4]
    return named and any(verb in words for verb in verbs)


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
