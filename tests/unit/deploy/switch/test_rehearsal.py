"""The agent probes the copy of a process with the values of the process itself."""

from __future__ import annotations

import pytest

from release_agent.deploy.switch.rehearsal import probes_of
from release_agent.health import Process, Rehearsed
from support.configuration import configuration

THERE = Rehearsed(Process("deploy", "release-rehearsal", "STARTING", 0), 4711, "/run/copy/socket")


@pytest.mark.parametrize(
    ("probe", "asked"),
    [
        ('http = "http://web:8080/health?a=b"', "http://127.0.0.1:4711/health?a=b"),
        ('http = "http://127.0.0.1:81{process_num}/health"', "http://127.0.0.1:4711/health"),
        ('http = "http://127.0.0.1:8080/{process_name}/{process_num}"', "http://127.0.0.1:4711/web_00/00"),
        ('tcp = "127.0.0.1:81{process_num}"', "127.0.0.1:4711"),
    ],
)
def test_a_copy_is_asked_as_the_process_that_it_is_a_copy_of(probe: str, asked: str) -> None:
    (service,) = configuration(f'[[service]]\nname = "web"\n[[service.probe]]\n{probe}\n[service.rehearsal]\n').services
    assert service.rehearsal

    (moved,) = probes_of(service, service.rehearsal, THERE, "web_00")

    assert (moved.http or moved.tcp) == asked


def test_a_command_of_the_service_is_not_asked_of_its_copy() -> None:
    (service,) = configuration('[[service]]\nname = "web"\n[[service.probe]]\nexec = "true"\n[service.rehearsal]\n').services
    assert service.rehearsal

    assert probes_of(service, service.rehearsal, THERE, "web_00") == []
