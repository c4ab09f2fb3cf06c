"""Each callback of the plugin made to fail in a supervisord that runs: it lives, and whoever called is told in words."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import socket
import sqlite3
import subprocess
import xmlrpc.client
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from supervisor.xmlrpc import Faults, SupervisorTransport

from support.tracing import traced
from support.waiting import eventually, freeze

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from concurrent.futures import Future

    from support.host import Host

_READING: dict[str, tuple[Any, ...]] = {"getStatus": (), "getDeployment": ("somebody",), "getHistory": (5,)}
_STARTING: dict[str, tuple[Any, ...]] = {"deploy": ("v1.0.0", True), "rollback": ("", True), "check": ("v1.0.0", True)}
_CALLS = _READING | _STARTING
_LONGEST_WAIT = 30.0

# It lives in supervisord beside the plugin: what it is told of fails, for the plugin alone.
_SABOTEUR = """\
import gc, importlib, os, sys
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
    def fails(self, place):
        module, _, path = place.partition(":")
        *owners, name = path.split(".")
        owner = importlib.import_module(module)
        for each in owners:
            owner = getattr(owner, each)
        kept.append((owner, name, getattr(owner, name)))
        setattr(owner, name, failing(kept[-1][2], name))
        return True
    def lacks(self, module, name):
        owner = importlib.import_module(module)
        kept.append((owner, name, getattr(owner, name)))
        delattr(owner, name)
        return True
    def mends(self):
        while kept:
            setattr(*kept.pop())
        return True
    def collects(self):
        return gc.collect() >= 0
    def watches(self):
        return sorted(fd for fd, each in asyncore.socket_map.items() if type(each).__name__ == "ExitWatch")
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


@pytest.fixture(autouse=True)
def _nobody_waits_forever() -> Iterator[None]:
    before = socket.getdefaulttimeout()
    socket.setdefaulttimeout(_LONGEST_WAIT)
    yield
    socket.setdefaulttimeout(before)


