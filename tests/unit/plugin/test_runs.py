"""No object in supervisord's event loop raises an exception into it."""

from __future__ import annotations

import os
import subprocess
from types import SimpleNamespace

import pytest
from supervisor.medusa import asyncore_25 as asyncore
from supervisor.xmlrpc import Faults, RPCError

from release_agent.model import Request
from release_agent.plugin.rpcinterface import _answering
from release_agent.plugin.runs import ExitWatch, Started, StartedRuns
from release_agent.plugin.wire import sendable


def _ended_child() -> subprocess.Popen[bytes]:
    child = subprocess.Popen(["/bin/true"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # ended, not reaped
    return child


def test_run_is_over_when_its_process_was_reaped_and_not_before() -> None:
    child = _ended_child()
    process = SimpleNamespace(pid=child.pid, exitstatus=None)
    runs = StartedRuns()
    runs.add(Request("r-1", revision="v1"), process)

    run = runs.get("r-1")

    assert run is not None
    assert not run.is_over
    process.pid, process.exitstatus = 0, 12  # as supervisor does when it reaps
    assert run.is_over
    assert run.exit_code == 12
    child.wait()


def test_watch_leaves_the_loop_once_its_run_is_over() -> None:
    child = _ended_child()
    process = SimpleNamespace(pid=child.pid)
    descriptor = os.pidfd_open(child.pid)
    watch = ExitWatch(descriptor, Started(process, child.pid, Request("r-1"), 0))
    watch.handle_read_event()
    assert watch.readable(), "it was not reaped yet: the loop has to turn once more"

    process.pid = 0
    while watch.readable():
        watch.handle_read_event()

    assert descriptor not in asyncore.socket_map
    watch.close()  # again changes nothing
    child.wait()


def test_watch_that_fails_leaves_the_loop() -> None:
    child = _ended_child()
    descriptor = os.pidfd_open(child.pid)
    watch = ExitWatch(descriptor, Started(None, child.pid, Request("r-1"), 0))

    with pytest.raises(AttributeError):
        watch.handle_read_event()  # supervisord catches it and calls:
    watch.handle_error()

    assert not watch.readable()
    assert not watch.writable()
    assert descriptor not in asyncore.socket_map
    child.wait()


def test_run_that_ended_before_it_could_be_watched_is_waited_for_by_the_tick() -> None:
    child = subprocess.Popen(["/bin/true"])
    child.wait()
    runs = StartedRuns()

    runs.add(Request("r-1"), SimpleNamespace(pid=child.pid, exitstatus=0))

    assert runs.get("r-1") is not None


def test_only_the_newest_hundred_runs_are_remembered() -> None:
    runs = StartedRuns()
    for number in range(150):
        runs.add(Request(f"r-{number}"), SimpleNamespace(pid=2**30))

    assert runs.get("r-49") is None
    assert runs.get("r-50") is not None


def test_method_that_has_a_bug_faults_and_is_logged() -> None:
    logged: list[str] = []
    interface = SimpleNamespace(_refuse_while_stopping=lambda: None, _log=logged.append)

    with pytest.raises(RPCError) as fault:
        _answering(lambda _self: 1 / 0)(interface)

    assert fault.value.code == Faults.FAILED
    assert "ZeroDivisionError" in logged[0]


def test_what_xml_rpc_cannot_carry_is_left_out_or_made_a_double() -> None:
    assert sendable({"a": None, "b": [{"c": None, "d": 2**40}], "e": True, "f": 0}) == {
        "b": [{"d": float(2**40)}],
        "e": True,
        "f": 0,
    }
