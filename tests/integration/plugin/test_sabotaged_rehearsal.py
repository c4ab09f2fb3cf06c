"""Calls of the plugin fail in a rehearsal and in a held restart: supervisord stays up, and no copy or socket stays."""

from __future__ import annotations

import os
import socket
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from support.fcgi import SERVER
from support.sabotage import answers_of, assert_lives, assert_well, failing_calls, pid_of
from support.servers import free_port
from support.waiting import ended, eventually

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host

REHEARSED = """[[service]]
name = "web"
[service.rehearsal]
environment = {{ PORT = "{{port}}", SOCKET = "{{socket}}" }}
deadline = "10m"
{program}
[[service.rehearsal.probe]]
exec = "test -e {path}/open"
"""
# It says that it was started, and what it says goes on.
TALKER = """\
import os, signal, sys, time
open("{path}/started.reached", "w").close()
{before}
while True:
    print("word", flush=True)
    print("word", file=sys.stderr, flush=True)
    time.sleep(0.05)
"""
FCGI = """\
[fcgi-program:held]
socket=tcp://127.0.0.1:{port}
command=/usr/bin/python3 -IS {root}/current/web.py
user=nobody
autostart=false
startsecs=1
startretries=1
stderr_events_enabled=true
"""
SPEAKING = """\
[program:talks]
command=/bin/sh -c "while echo word >&2; do sleep 0.02; done"
autostart=false
autorestart=false
startsecs=0
stderr_logfile=NONE
stderr_events_enabled=true
[program:crashes]
command=/bin/sh -c "echo last >&2; exit 3"
autostart=false
autorestart=false
startsecs=0
stderr_logfile=NONE
stderr_events_enabled=true
"""
# The modules of the plugin import some of them by name.
_COLLABORATORS = [
    "shutil:rmtree",
    "os:kill",
    "os:killpg",
    "os:pidfd_open",
    "os:fstat",
    "os:close",
    "os:stat",
    "os:scandir",
    "posixpath:exists",
    "time:time",
    "release_agent.plugin.rehearsal:end_marked",
    "supervisor.process:Subprocess.get_state",
    "supervisor.process:Subprocess.stop",
    "supervisor.process:Subprocess.pid",
    "supervisor.socket_manager:SocketManager.get_socket",
]
# What can be asked while a copy runs, or a socket is held, and what ends that.
_LOOKING: dict[str, tuple[Any, ...]] = {
    "getLastWords": ("release-rehearsal", 0.0),
    "getReleasesInUse": ("release-rehearsal",),
    "getSocket": ("held",),
    "holdSocket": ("held",),
}
_ENDING: dict[str, tuple[Any, ...]] = {"rehearse": ("000001-0", "web"), "endRehearsal": (), "letGoSocket": ("held",)}
_TICK = ("Tick5Event", 0, "")
# What a deployment asks the plugin for, one by one, and the outcome if it always fails.
_ASKED = {
    "rpcinterface:ReleaseRPCInterface._deploying": "failed",
    "answers:Answers.service_of": "failed",
    "rehearsal:CopyKeeper.prepare": "failed",
    "rehearsal:CopyKeeper.end": "failed",
    "words:LastWords.of": "failed",
    "words:LastWords.end_of": "failed",
    "rehearsal:end_marked": "deployed",
    "answers:Answers.releases_in_use": "failed",
    "sockets:HeldSockets.hold": "deployed",
    "sockets:HeldSockets.let_go": "deployed",
}
# What hears of each start, word and end of a process.
_HEARING = [
    "time:time",
    "os:stat",
    "release_agent.plugin.words:_key",
    "release_agent.plugin.words:_size",
    "release_agent.plugin.words:_Channel.take",
    "release_agent.plugin.words:LastWords._of",
    "release_agent.plugin.words:LastWords._on_exit",
]
_MAKING = [
    "tempfile:mkdtemp",
    "os:chown",
    "pathlib:Path.chmod",
    "release_agent.plugin.rehearsal:FastCGIGroupConfig",
    "release_agent.plugin.rehearsal:ProcessGroupConfig",
    "release_agent.plugin.rehearsal:_free_port",
    "supervisor.rpcinterface:SupervisorNamespaceRPCInterface.startProcess",
]


