"""One process at a time, against a real supervisord."""

from __future__ import annotations

from signal import Signals
from typing import TYPE_CHECKING

import pytest
from supervisor.xmlrpc import Faults

from release_agent.errors import Code, Unhealthy
from release_agent.health import Process
from release_agent.services.faults import FaultCode
from release_agent.services.rpc import Rpc
from release_agent.services.supervisor import SupervisorServices
from support.host import Host, eventually
from support.sabotage import failing_calls

if TYPE_CHECKING:
    from collections.abc import Iterator

PROGRAMS = """\
[program:web]
command=/bin/sh -c 'trap "echo > {path}/hup-$0" HUP; while :; do sleep 0.05; done' %(process_num)s
process_name=%(process_num)s
numprocs=2
autostart=false
startsecs=1
stopwaitsecs=7
[program:crashing]
command=/bin/false
autostart=false
startretries=0
[program:broken]
command=/nowhere/program
autostart=false
startretries=0
"""


@pytest.fixture(scope="module")
def host_of_module() -> Iterator[Host]:
    """A container with a group of two processes, a program that crashes and one that is not there."""
    made = Host()
    made.services = [PROGRAMS.replace("{path}", str(made.path))]
    made.start()
    yield made
    made.close()


@pytest.fixture
def services(host_of_module: Host) -> Iterator[SupervisorServices]:
    """The services of a supervisord under which nothing runs yet."""
    made = SupervisorServices(Rpc(host_of_module.environment["SUPERVISOR_SERVER_URL"], {}))
    yield made
    host_of_module.rpc.supervisor.stopAllProcesses()


def web(services: SupervisorServices) -> list[Process]:
    return services.processes()["web"]


def started(services: SupervisorServices) -> list[Process]:
    """Start both processes of the group and return them once they run."""
    for process in web(services):
        services.start(process)
    eventually(lambda: all(process.running for process in web(services)), "both run")
    return web(services)


def test_one_process_is_stopped_and_started_and_the_other_goes_on(services: SupervisorServices) -> None:
    one, two = started(services)

    services.stop(one)
    eventually(lambda: (seen := services.look(one)) and seen.state == "STOPPED", "one has stopped")
    assert services.look(two) == two
    services.start(one)

    fresh = eventually(lambda: (seen := services.look(one)) and seen.running and seen, "one runs again")
    assert (fresh.full_name, fresh.pid not in (0, one.pid)) == ("web:0", True)
    assert services.look(two) == two


def test_one_process_is_signalled(services: SupervisorServices, host_of_module: Host) -> None:
    _, two = started(services)

    services.signal(two, Signals.SIGHUP)

    eventually((host_of_module.path / "hup-1").exists, "the second one has noticed")
    assert not (host_of_module.path / "hup-0").exists()


def test_what_is_done_already_is_no_failure(services: SupervisorServices) -> None:
    (one, _) = web(services)
    services.stop(one)
    services.signal(one, Signals.SIGHUP)

    running, _ = started(services)
    services.start(running)

    assert services.look(running) == running


def test_a_process_that_supervisor_does_not_know_is_none_and_cannot_be_changed(services: SupervisorServices) -> None:
    stranger = Process("web", "2", "RUNNING", 7)

    assert services.look(stranger) is None
    for change in (services.stop, services.start):
        with pytest.raises(Unhealthy, match="BAD_NAME: web:2") as unhealthy:
            change(stranger)
        assert unhealthy.value.code is Code.RESTART_FAILED


def test_a_process_that_cannot_be_started_is_told_with_its_reason(services: SupervisorServices) -> None:
    (broken,) = services.processes()["broken"]

    with pytest.raises(Unhealthy) as unhealthy:
        services.start(broken)
    said = "NO_FILE: can't find command '/nowhere/program'"
    assert unhealthy.value.message == f"supervisor could not start broken:broken: {said}"


def test_a_process_that_supervisor_gave_up_says_why(services: SupervisorServices) -> None:
    (crashing,) = services.processes()["crashing"]

    services.start(crashing)

    seen = eventually(lambda: (seen := services.look(crashing)) and seen.hopeless and seen, "it is given up")
    assert (seen.state, seen.pid, seen.why) == ("FATAL", 0, "Exited too quickly (process log may have details)")


@pytest.mark.needs("ptrace")
def test_a_process_that_supervisor_cannot_fork_is_left_to_supervisors_next_try(
    services: SupervisorServices, host_of_module: Host
) -> None:
    process = web(services)[0]

    with failing_calls(host_of_module, "-e", "inject=clone,clone3,fork,vfork:error=EAGAIN"):
        services.start(process)
        why = eventually(lambda: (seen := services.look(process)) and seen.why, "supervisor says why")

    assert why == "Too many processes in process table to spawn '0'"
    eventually(lambda: (seen := services.look(process)) and seen.running, "it runs")


def test_how_long_a_group_takes_comes_from_its_programs(services: SupervisorServices) -> None:
    assert (services.stop_seconds("web"), services.start_seconds("web")) == (7, 1)
    assert (services.stop_seconds("nobody"), services.start_seconds("nobody")) == (0, 0)


def test_fault_numbers_are_supervisors() -> None:
    assert {fault.name: fault.value for fault in FaultCode} == {fault.name: getattr(Faults, fault.name) for fault in FaultCode}


def test_supervisor_is_there(services: SupervisorServices, host_of_module: Host) -> None:
    services.alive()

    assert services.supervisor_pid() == int((host_of_module.path / "supervisord.pid").read_text())
