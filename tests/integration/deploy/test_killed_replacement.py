"""A signal kills the agent at any call while it rehearses, holds sockets, rolls, drains, or runs a service's commands.

The next run succeeds, and leaves nothing of the killed one.
"""

from __future__ import annotations

import os
import signal
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.fcgi import SERVER, fcgi_program, processes, refusal, rehearsals
from support.sabotage import let_in
from support.servers import free_port
from support.tracing import killed_at
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

SERVICE = """\
[[service]]
name = "web"
restart = "{restart}"
[[service.probe]]
http = "http://127.0.0.1:{port}/"
timeout = "10s"
[service.rehearsal]
deadline = "60s"
"""


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("call", ["connect", "rename", "fsync", "symlink", "unlink"])
@pytest.mark.parametrize(("restart", "numprocs"), [("rolling", 2), ("restart", 1)])
def test_killed_at_any_call_the_next_run_ends_well(cold_host: Host, restart: str, numprocs: int, call: str) -> None:
    """Kill the agent at the first, fourth, … call of a kind: a connection to supervisor, or a change of the disk."""
    host = cold_host
    host.services = [fcgi_program(host, numprocs).replace("startsecs=1", "startsecs=0")]
    host.configure(
        service=SERVICE.format(restart=restart, port=host.port), health='[health]\ndeadline = "60s"\nstable_for = "0s"'
    )
    for tag in ("v1.0.0", "v1.1.0"):
        host.repository.release(tag, **{"web.py": SERVER, "release.toml": ""})
    host.start()
    live = host.deploy("v1.0.0").json["release"]
    kills = 0

    for nth, verb in zip(range(1, 1000, 3), cycle(["boot", "deploy"])):
        revision = "v1.1.0" if host.live() == live else "v1.0.0"
        with Path(os.devnull).open("r+") as nothing:
            command = ["release-agent", "deploy", "--force", revision]
            code = killed_at(call, nth, command, host.environment, [nothing.fileno()] * 3)
        if code == 0:
            break
        kills += code == -signal.SIGKILL
        eventually(lambda: rehearsals(host) == [], f"the copy of call {nth} is taken away")
        again = host.agent(verb, *([revision] if verb == "deploy" else []))
        assert again.code == 0, (nth, again.err)
        current = (host.root / "current" / "version").read_text()
        assert host.serves() == current, nth
        used = host.rpc.release.getReleasesInUse("web")
        assert set(used) <= {host.live()}, (nth, used)
        assert {state for state, _ in processes(host).values()} == {"RUNNING"}, nth
    else:
        pytest.fail("never got through")

    assert kills
    host.supervisorctl("stop", "web:*")
    assert "refused" in refusal(host), "no socket is held"
    assert None not in [entry["outcome"] for entry in host.history()]


# Services of every kind: each process that was taken out of the traffic has a file until it is let in again.
SEVERAL = """\
[[service]]
name = "db"
{commands}
[[service]]
name = "web"
restart = "rolling"
after = ["db"]
{commands}
[[service.probe]]
http = "http://127.0.0.1:{port}/"
timeout = "10s"
[service.rehearsal]
deadline = "60s"
[[service]]
name = "held"
after = ["db"]
{commands}
[[service]]
name = "reloads"
restart = "signal:HUP"
after = ["held"]
[[service.probe]]
exec = '[ "$RELEASE_REVISION" != v1.2.0 ]'  # on a busy machine it ends later than supervisor calls it RUNNING
"""
COMMANDS = """\
before_stop = 'touch "{out}-$RELEASE_PROCESS"; {before_stop}'
after_start = '{after_start}; rm -f "{out}-$RELEASE_PROCESS"'
drain = "{drain}"
"""
RELOADING = """\
import os, signal, sys, time
os.chdir(os.path.dirname(os.path.realpath(__file__)))
signal.signal(signal.SIGHUP, lambda *_: os.execv(sys.executable, [sys.executable, "-IS", sys.argv[0]]))
while True:
    time.sleep(3600)
"""
# What supervisor does for a run that changes something.
CHANGES = [
    *(f"supervisor.rpcinterface:SupervisorNamespaceRPCInterface.{name}Process" for name in ("start", "stop", "signal")),
    *(
        f"release_agent.plugin.rpcinterface:ReleaseRPCInterface.{name}"
        for name in ("rehearse", "endRehearsal", "holdSocket", "letGoSocket")
    ),
]


def configure(host: Host, before_stop: str = "true", after_start: str = "true", drain: str = "0s") -> None:
    """Let the services' commands do something besides."""
    commands = COMMANDS.format(out=host.path / "out", before_stop=before_stop, after_start=after_start, drain=drain)
    health = '[health]\ndeadline = "60s"\nstable_for = "0s"'
    host.configure(service=SEVERAL.format(commands=commands, port=host.port), health=health)