@pytest.fixture
def host(cold_host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A container with a saboteur in its supervisord, no service, and one release live."""
    (cold_host.path / "saboteur.py").write_text(_SABOTEUR)
    monkeypatch.setenv("PYTHONPATH", str(cold_host.path))
    monkeypatch.setenv("PYTHONDONTWRITEBYTECODE", "1")
    cold_host.repository.release("v1.0.0")
    cold_host.repository.release("v1.1.0")
    cold_host.services.append(_SECTIONS)
    cold_host.configure(service="")
    cold_host.start()
    assert cold_host.deploy("v1.1.0").code == 0
    return cold_host


# What is asked again and again


def _pid(host: Host) -> int:
    assert host.supervisord
    return host.supervisord.pid


def _database(host: Host) -> Path:
    return host.root / ".release-agent" / "state.db"


def _lives(host: Host) -> None:
    assert host.supervisord
    assert host.supervisord.poll() is None, "supervisord has ended"
    assert host.rpc.supervisor.getPID() == host.supervisord.pid
    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"


def _opened(host: Host) -> list[str]:
    found = []
    for entry in Path(f"/proc/{_pid(host)}/fd").iterdir():
        with suppress(FileNotFoundError):  # closed since it was listed
            found.append(str(entry.readlink()))
    return found


def _is_well(host: Host) -> None:
    """Supervisord lives, nothing of the journal is left open in it, and every method of the plugin answers."""
    _lives(host)
    assert not [place for place in _opened(host) if "state.db" in place]
    eventually(lambda: host.rpc.supervisor.getProcessInfo("deploy")["pid"] == 0, "no run is left")
    record = host.rpc.release.deploy("v1.1.0", True)
    assert record["outcome"] in ("deployed", "unchanged"), record
    assert host.rpc.release.getDeployment(record["id"]) == host.rpc.release.getHistory(1)[0]
    assert host.rpc.release.getStatus()["current"]["revision"] == "v1.1.0"
    assert host.rpc.release.check("v1.0.0", True)["outcome"] == "checked"
    assert "outcome" in host.rpc.release.rollback("", True)


def _told(call: Callable[..., Any], *arguments: object) -> Any:
    """Return the answer, or the fault; anything else (an HTTP 500, XML that nobody can read, silence) is raised."""
    try:
        return call(*arguments)
    except xmlrpc.client.Fault as fault:
        told = fault
    assert len(told.faultString) > 5
    assert "Traceback" not in told.faultString
    return told


def _fault(call: Callable[..., Any], *arguments: object) -> xmlrpc.client.Fault:
    answer = _told(call, *arguments)
    assert isinstance(answer, xmlrpc.client.Fault), answer
    return answer


def _every(host: Host, calls: dict[str, tuple[Any, ...]]) -> dict[str, Any]:
    return {name: _told(getattr(host.rpc.release, name), *arguments) for name, arguments in calls.items()}


def _numbers(answers: dict[str, Any]) -> dict[str, int | None]:
    return {name: answer.faultCode if isinstance(answer, xmlrpc.client.Fault) else None for name, answer in answers.items()}


@contextmanager
def _waiting(host: Host, revision: str = "v1.0.0", hook: str = "after_publish") -> Iterator[Future[Any]]:
    """Somebody waits for the end of a deployment, which is held; it goes on where this ends."""
    host.configure(f"[hooks]\n{hook} = [{{ run = '{host.gate('held')}' }}]", service="")
    for name in ("held.reached", "held.open"):
        (host.path / name).unlink(missing_ok=True)
    with ThreadPoolExecutor(1) as pool:
        answer = pool.submit(_told, host.rpc.release.deploy, revision, True)
        host.reached("held")
        try:
            yield answer
        finally:
            host.open("held")


@contextmanager
def _failing_calls(host: Host, *injected: str) -> Iterator[None]:
    """The kernel refuses supervisord what it asks for."""
    with traced(_pid(host), *injected):
        yield


def test_every_public_method_is_among_those_made_to_fail(host: Host) -> None:
    public = {name.removeprefix("release.") for name in host.rpc.system.listMethods() if name.startswith("release.")}

    assert public == set(_CALLS)
    assert host.rpc.system.methodSignature("release.deploy") == ["struct", "string", "boolean", "string"]


# The journal


def _garbage(database: Path) -> None:
    database.write_bytes(os.urandom(8192))


def _empty_pages(database: Path) -> None:
    database.write_bytes(database.read_bytes()[:100] + bytes(8192))


def _directory(database: Path) -> None:
    database.unlink()
    database.mkdir()


def _itself(database: Path) -> None:
    database.unlink()
    database.symlink_to("/proc/self/mem")


def _other_version(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        db.execute("PRAGMA user_version = 9")


def _other_tables(database: Path) -> None:
    with closing(sqlite3.connect(database)) as db:
        for table in ("deployment", "answer", "setting"):
            db.execute(f"DROP TABLE {table}")


@pytest.mark.parametrize("broken", [_garbage, _empty_pages, _directory, _itself, _other_version, _other_tables])
def test_journal_that_cannot_be_read_is_a_fault_and_a_start_is_none(host: Host, broken: Callable[[Path], None]) -> None:
    kept = _database(host).read_bytes()
    broken(_database(host))

    read = _numbers(_every(host, _READING))
    begun = host.rpc.release.deploy("v1.0.0", False)
    eventually(lambda: host.process("deploy")[0] == "EXITED", "it ended")
    started = _numbers(_every(host, _STARTING))

    assert read == dict.fromkeys(_READING, 113)
    assert begun["id"], "it was started all the same: who asked has to know its id"
    # What is no database at all, the run has set aside and made anew.
    assert set(started.values()) == ({None} if broken in (_garbage, _empty_pages) else {113})
    _lives(host)
    subprocess.run(["rm", "-rf", _database(host)], check=True)
    _database(host).write_bytes(kept)
    _is_well(host)


def test_journal_that_is_locked_is_a_fault_and_a_start_is_no_failure(host: Host) -> None:
    with closing(sqlite3.connect(_database(host), isolation_level=None)) as other:
        other.execute("BEGIN EXCLUSIVE")
        faults = _every(host, _READING)
        begun = host.rpc.release.deploy("v1.0.0", False)
        other.execute("ROLLBACK")

    assert _numbers(faults) == dict.fromkeys(_READING, 113)
    assert all("locked" in fault.faultString for fault in faults.values())
    record = eventually(lambda: _ended(host.rpc.release.getDeployment(begun["id"])), "it went on")
    assert record["outcome"] == "deployed"
    _is_well(host)


def _ended(record: dict[str, Any]) -> dict[str, Any] | None:
    return record if "outcome" in record else None


_ROWS = {
    "no JSON": "{",
    "a list": "[1]",
    "a number": "5",
    "no id": "{}",
    "an id that is a list": '{"id": [1]}',
    "too small a number": '{"id": "x", "seconds": -99999999999}',
    "too large a number": f'{{"id": "x", "seconds": 1{"0" * 400}}}',
    "half a character": r'{"id": "x", "revision": "\ud800"}',
    "what XML cannot say": r'{"id": "x", "error": {"message": "\u001b[31mred\u0000\uffff"}}',
    "foreign names": r'{"id": "x", "\ud800\u0001": {"\u0002": 1}}',
    "many bytes a character": json.dumps({"id": "x", "revision": "€" * 500}, ensure_ascii=False),
    "too deep to read": "[" * 100_000,
    "too deep to answer": f'{{"id": {"[" * 490}1{"]" * 490}}}',
    "bytes": b"\xff\xfe",
}


def test_garbage_in_the_journal_is_told_at_once_and_to_who_waits(host: Host) -> None:
    for row in _ROWS.values():
        with closing(sqlite3.connect(_database(host), isolation_level=None)) as db:
            # Whatever ends a run, its row is garbage from that moment.
            quoted = f"X'{row.hex()}'" if isinstance(row, bytes) else "'" + row.replace("'", "''") + "'"
            update = f"UPDATE deployment SET record = {quoted} WHERE id = NEW.id"  # noqa: S608 - a trigger has no parameters
            db.execute(f"CREATE TRIGGER garbage AFTER UPDATE OF outcome ON deployment BEGIN {update}; END")
            db.execute("INSERT OR REPLACE INTO setting VALUES ('health', ?)", (row,))
            db.execute("INSERT INTO answer (id, body) VALUES ('asked', ?)", (row,))
            _told(host.rpc.release.deploy, "v1.0.0", True)
            identity = db.execute("SELECT id FROM deployment ORDER BY seq DESC LIMIT 1").fetchone()[0]
            _every(host, _READING | {"getDeployment": (identity,)})
            _told(host.rpc.release.getDeployment, "asked")
            db.executescript(
                "DROP TRIGGER garbage; DELETE FROM deployment WHERE seq > 1; DELETE FROM setting; DELETE FROM answer;"
            )
        _lives(host)

    _is_well(host)


def test_hook_that_speaks_in_colours_and_tongues_fails_readably(host: Host) -> None:
    host.configure("[hooks]\nbuild = [{ run = \"printf '\\\\033[31m\\\\001 čeština €€€€€€€€€\\\\377'; exit 3\" }]", service="")

    waited = host.rpc.release.deploy("v1.0.0", True)
    asked = host.rpc.release.getDeployment(waited["id"])

    assert (waited["outcome"], waited["error"]["code"]) == ("failed", "hook-failed")
    assert r"\x1b[31m\x01 " in waited["error"]["message"]
    assert "čeština €" in asked["error"]["message"]
    host.configure(service="")
    _is_well(host)


# Where it lives


@pytest.mark.parametrize("name", [".release-agent", "releases", "current"])
def test_part_of_the_root_that_is_no_directory_is_told(host: Host, name: str) -> None:
    place = host.root / name
    aside = place.rename(host.path / "aside")
    place.write_text("in the way")

    answers = _every(host, _CALLS)

    assert _ended(answers["deploy"] if isinstance(answers["deploy"], dict) else {"outcome": "a fault"})
    _lives(host)
    place.unlink()
    aside.rename(place)
    _is_well(host)


def test_root_that_is_gone_is_told_and_made_again(host: Host) -> None:
    shutil.rmtree(host.root)

    assert host.rpc.release.getHistory(5) == []
    assert "current" not in host.rpc.release.getStatus()
    assert _fault(host.rpc.release.getDeployment, "somebody").faultCode == 122
    assert host.rpc.release.deploy("v1.0.0", True)["outcome"] == "deployed"
    _is_well(host)


@pytest.mark.parametrize("text", ["[1]", "{", "[" * 100_000, '{"pid": %d, "started": %d}', '{"pid": {}, "started": null}'])
def test_garbage_in_the_lock_is_told(host: Host, text: str) -> None:
    started = int(Path(f"/proc/{_pid(host)}/stat").read_text().rpartition(")")[2].split()[19])
    lock = host.root / ".release-agent" / "lock"
    lock.write_text(text % (_pid(host), started) if "%d" in text else text)

    _every(host, _CALLS)

    _lives(host)
    lock.write_text("")
    _is_well(host)


# The configuration


def _unreadable(config: Path) -> None:
    config.unlink()
    config.symlink_to(config)


_MISTAKES: dict[str, Callable[[Path], object]] = {
    "removed": lambda config: config.unlink(),
    "unreadable": _unreadable,
    "a directory": lambda config: (config.unlink(), config.mkdir()),
    "not TOML": lambda config: config.write_bytes(os.urandom(1000)),
    "too deep": lambda config: config.write_text("a = " + "[" * 100_000),
    "of another": lambda config: config.write_text('[čeština]\n"\\u0001€€€€€€€" = 1\n'),
}


@pytest.mark.parametrize("mistake", _MISTAKES.values(), ids=_MISTAKES.keys())
def test_bad_configuration_is_a_fault_at_once_and_of_who_waits_and_at_a_reload(
    host: Host, mistake: Callable[[Path], object]
) -> None:
    with _waiting(host) as answer:
        kept = host.config.read_text()
        mistake(host.config)

    assert answer.result(_LONGEST_WAIT).faultCode == 110
    assert _numbers(_every(host, _CALLS)) == dict.fromkeys(_CALLS, 110)
    host.reload()
    assert _numbers(_every(host, _CALLS)) == dict.fromkeys(_CALLS, 110)
    subprocess.run(["rm", "-rf", host.config], check=True)
    host.config.write_text(kept)
    _is_well(host)


def test_several_calls_in_one_fault_each_by_itself(host: Host) -> None:
    kept = host.config.read_text()
    host.config.write_text("[")
    calls = [{"methodName": f"release.{name}", "params": list(arguments)} for name, arguments in _CALLS.items()]

    answers = host.rpc.system.multicall(calls)

    assert [answer["faultCode"] for answer in answers] == [110] * len(_CALLS)
    host.config.write_text(kept)
    _is_well(host)


def test_what_a_section_says_besides_keeps_no_supervisord_from_starting(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    section = "[rpcinterface:odd]\nsupervisor.rpcinterface_factory = release_agent.plugin:make_rpcinterface\n"
    host.services.append(section + "supervisord = 1\nself = 2\nsettings = 3\nconfig = /nowhere/at all\n")
    host.config.unlink()

    host.start()

    assert _fault(host.rpc.odd.getStatus).faultCode == 110
    assert _fault(host.rpc.release.getStatus).faultCode == 110
    host.configure(service="")
    assert host.rpc.release.deploy("v1.0.0", True)["outcome"] == "deployed"
    _lives(host)


# What is asked


_HUGE = "v" * 5_000_000
_WRONG: dict[str, Any] = {
    "an empty array": [],
    "an array": [["v1.0.0"], {}],
    "an empty struct": {},
    "a struct": {"revision": "v1.0.0"},
    "a number": 1.5,
    "no": False,
    "yes": True,
    "a date": xmlrpc.client.DateTime("20260101T00:00:00"),
    "too long": _HUGE,
}


def test_argument_of_the_wrong_kind_is_a_fault_and_starts_nothing(host: Host) -> None:
    before = host.rpc.release.getHistory(50)

    for kind, value in _WRONG.items():
        for name in (*_STARTING, "getDeployment"):
            assert _fault(getattr(host.rpc.release, name), value).faultCode == Faults.INCORRECT_PARAMETERS, (kind, name)
        assert _fault(host.rpc.release.deploy, "v1.0.0", True, value).faultCode == Faults.INCORRECT_PARAMETERS, kind

    assert host.rpc.release.getHistory(50) == before
    _is_well(host)


def test_limit_that_is_no_number_is_a_fault(host: Host) -> None:
    for limit in (float("inf"), float("nan"), "9" * 5000, "", "many", {}, [1]):
        assert _fault(host.rpc.release.getHistory, limit).faultCode == Faults.INCORRECT_PARAMETERS, limit

    assert host.rpc.release.getHistory(-1) == []
    _is_well(host)


def test_odd_name_is_answered_readably(host: Host) -> None:
    for value in ("\x00", "\x1b[31m", "\uffff", "€" * 300, "x\ny", 0, -1, 2**31 - 1):
        name = xmlrpc.client.Binary(value.encode()) if isinstance(value, str) else value
        for method in _STARTING:
            _told(getattr(host.rpc.release, method), name, True)
        assert _fault(host.rpc.release.getDeployment, name).faultCode == 122
        fired = host.rpc.release.deploy("v1.0.0", True, name)
        assert host.rpc.release.getHistory(1)[0]["id"] == fired["id"], "what fired it makes no history unreadable"

    _is_well(host)


def test_too_many_arguments_too_few_and_none_at_all_are_told(host: Host) -> None:
    transport = SupervisorTransport("", "", f"unix://{host.path}/supervisor.sock")
    nil: Any = xmlrpc.client.ServerProxy("http://localhost", transport=transport, allow_none=True)

    for method, arguments in _CALLS.items():
        too_many = _fault(getattr(host.rpc.release, method), *["x"] * 5)
        assert too_many.faultCode == Faults.INCORRECT_PARAMETERS
        assert "too many" in too_many.faultString
        _told(getattr(host.rpc.release, method))
        eventually(lambda: host.rpc.supervisor.getProcessInfo("deploy")["pid"] == 0, "it ended")
        _told(getattr(nil.release, method), *[None] * len(arguments))

    assert "missing" in _fault(host.rpc.release.getDeployment).faultString
    _is_well(host)


# What the kernel refuses


def test_without_file_descriptors_every_method_is_told_until_there_are_some(host: Host) -> None:
    rpc = host.rpc
    rpc.supervisor.getPID()  # connected, and stays so: supervisord could accept nobody
    _, most = resource.prlimit(_pid(host), resource.RLIMIT_NOFILE)
    taken = max(map(int, os.listdir(f"/proc/{_pid(host)}/fd"))) + 1
    numbers = set()

    for spare in range(9):
        resource.prlimit(_pid(host), resource.RLIMIT_NOFILE, (taken + spare, most))
        for name, arguments in _CALLS.items():
            numbers |= {_numbers({name: _told(getattr(rpc.release, name), *arguments)})[name]}

    # The configuration was not to be read; the program not to be started; everything was there.
    assert numbers >= {110, Faults.SPAWN_ERROR, None}
    resource.prlimit(_pid(host), resource.RLIMIT_NOFILE, (most, most))
    _is_well(host)


@pytest.mark.parametrize("error", ["ENOSYS", "EMFILE", "EPERM"])
def test_without_a_pidfd_the_next_tick_answers(host: Host, error: str) -> None:
    with _failing_calls(host, "-e", f"inject=pidfd_open:error={error}"):
        record = host.rpc.release.deploy("v1.0.0", True)

        assert host.rpc.saboteur.watches() == []
    assert record["outcome"] == "deployed"
    _is_well(host)


def test_python_without_pidfds_answers_with_the_next_tick(host: Host) -> None:
    host.rpc.saboteur.lacks("os", "pidfd_open")

    assert host.rpc.release.deploy("v1.0.0", True)["outcome"] == "deployed"

    host.rpc.saboteur.mends()
    _is_well(host)


@pytest.mark.parametrize(
    ("file", "call", "error", "number"),
    [
        ("release-agent.toml", "openat", "EACCES", 110),
        ("release-agent.toml", "read", "EIO", 110),
        ("root/.release-agent/state.db", "openat", "EACCES", 113),
        ("root/.release-agent/state.db", "pread64", "EIO", 113),
        ("root/.release-agent/state.db", "fcntl", "EIO", 113),
    ],
)
def test_what_cannot_be_read_is_a_fault_of_every_method(host: Host, file: str, call: str, error: str, number: int) -> None:
    with _failing_calls(host, "-P", str(host.path / file), "-e", f"trace={call}", "-e", f"inject={call}:error={error}"):
        numbers = _numbers(_every(host, _CALLS))

    assert numbers == dict.fromkeys(_CALLS, number)
    _is_well(host)


def test_process_that_cannot_be_made_is_a_fault(host: Host) -> None:
    with _failing_calls(host, "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN"):
        numbers = _numbers(_every(host, _STARTING))

    assert numbers == dict.fromkeys(_STARTING, Faults.SPAWN_ERROR)
    # Whatever number a client's descriptor has: it may have been a pipe's.
    clients = [host.rpc for _ in range(12)]
    assert {client.supervisor.getPID() for client in clients} == {_pid(host)}
    assert "No config updates" in host.supervisorctl("reread").out
    _is_well(host)


def test_run_that_was_reaped_with_its_very_start_is_answered(host: Host) -> None:
    host.rpc.saboteur.dawdles("/bin/true")

    record = host.rpc.release.deploy("v1.0.0", True)

    assert record["error"]["message"] == "it ended with 0 before it was journaled"
    host.rpc.saboteur.mends()
    _is_well(host)


def test_run_that_is_being_stopped_is_waited_for_and_not_taken_for_the_new_one(host: Host) -> None:
    with _waiting(host, hook="build") as answer:
        pid = host.process("deploy")[1]
        freeze(pid)
        (host.root / ".release-agent" / "lock").write_text("")  # as before it has the lock, and after
        host.rpc.supervisor.stopProcess("deploy", False)
        busy = _fault(host.rpc.release.deploy, "v1.0.0", False)
        os.kill(pid, signal.SIGCONT)
        assert "outcome" in answer.result(_LONGEST_WAIT)

    assert busy.faultCode == 111
    host.configure(service="")
    _is_well(host)


# What the plugin works with

_COLLABORATORS = [
    "supervisor.events:subscribe",  # the first of all: it is called but once
    "supervisor.process:Subprocess.pid",
    "supervisor.process:Subprocess.get_state",
    "supervisor.rpcinterface:SupervisorNamespaceRPCInterface.startProcess",
    "os:pidfd_open",
    "os:fstat",
    "os:close",
    "time:monotonic",
    "json:loads",
    "json:dumps",
    "sqlite3:connect",
    "tomllib:loads",
    "pathlib:Path.read_text",
    "pathlib:Path.exists",
]


def test_whatever_fails_from_the_first_call_on_is_told(host: Host) -> None:
    for place in _COLLABORATORS:
        host.rpc.saboteur.fails(place)

        answers = _every(host, _CALLS)

        _lives(host)
        host.rpc.saboteur.mends()
        assert all("sabotaged" in answer.faultString for answer in answers.values() if _is_bug(answer)), (place, answers)
        assert "No config updates" in host.supervisorctl("reread").out
        eventually(lambda: host.rpc.supervisor.getProcessInfo("deploy")["pid"] == 0, "no run is left")
    _is_well(host)


def _is_bug(answer: object) -> bool:
    return isinstance(answer, xmlrpc.client.Fault) and answer.faultCode == Faults.FAILED


def test_whatever_fails_while_somebody_waits_is_told(host: Host) -> None:
    for number, place in enumerate(_COLLABORATORS):
        with _waiting(host, f"v1.{number % 2}.0") as waiting:
            host.rpc.saboteur.fails(place)
        answer = waiting.result(_LONGEST_WAIT)

        assert _is_bug(answer) or answer["outcome"] == "deployed", (place, answer)
        _lives(host)
        host.rpc.saboteur.mends()
        eventually(lambda: host.rpc.saboteur.watches() == [], f"the loop rests after {place}")
    host.configure(service="")
    _is_well(host)


# Supervisord's loop, which nothing but the callbacks themselves protects


@pytest.mark.parametrize(
    "places",
    [("time:monotonic",), ("time:monotonic", "os:close"), ("os:fstat",), ("time:monotonic", "os:fstat", "os:close")],
    ids=" and ".join,
)
def test_watch_that_fails_in_what_it_does_ends_nothing(host: Host, places: tuple[str, ...]) -> None:
    with _waiting(host) as waiting:
        assert host.rpc.saboteur.watches()
        for place in places:  # to hear of the end, to be asked, to leave
            host.rpc.saboteur.fails(place)
    answer = waiting.result(_LONGEST_WAIT)

    assert answer["outcome"] == "deployed"
    eventually(lambda: host.rpc.saboteur.watches() == [], "it has left the loop")
    _lives(host)
    host.rpc.saboteur.mends()
    host.configure(service="")
    _is_well(host)


def test_watch_that_fails_while_it_is_only_asked_leaves_its_run_to_the_tick(host: Host) -> None:
    with _waiting(host) as waiting:
        host.rpc.saboteur.fails("os:fstat")
        host.rpc.supervisor.getPID()  # the loop has asked it
        host.rpc.saboteur.mends()

    assert waiting.result(_LONGEST_WAIT)["outcome"] == "deployed"
    host.configure(service="")
    _is_well(host)


@pytest.mark.parametrize("way", ["closes", "replaces"])
def test_descriptor_that_is_lost_or_a_strangers_is_let_go(host: Host, way: str) -> None:
    with _waiting(host) as waiting:
        (watched,) = host.rpc.saboteur.watches()
        getattr(host.rpc.saboteur, way)(watched)

        eventually(lambda: host.rpc.saboteur.watches() == [], "the loop rests")
        waits = not waiting.done()
    stranger = Path(f"/proc/{_pid(host)}/fd/{watched}")

    assert waits
    assert waiting.result(_LONGEST_WAIT)["outcome"] == "deployed"
    assert way == "closes" or os.readlink(stranger) == "/dev/zero"
    host.configure(service="")
    _is_well(host)


@pytest.mark.parametrize("place", ["os:close", "os:fstat", "supervisor.events:subscribe"])
def test_reload_goes_on_whatever_fails_in_letting_go_and_in_the_factory(host: Host, place: str) -> None:
    with _waiting(host):
        watched = host.rpc.saboteur.watches()
        host.rpc.saboteur.fails(place)
        host.reload()
    assert watched
    assert host.rpc.saboteur.watches() == []
    _lives(host)
    host.rpc.saboteur.mends()
    host.configure(service="")
    _is_well(host)


def test_reload_leaves_no_journal_that_would_close_the_descriptor_of_a_client(host: Host) -> None:
    for _ in range(20):
        _every(host, _READING)
    host.reload()
    clients = [host.rpc for _ in range(20)]
    before = {client.supervisor.getPID() for client in clients}

    host.rpc.saboteur.collects()

    assert before == {client.supervisor.getPID() for client in clients} == {_pid(host)}
    _is_well(host)


@pytest.mark.parametrize("place", [".release-agent/state.db", ".release-agent/lock", "current/release.toml"])
def test_pipe_in_a_files_place_is_not_waited_for(host: Host, place: str) -> None:
    assert host.deploy("v1.0.0").code == 0
    (host.root / place).unlink(missing_ok=True)
    os.mkfifo(host.root / place)

    for method, arguments in _READING.items():
        with suppress(xmlrpc.client.Fault):
            getattr(host.rpc.release, method)(*arguments)

    assert host.rpc.supervisor.getState()["statename"] == "RUNNING"
