"""Make calls of the plugin fail on demand in a supervisord, and check what must stay true."""

from __future__ import annotations

import xmlrpc.client
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.tracing import traced
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    import pytest

    from support.host import Host


READING: dict[str, tuple[Any, ...]] = {"getStatus": (), "getDeployment": ("somebody",), "getHistory": (5,)}  # the journal
STARTING: dict[str, tuple[Any, ...]] = {
    "deploy": ("v1.0.0", True),
    "rollback": ("", True),
    "stage": ("v1.0.0", True),
    "check": ("v1.0.0", True),
}
CALLS: dict[str, tuple[Any, ...]] = (
    READING
    | STARTING
    | {"getOutput": ("somebody",), "rehearse": ("000001-0", "web"), "getReleasesInUse": ("web",), "holdSocket": ("web",)}
    | {"getCandidates": ("web",)}
)
READING_NOTHING: dict[str, tuple[Any, ...]] = {  # of the agent's own files
    "getSocket": ("web",),
    "getLastWords": ("web", 0.0),
    "endRehearsal": (),
    "letGoSocket": ("web",),
    # These methods read the root, and some of them the configuration.
    "checkPrograms": ([],),
    "updatePrograms": (),
    "renewGroup": ("web",),
}
LONGEST_WAIT = 120.0  # seconds; no answer ever waits for it

# The saboteur is in supervisord beside the plugin. It makes named calls fail, only for the plugin. Or it kills the run that
# holds the lock at the run's n-th call of some methods. Or a service ends before its next start returns.
_SABOTEUR = """\
import gc, importlib, json, os, signal, sys
from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore

def from_plugin():
    return sys._getframe(2).f_globals["__name__"].startswith("release_agent.")

def failing(kept, name):
    if callable(kept):
        def function(*arguments, **named):
            if from_plugin():
                raise RuntimeError("sabotaged")
            return kept(*arguments, **named)
        return function
    def read(self):
        if from_plugin():
            raise RuntimeError("sabotaged")
        return self.__dict__.get(name, kept)
    return property(read, lambda self, value: self.__dict__.update({name: value}))

def deadly(method, left, lock):
    def function(*arguments, **named):
        answer = method(*arguments, **named)
        if left and left.pop() == 1:
            with open(lock) as file:
                os.kill(json.load(file)["pid"], signal.SIGKILL)
        return answer
    return function

kept = []

class Saboteur:
    def __init__(self, supervisord):
        self._supervisord = supervisord
    def dawdles(self, command):
        process, reap = self._supervisord.process_groups["deploy"].processes["deploy"], self._supervisord.reap
        def late(*arguments, **named):
            if process.pid:
                os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
            reap(*arguments, **named)
        kept.extend([(self._supervisord, "reap", reap), (process.config, "command", process.config.command)])
        self._supervisord.reap, process.config.command = late, command
        return True
    def outruns(self, service):
        process = self._supervisord.process_groups[service].processes[service]
        spawn = process.spawn
        def spawned():
            process.spawn = spawn
            pid = spawn()
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT)
            return pid
        process.spawn = spawned
        return True
    def fails(self, place):
        self._put(place, failing)
        return True
    def _put(self, place, make):
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        kept.append((owner, name, getattr(owner, name)))
        setattr(owner, name, make(kept[-1][2], name))
    def lacks(self, module, name):
        owner = importlib.import_module(module)
        kept.append((owner, name, getattr(owner, name)))
        delattr(owner, name)
        return True
    def kills(self, number, places, lock):
        left = list(range(1, number + 1))
        for place in places:
            self._put(place, lambda method, name: deadly(method, left, lock))
        return True
    def happens(self, kind, *arguments):
        events.notify(getattr(events, kind)(*arguments))
        return True
    def mends(self):
        while kept:
            setattr(*kept.pop())
        return True
    def collects(self):
        return gc.collect() >= 0
    def watches(self):
        return sorted(fd for fd, each in asyncore.socket_map.items() if type(each).__module__.startswith("release_agent."))
    def closes(self, descriptor):
        os.close(descriptor)
        return True
    def replaces(self, descriptor):
        other = os.open("/dev/zero", os.O_RDONLY)
        os.dup2(other, descriptor)
        os.close(other)
        return True

def make_rpcinterface(supervisord, **settings):
    return Saboteur(supervisord)
"""
_SECTIONS = """\
[rpcinterface:saboteur]
supervisor.rpcinterface_factory = saboteur:make_rpcinterface
"""