@pytest.fixture
def _own_places(cold_host: Host, monkeypatch: pytest.MonkeyPatch) -> None:
    """Supervisord's temporary directories are seen by one test alone; it listens for a service."""
    monkeypatch.setenv("TMPDIR", str(cold_host.path))
    cold_host.services += [FCGI.format(port=free_port(), root=cold_host.root), SPEAKING]


@pytest.fixture
def rehearsing(_own_places: None, sabotaged: Host) -> Host:
    """A host whose next releases are rehearsed until somebody opens, and talk without end."""
    host = sabotaged
    host.path.chmod(0o777)
    host.configure(service=REHEARSED.format(path=host.path, program=""), health='[health]\nstable_for = "0s"')
    for number in range(20):
        host.repository.release(f"v2.{number}.0", **{"web.py": TALKER.format(path=host.path, before="")})
    return host


@contextmanager
def in_the_middle(host: Host, revision: str = "v2.0.0") -> Iterator[subprocess.Popen[str]]:
    """A deployment that waits for a process it has started; it is killed at the end."""
    (host.path / "started.reached").unlink(missing_ok=True)
    run = host.begin("deploy", revision)
    host.reached("started")
    try:
        yield run
    finally:
        run.kill()
        run.wait()


def copies(host: Host) -> list[str]:
    return [info["name"] for info in host.rpc.supervisor.getAllProcessInfo() if "rehearsal" in info["name"]]


def descriptors(host: Host) -> int:
    return len(os.listdir(f"/proc/{pid_of(host)}/fd"))


def places(host: Host) -> list[Path]:
    return list(host.path.glob("release-rehearsal-*"))


def test_whatever_fails_in_the_middle_of_a_rehearsal_supervisord_lives_and_the_copy_goes(rehearsing: Host) -> None:
    host = rehearsing
    for number, place in enumerate(_COLLABORATORS):
        with in_the_middle(host, f"v2.{number}.0"):
            host.rpc.saboteur.fails(place)
            answers_of(host, _LOOKING)
            assert host.rpc.saboteur.happens(*_TICK), place
            assert_lives(host)
        assert_lives(host)
        host.rpc.saboteur.mends()
        host.rpc.saboteur.happens(*_TICK)
        eventually(lambda: copies(host) == [], f"the copy is taken away after {place}")
        eventually(lambda: host.rpc.saboteur.watches() == [], f"the loop rests after {place}")
    host.configure(service="")
    assert_well(host)


def test_whatever_fails_when_a_copy_is_made_leaves_nothing(rehearsing: Host) -> None:
    host = rehearsing
    opened = descriptors(host)
    for number, place in enumerate(_MAKING):
        host.rpc.saboteur.fails(place)

        ran = host.deploy(f"v2.{number}.0")

        host.rpc.saboteur.mends()
        assert_lives(host)
        if place != "release_agent.plugin.rehearsal:FastCGIGroupConfig":
            assert ran.json["error"]["code"] == "rehearsal-failed", (place, ran.json)
        assert copies(host) == [], place
        assert places(host) == [], place
        eventually(lambda: descriptors(host) <= opened, f"every descriptor is closed after {place}")
    host.configure(service="")
    assert_well(host)


@pytest.mark.needs("ptrace")
def test_copy_that_cannot_be_spawned_is_refused_with_the_cause(rehearsing: Host) -> None:
    host = rehearsing
    with failing_calls(host, "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN"):
        ran = host.deploy("v2.0.0")
        # Whatever number a client's descriptor has: it may have been a pipe's.
        assert {client.supervisor.getPID() for client in [host.rpc for _ in range(12)]} == {pid_of(host)}

    assert ran.json["error"]["code"] == "rehearsal-failed"
    assert "the copy was not started: Too many processes in process table" in ran.json["error"]["message"]
    assert (copies(host), places(host)) == ([], [])
    host.configure(service="")
    assert_well(host)


