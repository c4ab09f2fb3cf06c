"""Calls of the plugin to the kernel, Python and supervisor fail: supervisord stays up, and callers get messages."""

from __future__ import annotations

import os
import resource
import signal
import xmlrpc.client
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from supervisor.xmlrpc import Faults

from support.sabotage import (
    CALLS,
    LONGEST_WAIT,
    READING,
    READING_NOTHING,
    STARTING,
    answer_of,
    answers_of,
    assert_lives,
    assert_well,
    failing_calls,
    fault_codes,
    fault_of,
    pid_of,
    somebody_waits,
)
from support.waiting import eventually, freeze

if TYPE_CHECKING:
    from support.host import Host


# What the kernel refuses


def test_without_file_descriptors_every_method_is_told_until_there_are_some(sabotaged: Host) -> None:
    rpc = sabotaged.rpc
    rpc.supervisor.getPID()  # connected, and stays so: supervisord could accept nobody
    _, most = resource.prlimit(pid_of(sabotaged), resource.RLIMIT_NOFILE)
    taken = max(map(int, os.listdir(f"/proc/{pid_of(sabotaged)}/fd"))) + 1
    numbers = set()

    for spare in range(9):
        resource.prlimit(pid_of(sabotaged), resource.RLIMIT_NOFILE, (taken + spare, most))
        for name, arguments in (CALLS | READING_NOTHING).items():
            numbers |= {fault_codes({name: answer_of(getattr(rpc.release, name), *arguments)})[name]}

    # The configuration was not to be read; the program not to be started; everything was there.
    assert numbers >= {110, Faults.SPAWN_ERROR, None}
    resource.prlimit(pid_of(sabotaged), resource.RLIMIT_NOFILE, (most, most))
    assert_well(sabotaged)


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("error", ["ENOSYS", "EMFILE", "EPERM"])
def test_without_a_pidfd_the_next_tick_answers(sabotaged: Host, error: str) -> None:
    with failing_calls(sabotaged, "-e", f"inject=pidfd_open:error={error}"):
        record = sabotaged.rpc.release.deploy("v1.0.0", True)

        assert sabotaged.rpc.saboteur.watches() == []
    assert record["outcome"] == "deployed"
    assert_well(sabotaged)


def test_python_without_pidfds_answers_with_the_next_tick(sabotaged: Host) -> None:
    sabotaged.rpc.saboteur.lacks("os", "pidfd_open")

    assert sabotaged.rpc.release.deploy("v1.0.0", True)["outcome"] == "deployed"

    sabotaged.rpc.saboteur.mends()
    assert_well(sabotaged)


@pytest.mark.needs("ptrace")
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
def test_what_cannot_be_read_is_a_fault_of_every_method(sabotaged: Host, file: str, call: str, error: str, number: int) -> None:
    with failing_calls(sabotaged, "-P", str(sabotaged.path / file), "-e", f"trace={call}", "-e", f"inject={call}:error={error}"):
        numbers = fault_codes(answers_of(sabotaged, CALLS))

    without_journal = {} if number == 110 else dict.fromkeys(("getReleasesInUse", "getCandidates"))
    assert numbers == dict.fromkeys(CALLS, number) | without_journal
    assert_well(sabotaged)


@pytest.mark.needs("ptrace")
def test_process_that_cannot_be_made_is_a_fault(sabotaged: Host) -> None:
    with failing_calls(sabotaged, "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN"):
        numbers = fault_codes(answers_of(sabotaged, STARTING))

    assert numbers == dict.fromkeys(STARTING, Faults.SPAWN_ERROR)
    # Whatever number a client's descriptor has: it may have been a pipe's.
    clients = [sabotaged.rpc for _ in range(12)]
    assert {client.supervisor.getPID() for client in clients} == {pid_of(sabotaged)}
    assert "No config updates" in sabotaged.supervisorctl("reread").out
    assert_well(sabotaged)


def test_run_that_was_reaped_with_its_very_start_is_answered(sabotaged: Host) -> None:
    sabotaged.rpc.saboteur.dawdles("/bin/true")

    record = sabotaged.rpc.release.deploy("v1.0.0", True)

    assert record["error"]["message"] == "the run ended with exit code 0 before it wrote to the journal"
    sabotaged.rpc.saboteur.mends()
    assert_well(sabotaged)


def test_run_that_is_being_stopped_is_waited_for_and_not_taken_for_the_new_one(sabotaged: Host) -> None:
    with somebody_waits(sabotaged, hook="build") as answer:
        pid = sabotaged.process("deploy")[1]
        freeze(pid)
        (sabotaged.root / ".release-agent" / "lock").write_text("")  # as before it has the lock, and after
        sabotaged.rpc.supervisor.stopProcess("deploy", False)
        busy = fault_of(sabotaged.rpc.release.deploy, "v1.0.0", False)
        os.kill(pid, signal.SIGCONT)
        assert "outcome" in answer.result(LONGEST_WAIT)

    assert busy.faultCode == 111
    sabotaged.configure(service="")
    assert_well(sabotaged)


# What the plugin works with