@pytest.fixture
def several(cold_host: Host, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host with services of every kind; v1.0.0 is live, v1.1.0 is as good, and v1.2.0 sick."""
    host = cold_host
    held = fcgi_program(host).replace("program:web", "program:held").replace(f":{host.port}", f":{free_port()}")
    quick = [each.replace("startsecs=1", "startsecs=0") for each in (fcgi_program(host, 2), held, host.service("db", "idle.py"))]
    # Where the machine is busy, Python needs more than a second to notice a signal, or an import that fails.
    patient = host.service("reloads", "reloads.py").replace("retries=1", "retries=0").replace("startsecs=1", "startsecs=3")
    host.services = [*quick, patient]
    let_in(host, monkeypatch)
    configure(host)
    code = {"web.py": SERVER, "idle.py": RELOADING, "reloads.py": RELOADING, "release.toml": ""}
    host.repository.release("v1.0.0", **code)
    host.repository.release("v1.1.0", **code)
    host.repository.release("v1.2.0", **code | {"reloads.py": "import no_such_module\n"})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    return host


def other_revision(host: Host) -> str:
    """Return the revision that is not live."""
    return "v1.1.0" if (host.root / "current" / "version").read_text() == "v1.0.0" else "v1.0.0"


def assert_ends_well(host: Host, verb: str, revision: str, when: str) -> None:
    """Run the agent once more: all services run what is live, all take part in the traffic, and nothing else is left."""
    eventually(lambda: rehearsals(host) == [], f"the copy is taken away after {when}")
    again = host.agent(verb, *([revision] if verb == "deploy" else []))
    assert again.code == 0, (when, again.err)
    assert verb == "boot" or (host.root / "current" / "version").read_text() == revision, when
    assert host.serves() == (host.root / "current" / "version").read_text(), when
    for service in ("db", "web", "reloads"):
        assert set(host.rpc.release.getReleasesInUse(service)) <= {host.live()}, (when, service)
    states = {info["name"]: info["statename"] for info in host.rpc.supervisor.getAllProcessInfo() if info["group"] != "deploy"}
    assert {state for name, state in states.items() if name != "boot"} == {"RUNNING"}, (when, states)
    assert list(host.path.glob("out-*")) == [], f"all were let in after {when}"
    assert None not in [entry["outcome"] for entry in host.history()], when


def assert_no_socket_is_held(host: Host) -> None:
    for service in ("web", "held"):
        address = host.rpc.release.getSocket(service)
        host.supervisorctl("stop", f"{service}:*")
        assert "refused" in refusal(host, int(address.rpartition(":")[2])), f"the socket of {service} is not held"


@pytest.mark.parametrize("sick", [False, True], ids=["finished", "put back"])
def test_killed_after_any_change_of_several_services_the_next_run_ends_well(several: Host, *, sick: bool) -> None:
    """Kill the agent when supervisor has done the first, third, … thing that it was asked to do.

    Only these calls change the services. Between two of them the agent looks and waits: a kill there leaves the same.
    A sick release is found out by the last of the services, when all others run it; that takes supervisor some seconds
    each time, hence only every fourth change.
    """
    host = several
    for nth, verb in zip(range(1, 200, 4 if sick else 2), cycle(["boot", "deploy"])):
        revision = "v1.2.0" if sick else other_revision(host)
        host.rpc.saboteur.kills(nth, CHANGES, str(host.root / ".release-agent" / "lock"))
        code = host.deploy(revision).code
        host.rpc.saboteur.mends()
        if code == (20 if sick else 0):
            break
        assert code == -signal.SIGKILL, nth
        assert_ends_well(host, verb, "v1.0.0" if sick else revision, f"change {nth}")
    else:
        pytest.fail("never got through")

    assert nth > len(CHANGES)
    assert_no_socket_is_held(host)


@pytest.mark.parametrize("stage", ["before_stop", "after_start"])
def test_killed_in_a_command_of_any_process_the_next_run_lets_all_in_again(several: Host, stage: str) -> None:
    host = several
    for process, verb in zip(["db", "web_0", "web_1", "held"], cycle(["boot", "deploy"])):
        revision, gate = other_revision(host), f"{stage}-{process}"
        configure(host, **{stage: f"[ $RELEASE_ACTION-$RELEASE_PROCESS != deploy-{process} ] || {{ {host.gate(gate)}; }}"})
        for name in ("reached", "open"):
            (host.path / f"{gate}.{name}").unlink(missing_ok=True)
        run = host.begin("deploy", revision)
        host.reached(gate)
        assert list(host.path.glob(f"out-{process}")), "it is out of the traffic"
        run.kill()
        run.wait()
        host.open(gate)
        assert_ends_well(host, verb, revision, gate)
    assert_no_socket_is_held(host)


@pytest.mark.parametrize("verb", ["boot", "deploy"])
def test_killed_while_a_process_is_drained_the_next_run_lets_it_in_again(several: Host, verb: str) -> None:
    host, revision = several, other_revision(several)
    configure(host, drain="1h")
    run = host.begin("deploy", revision)
    assert run.stderr
    assert any("service.draining" in line for line in run.stderr)
    assert list(host.path.glob("out-*"))
    run.kill()
    run.communicate()
    configure(host)

    assert_ends_well(host, verb, revision, "a drain")
    assert_no_socket_is_held(host)