def test_many_rehearsals_leave_nothing_in_supervisord(rehearsing: Host) -> None:
    host = rehearsing
    host.configure(service=REHEARSED.format(path=host.path, program=""), health='[health]\nstable_for = "0s"\ndeadline="1s"')
    opened = descriptors(host)
    (host.path / "open").touch()
    for _ in range(10):
        assert host.agent("stage", "v2.0.0").code == 0
    assert copies(host) == []
    assert places(host) == []
    eventually(lambda: descriptors(host) <= opened, "every descriptor is closed")


def test_copy_that_is_shut_down_with_supervisord_leaves_no_directory(rehearsing: Host) -> None:
    host = rehearsing
    with in_the_middle(host):
        assert places(host)
        host.reload()
        assert places(host) == []
    host.configure(service="")
    assert_well(host)


@pytest.fixture
def holding(rehearsing: Host) -> Host:
    """A host whose next releases are proved until they are killed, while a socket is held."""
    rehearsing.configure(service='[[service]]\nname = "held"', health='[health]\nstable_for = "1h"\ndeadline = "1h"')
    return rehearsing


def refuses(host: Host) -> bool:
    """Whether nobody listens for the service."""
    port = int(host.rpc.release.getSocket("held").rpartition(":")[2])
    with socket.socket() as client:
        return client.connect_ex(("127.0.0.1", port)) != 0


def test_whatever_fails_while_a_socket_is_held_supervisord_lives_and_it_is_let_go(holding: Host) -> None:
    host = holding
    for number, place in enumerate(_COLLABORATORS):
        with in_the_middle(host, f"v2.{number}.0"):
            assert not refuses(host)
            host.rpc.saboteur.fails(place)
            answers_of(host, _LOOKING)
            assert host.rpc.saboteur.happens(*_TICK), place
            assert_lives(host)
        assert_lives(host)
        host.rpc.saboteur.mends()
        host.supervisorctl("stop", "held")
        eventually(lambda: refuses(host), f"nobody holds the socket after {place}")
        eventually(lambda: host.rpc.saboteur.watches() == [], f"the loop rests after {place}")
    host.configure(service="")
    assert_well(host)


@pytest.mark.parametrize("held", ["rehearsal", "socket"])
def test_whatever_fails_when_supervisord_or_a_client_ends_it_supervisord_lives_and_nothing_stays(
    rehearsing: Host, held: str, request: pytest.FixtureRequest
) -> None:
    host = rehearsing if held == "rehearsal" else request.getfixturevalue("holding")
    for number, place in enumerate(_COLLABORATORS):
        with in_the_middle(host, f"v2.{number}.0"):
            host.rpc.saboteur.fails(place)
            assert host.rpc.saboteur.happens("ProcessGroupRemovedEvent", "held"), place
            assert host.rpc.saboteur.happens("SupervisorStoppingEvent"), place
            assert host.rpc.saboteur.watches() == [], f"a reload closes no descriptor that is watched after {place}"
            answers_of(host, _ENDING)
            assert_lives(host)
        host.rpc.saboteur.mends()
        host.rpc.saboteur.happens(*_TICK)
        eventually(lambda: copies(host) == [], f"the copy is taken away after {place}")
        host.supervisorctl("stop", "held")
        eventually(lambda: refuses(host), f"nobody holds the socket after {place}")
    host.configure(service="")
    assert_well(host)


