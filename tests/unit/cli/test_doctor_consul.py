"""Doctor's findings about Consul: each of them shows the address."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.cli.doctor import FAULT, OK, Finding, consul
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.servers import listening, refusing

if TYPE_CHECKING:
    import socket


def examined(**environ: str) -> Finding:
    (found,) = consul.examine(Parts(configuration(), SystemClock(), environ))
    return found


def says(connection: socket.socket, leader: bytes) -> None:
    connection.recv(65536)
    head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nConnection: close\r\nContent-Length: %d\r\n\r\n"
    connection.sendall(head % len(leader) + leader)


def test_a_consul_that_answers_is_told_with_its_address_and_without_a_password() -> None:
    with listening(lambda connection: says(connection, b'"10.0.0.1:8300"')) as there:
        found = examined(CONSUL_HTTP_ADDR=f"http://ada:secret-secret@{there}")

    assert (found.level, found.message) == (OK, f"the agent at http://{there} answers and has a leader")


def test_a_consul_without_a_leader_is_a_fault_with_its_address() -> None:
    with listening(lambda connection: says(connection, b'""')) as there:
        found = examined(CONSUL_HTTP_ADDR=there)

    assert (found.level, found.message) == (FAULT, f"http://{there}: Consul has no leader")


def test_a_consul_that_cannot_be_connected_to_is_a_fault_with_its_address() -> None:
    with refusing() as there:
        found = examined(CONSUL_HTTP_ADDR=there)

    assert (found.level, found.message) == (FAULT, f"cannot connect to Consul at http://{there}")


@pytest.mark.parametrize("given", ["ftp://consul:21", "http://consul:99999", "http://[::1"])
def test_an_address_that_is_none_is_a_fault_and_no_bug(given: str) -> None:
    found = examined(CONSUL_HTTP_ADDR=given)

    assert found.level == FAULT
    assert found.message