def let_in(host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Load the saboteur in the supervisord that the host starts next: ``host.rpc.saboteur``."""
    (host.path / "saboteur.py").write_text(_SABOTEUR)
    monkeypatch.setenv("PYTHONPATH", str(host.path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    host.services.append(_SECTIONS)


def pid_of(host: Host) -> int:
    assert host.supervisord
    return host.supervisord.pid


def state_db(host: Host) -> Path:
    return host.root / ".release-agent" / "state.db"


def assert_lives(host: Host) -> None:
    assert host.supervisord
    assert host.supervisord.poll() is None, "supervisord has ended"
    assert host.rpc.supervisor.getPID() == host.supervisord.pid
    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"


def _opened(host: Host) -> list[str]:
    found = []
    for entry in Path(f"/proc/{pid_of(host)}/fd").iterdir():
        with suppress(FileNotFoundError):  # it was closed after the listing
            found.append(str(entry.readlink()))
    return found


def assert_well(host: Host) -> None:
    """Assert that supervisord is up, has no file of the journal open, and that every method of the plugin answers."""
    assert_lives(host)
    assert not [place for place in _opened(host) if "state.db" in place]
    eventually(lambda: host.rpc.supervisor.getProcessInfo("deploy")["pid"] == 0, "no run is left")
    record = host.rpc.release.deploy("v1.1.0", True)
    assert record["outcome"] in ("deployed", "unchanged"), record
    assert host.rpc.release.getDeployment(record["id"]) == host.rpc.release.getHistory(1)[0]
    assert host.rpc.release.getStatus()["current"]["revision"] == "v1.1.0"
    assert host.rpc.release.check("v1.0.0", True)["outcome"] == "checked"
    assert "outcome" in host.rpc.release.rollback("", True)


def answer_of(call: Callable[..., Any], *arguments: object) -> Any:
    """Return the answer or the fault; raises the error for anything else: an HTTP 500, unreadable XML, silence."""
    try:
        return call(*arguments)
    except xmlrpc.client.Fault as fault:
        told = fault
    assert len(told.faultString) > 5
    assert "Traceback" not in told.faultString
    return told


def fault_of(call: Callable[..., Any], *arguments: object) -> xmlrpc.client.Fault:
    answer = answer_of(call, *arguments)
    assert isinstance(answer, xmlrpc.client.Fault), answer
    return answer


def answers_of(host: Host, calls: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    return {name: answer_of(getattr(host.rpc.release, name), *arguments) for name, arguments in calls.items()}


def fault_codes(answers: dict[str, Any]) -> dict[str, int | None]:
    return {name: answer.faultCode if isinstance(answer, xmlrpc.client.Fault) else None for name, answer in answers.items()}


@contextmanager
def somebody_waits(host: Host, revision: str = "v1.0.0", hook: str = "after_publish") -> Iterator[Future[Any]]:
    """Hold a deployment while a client waits for its end; release it at the end of the context."""
    host.configure(f"[hooks]\n{hook} = [{{ run = '{host.gate('held')}' }}]", service="")
    for name in ("held.reached", "held.open"):
        (host.path / name).unlink(missing_ok=True)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(answer_of, host.rpc.release.deploy, revision, True)
        host.reached("held")
        try:
            yield answer
        finally:
            host.open("held")


@contextmanager
def failing_calls(host: Host, *injected: str) -> Iterator[None]:
    """Make the kernel refuse calls of supervisord."""
    with traced(pid_of(host), *injected):
        yield


def ended_record(record: dict[str, Any]) -> dict[str, Any] | None:
    return record if "outcome" in record else None