def test_whatever_the_plugin_cannot_do_for_a_deployment_it_ends_with_an_outcome_and_nothing_stays(rehearsing: Host) -> None:
    host = rehearsing
    held = '[[service]]\nname = "held"\n[service.rehearsal]\ndeadline = "60s"\n'
    host.configure(service=held, health='[health]\nstable_for = "0s"\ndeadline = "60s"')
    for number, (place, outcome) in enumerate(_ASKED.items()):
        code = "raise SystemExit(3)" if "words:" in place else SERVER
        host.repository.release(f"v3.{number}.0", **{"web.py": code})
        host.rpc.saboteur.fails(f"release_agent.plugin.{place}")

        ran = host.deploy(f"v3.{number}.0")

        assert_lives(host)
        host.rpc.saboteur.mends()
        assert ran.json["outcome"] == outcome, (place, ran.json)
        assert outcome == "deployed" or ran.json["error"]["code"] in ("rehearsal-failed", "plugin-needed"), (place, ran.json)
        eventually(lambda: copies(host) == [], f"no copy is left after {place}")
        host.supervisorctl("stop", "held")
        eventually(lambda: refuses(host), f"nobody holds the socket after {place}")
        eventually(lambda: host.rpc.saboteur.watches() == [], f"the loop rests after {place}")
    host.configure(service="")
    assert_well(host)


def test_whatever_fails_in_hearing_processes_they_go_on_and_are_heard_again(rehearsing: Host) -> None:
    host = rehearsing
    host.supervisorctl("start", "talks")
    talking = host.process("talks")
    for place in _HEARING:
        host.rpc.saboteur.fails(place)
        crash(host)
        host.rpc.saboteur.mends()
        assert_lives(host)
        assert host.process("talks") == talking, f"its pipe is closed after {place}"
    began = time.time()

    crash(host)

    assert host.rpc.release.getLastWords("crashes", began) == {"lines": ["last"], "end": "exit status 3"}
    eventually(lambda: host.rpc.release.getLastWords("talks", began)["lines"], "it is heard")


def crash(host: Host) -> None:
    host.supervisorctl("start", "crashes")
    eventually(lambda: host.process("crashes")[0] == "EXITED", "it has crashed")


@pytest.mark.parametrize("held", ["rehearsal", "socket"])
def test_agents_own_group_that_is_changed_and_updated_in_the_middle_leaves_nothing(
    rehearsing: Host, held: str, request: pytest.FixtureRequest
) -> None:
    host = rehearsing if held == "rehearsal" else request.getfixturevalue("holding")
    with in_the_middle(host) as run:
        file = host.path / "supervisord.conf"
        file.write_text(file.read_text().replace("stopwaitsecs=120", "stopwaitsecs=121"))
        assert "deploy: updated process group" in host.supervisorctl("update").out
        if held == "rehearsal":
            assert ended(run) == 13
    assert_lives(host)
    eventually(lambda: copies(host) == [] and host.rpc.saboteur.watches() == [], "nothing is left")
    assert places(host) == []
    host.configure(service="")
    assert_well(host)


@pytest.mark.parametrize("held", ["rehearsal", "socket"])
def test_shutdown_in_the_middle_ends_supervisord(rehearsing: Host, held: str, request: pytest.FixtureRequest) -> None:
    host = rehearsing if held == "rehearsal" else request.getfixturevalue("holding")
    with in_the_middle(host):
        host.supervisorctl("shutdown")
        assert host.supervisord
        assert ended(host.supervisord) == 0
        host.supervisord = None
    assert places(host) == []


def test_copy_that_does_not_stop_when_asked_is_waited_for_by_the_next_run(rehearsing: Host) -> None:
    host = rehearsing
    mute = TALKER.format(path=host.path, before="signal.signal(signal.SIGTERM, signal.SIG_IGN)")
    host.repository.release("v3.0.0", **{"web.py": mute})
    with in_the_middle(host, "v3.0.0"):
        pass
    eventually(lambda: host.process("deploy:release-rehearsal")[0] == "STOPPING", "it is asked to stop")
    (host.path / "open").touch()

    assert host.agent("stage", "v2.0.0").code == 0

    assert copies(host) == []
    assert places(host) == []


def test_copy_that_floods_its_output_keeps_nobody_waiting(rehearsing: Host) -> None:
    host = rehearsing
    host.repository.release("v3.0.0", **{"web.py": TALKER.format(path=host.path, before='while True: print("x" * 70000)')})
    with in_the_middle(host, "v3.0.0"):
        assert len(host.rpc.release.getLastWords("release-rehearsal", 0.0)["lines"]) <= 20
        assert_lives(host)
    eventually(lambda: copies(host) == [], "the copy is taken away")