_COLLABORATORS = [
    "supervisor.events:subscribe",  # the first of all: it is called but once
    "release_agent.plugin.rpcinterface:_shared",
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


def test_whatever_fails_from_the_first_call_on_is_told(sabotaged: Host) -> None:
    for place in _COLLABORATORS:
        sabotaged.rpc.saboteur.fails(place)

        answers = answers_of(sabotaged, CALLS | READING_NOTHING)

        assert_lives(sabotaged)
        sabotaged.rpc.saboteur.mends()
        assert all("sabotaged" in answer.faultString for answer in answers.values() if _is_bug(answer)), (place, answers)
        assert "No config updates" in sabotaged.supervisorctl("reread").out
        eventually(lambda: sabotaged.rpc.supervisor.getProcessInfo("deploy")["pid"] == 0, "no run is left")
    assert_well(sabotaged)


def _is_bug(answer: object) -> bool:
    return isinstance(answer, xmlrpc.client.Fault) and answer.faultCode == Faults.FAILED


def test_whatever_fails_while_somebody_waits_is_told(sabotaged: Host) -> None:
    for place in _COLLABORATORS:
        live = sabotaged.status()["current"]["revision"]
        with somebody_waits(sabotaged, "v1.0.0" if live == "v1.1.0" else "v1.1.0") as waiting:
            sabotaged.rpc.saboteur.fails(place)
        answer = waiting.result(LONGEST_WAIT)

        # The run asks the plugin, too: whether there are programs that came with a release.
        assert _is_bug(answer) or answer["outcome"] == "deployed" or "sabotaged" in answer["error"]["message"], (place, answer)
        assert_lives(sabotaged)
        sabotaged.rpc.saboteur.mends()
        eventually(lambda: sabotaged.rpc.saboteur.watches() == [], f"the loop rests after {place}")
    sabotaged.configure(service="")
    assert_well(sabotaged)


# Supervisord's loop, which nothing but the callbacks themselves protects


@pytest.mark.parametrize(
    "places",
    [("time:monotonic",), ("time:monotonic", "os:close"), ("os:fstat",), ("time:monotonic", "os:fstat", "os:close")],
    ids=" and ".join,
)
def test_watch_that_fails_in_what_it_does_ends_nothing(sabotaged: Host, places: tuple[str, ...]) -> None:
    with somebody_waits(sabotaged) as waiting:
        assert sabotaged.rpc.saboteur.watches()
        for place in places:  # to hear of the end, to be asked, to leave
            sabotaged.rpc.saboteur.fails(place)
    answer = waiting.result(LONGEST_WAIT)

    assert _is_bug(answer) or answer["outcome"] == "deployed"  # the answer is read with the same functions
    eventually(lambda: sabotaged.rpc.saboteur.watches() == [], "it has left the loop")
    assert_lives(sabotaged)
    sabotaged.rpc.saboteur.mends()
    sabotaged.configure(service="")
    assert_well(sabotaged)


def test_watch_that_fails_while_it_is_only_asked_leaves_its_run_to_the_tick(sabotaged: Host) -> None:
    with somebody_waits(sabotaged) as waiting:
        sabotaged.rpc.saboteur.fails("os:fstat")
        sabotaged.rpc.supervisor.getPID()  # the loop has asked it
        sabotaged.rpc.saboteur.mends()

    assert waiting.result(LONGEST_WAIT)["outcome"] == "deployed"
    sabotaged.configure(service="")
    assert_well(sabotaged)


@pytest.mark.parametrize("way", ["closes", "replaces"])
def test_descriptor_that_is_lost_or_a_strangers_is_let_go(sabotaged: Host, way: str) -> None:
    with somebody_waits(sabotaged) as waiting:
        (watched,) = sabotaged.rpc.saboteur.watches()
        getattr(sabotaged.rpc.saboteur, way)(watched)

        eventually(lambda: sabotaged.rpc.saboteur.watches() == [], "the loop rests")
        waits = not waiting.done()
    stranger = Path(f"/proc/{pid_of(sabotaged)}/fd/{watched}")

    assert waits
    assert waiting.result(LONGEST_WAIT)["outcome"] == "deployed"
    assert way == "closes" or os.readlink(stranger) == "/dev/zero"
    sabotaged.configure(service="")
    assert_well(sabotaged)


@pytest.mark.parametrize("place", ["os:close", "os:fstat", "supervisor.events:subscribe"])
def test_reload_goes_on_whatever_fails_in_letting_go_and_in_the_factory(sabotaged: Host, place: str) -> None:
    with somebody_waits(sabotaged):
        watched = sabotaged.rpc.saboteur.watches()
        sabotaged.rpc.saboteur.fails(place)
        sabotaged.reload()
    assert watched
    assert sabotaged.rpc.saboteur.watches() == []
    assert_lives(sabotaged)
    sabotaged.rpc.saboteur.mends()
    sabotaged.configure(service="")
    assert_well(sabotaged)


def test_reload_leaves_no_journal_that_would_close_the_descriptor_of_a_client(sabotaged: Host) -> None:
    for _ in range(20):
        answers_of(sabotaged, READING)
    sabotaged.reload()
    clients = [sabotaged.rpc for _ in range(20)]
    before = {client.supervisor.getPID() for client in clients}

    sabotaged.rpc.saboteur.collects()

    assert before == {client.supervisor.getPID() for client in clients} == {pid_of(sabotaged)}
    assert_well(sabotaged)
