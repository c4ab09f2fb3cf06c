"""Calls to a host that does not answer."""

from __future__ import annotations

import asyncio
import socket

import pytest

from release_agent.rollout.host.rpc import Remote, Unreachable
from support.servers import listening, refusing


def test_queue_of_connections_that_is_full_is_trouble_that_passes() -> None:
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        host, port = server.getsockname()

        with pytest.raises(Unreachable, match="no answer within") as full:
            asyncio.run(Remote(f"http://{host}:{port}", None, 0.2)("release.getStatus"))

    assert full.value.passing


def test_refused_connection_is_none() -> None:
    with refusing() as address, pytest.raises(Unreachable, match="refused") as refused:
        asyncio.run(Remote(f"http://{address}", None)("release.getStatus"))

    assert not refused.value.passing


@pytest.mark.parametrize(
    "value",
    ["<struct><member><name>a</name></member></struct>", "<bigdecimal>x</bigdecimal>", "<int>x</int>", "<x/>"],
)
def test_answer_that_xml_rpc_cannot_say_is_none(value: str) -> None:
    text = f"<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"

    def answer(connection: socket.socket) -> None:
        connection.recv(65536)
        connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{text}".encode())

    with listening(answer) as address, pytest.raises(Unreachable, match="it does not speak XML-RPC"):
        asyncio.run(Remote(f"http://{address}", None)("release.getStatus"))
