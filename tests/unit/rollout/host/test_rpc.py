"""Calls to a host that does not answer."""

from __future__ import annotations

import asyncio
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from release_agent.rollout.host.names import Names
from release_agent.rollout.host.rpc import Remote, Unreachable
from support.servers import listening, refusing

if TYPE_CHECKING:
    from collections.abc import Iterator


@contextmanager
def silent() -> Iterator[int]:
    """Yield a port of 127.0.0.1 whose queue of new connections is full."""
    with socket.socket() as server, socket.socket() as first, socket.socket() as second:
        server.bind(("127.0.0.1", 0))
        server.listen(0)
        for waiting in (first, second):
            waiting.setblocking(False)
            waiting.connect_ex(server.getsockname())
        yield server.getsockname()[1]


def _send(connection: socket.socket, value: str) -> None:
    """Answer a call with a value."""
    connection.recv(65536)
    text = f"<methodResponse><params><param><value>{value}</value></param></params></methodResponse>"
    connection.sendall(f"HTTP/1.0 200 OK\r\n\r\n{text}".encode())


def _answer(server: socket.socket, value: str) -> None:
    connection, _ = server.accept()
    with connection:
        _send(connection, value)


def test_queue_of_connections_that_is_full_is_trouble_that_passes() -> None:
    with silent() as port, pytest.raises(Unreachable, match="no answer within") as full:
        asyncio.run(Remote(f"http://127.0.0.1:{port}", None, 0.2)("release.getStatus"))

    assert full.value.passing


def test_host_whose_first_address_is_silent_is_reached_at_its_second_and_then_at_once(monkeypatch: pytest.MonkeyPatch) -> None:
    found = [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, 0)) for address in ("127.0.0.1", "127.0.0.2")]
    monkeypatch.setattr(socket, "getaddrinfo", lambda *_, **__: found)
    names = Names()

    async def ask(port: int) -> tuple[str, list[str]]:
        answer = await Remote(f"http://two.test:{port}", None, 4.0, names=names)("release.getStatus")
        return answer, await names.addresses("two.test")

    with silent() as port, socket.create_server(("127.0.0.2", port)) as server:
        threading.Thread(target=_answer, args=(server, "<string>here</string>"), daemon=True).start()
        assert asyncio.run(ask(port)) == ("here", ["127.0.0.2", "127.0.0.1"])


def test_refused_connection_is_none() -> None:
    with refusing() as address, pytest.raises(Unreachable, match="refused") as refused:
        asyncio.run(Remote(f"http://{address}", None)("release.getStatus"))

    assert not refused.value.passing


@pytest.mark.parametrize(
    "value",
    ["<struct><member><name>a</name></member></struct>", "<bigdecimal>x</bigdecimal>", "<int>x</int>", "<x/>"],
)
def test_answer_that_xml_rpc_cannot_say_is_none(value: str) -> None:
    with (
        listening(lambda connection: _send(connection, value)) as address,
        pytest.raises(Unreachable, match="it does not speak XML-RPC"),
    ):
        asyncio.run(Remote(f"http://{address}", None)("release.getStatus"))


def test_answer_without_its_length_is_read_to_the_end_of_the_connection() -> None:
    note = "x" * (4 << 20)  # more than one read of a socket returns

    with listening(lambda connection: _send(connection, f"<string>{note}</string>")) as address:
        assert asyncio.run(Remote(f"http://{address}", None)("release.getStatus")) == note


def test_answer_without_its_length_that_is_too_long_is_none() -> None:
    with (
        listening(lambda connection: _send(connection, f"<string>{'x' * (16 << 20)}</string>")) as address,
        pytest.raises(Unreachable, match="the answer has more than 16777216 bytes") as refused,
    ):
        asyncio.run(Remote(f"http://{address}", None)("release.getStatus"))

    assert not refused.value.passing
