"""Run thousands of simulated hosts behind one listening socket, each at an address of its own in 127.0.0.0/8."""

from __future__ import annotations

import asyncio
import base64
import socket
import struct
import threading
import xmlrpc.client
from collections import Counter
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Self
from xmlrpc.client import Fault

from support.simulated_host import Manner, Run, SimulatedHost

if TYPE_CHECKING:
    from types import TracebackType

_BACKLOG = 4096
_LOOK = 0.01  # seconds between looks for the end of the run that a call waits for
_PATIENCE = 10.0
_FIRST = 0x7F010001  # 127.1.0.1
_WITH_RESET = struct.pack("ii", 1, 0)


class SimulatedFleet:
    """Hosts ``host-1`` to ``host-N``, served by a thread of this process."""

    def __init__(self, size: int, *, credentials: tuple[str, str] | None = None, **settings: Any) -> None:
        """``settings``: those of every host; a test may change those of one host later."""
        self.hosts = [SimulatedHost(f"host-{number + 1}", **settings) for number in range(size)]
        self.calls: Counter[str] = Counter()  # by method
        self._authorisation = b"Basic " + base64.b64encode(":".join(credentials).encode()) if credentials else b""
        self._by_address = {self.address(number): host for number, host in enumerate(self.hosts)}
        self._numbers = {host.name: number for number, host in enumerate(self.hosts)}
        self._socket = socket.create_server(("0.0.0.0", 0), backlog=_BACKLOG)
        # It is bound, so that no other program gets it, and does not listen, so that connections are refused.
        self._closed = socket.socket()
        self._closed.bind(("0.0.0.0", 0))
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._end: asyncio.Event | None = None
        self._thread = threading.Thread(target=lambda: asyncio.run(self._serve()), daemon=True)

    def __enter__(self) -> Self:
        """Start the fleet."""
        return self.start()

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        """End the fleet."""
        self.close()

    def start(self) -> Self:
        """Start to answer."""
        self._thread.start()
        assert self._ready.wait(_PATIENCE), "the fleet does not begin to listen"
        return self

    def close(self) -> None:
        """Stop."""
        if self._loop and self._end:
            self._loop.call_soon_threadsafe(self._end.set)
            self._thread.join(_PATIENCE)
        self._socket.close()
        self._closed.close()

    @staticmethod
    def address(number: int) -> str:
        """Return a host's address."""
        return socket.inet_ntoa(struct.pack("!I", _FIRST + number))

    def url(self, host: SimulatedHost) -> str:
        """Return the URL of a host's RPC."""
        listening = self._closed if host.manner is Manner.REFUSE else self._socket
        return f"http://{self.address(self._numbers[host.name])}:{listening.getsockname()[1]}"

    def toml(self, *, user: str = "", password_file: str = "") -> str:
        """Return the fleet.toml of all hosts."""
        head = f'[fleet]\nuser = "{user}"\npassword_file = "{password_file}"\n' if user else ""
        return head + "".join(f'[[host]]\nname = "{host.name}"\nurl = "{self.url(host)}"\n' for host in self.hosts)

    async def _serve(self) -> None:
        self._loop, self._end = asyncio.get_running_loop(), asyncio.Event()
        server = await self._loop.create_server(lambda: _Connection(self), sock=self._socket, backlog=_BACKLOG)
        self._ready.set()
        await self._end.wait()
        server.close()

    def host_at(self, address: str) -> SimulatedHost | None:
        """Return the host of an address."""
        return self._by_address.get(address)

    def lets_in(self, head: bytes) -> bool:
        """Return whether the user and the password are right."""
        return not self._authorisation or b"\r\nAuthorization: " + self._authorisation + b"\r\n" in head + b"\r\n"


class _Connection(asyncio.Protocol):
    """One call on its own connection, as with supervisord's HTTP/1.0."""

    def __init__(self, fleet: SimulatedFleet) -> None:
        self._fleet = fleet
        self._host: SimulatedHost | None = None
        self._got = b""
        self._transport: asyncio.Transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport
        self._host = self._fleet.host_at(transport.get_extra_info("sockname")[0])
        if self._host is None or self._host.manner in (Manner.RESET, Manner.REFUSE):
            self._reset()

    def data_received(self, data: bytes) -> None:
        self._got += data
        head, whole, body = self._got.partition(b"\r\n\r\n")
        if not whole:
            return
        length = int(head.lower().partition(b"\r\ncontent-length:")[2].partition(b"\r\n")[0])
        if len(body) >= length:
            self._got = b""
            self._called(head, body)

    def _called(self, head: bytes, body: bytes) -> None:
        host = self._host
        if host is None:
            return
        arguments, method = xmlrpc.client.loads(body)
        self._fleet.calls[str(method)] += 1
        manner = host.manners.get(str(method), host.manner)
        if manner is Manner.RESET:
            self._reset()
        elif manner is Manner.UNAUTHORISED or not self._fleet.lets_in(head):
            self._send(b"401 Unauthorized", b"", b'WWW-Authenticate: Basic realm="default"\r\n')
        elif manner is not Manner.MUTE:
            try:
                answer: Any = host.call(str(method), arguments)
            except Fault as fault:
                answer = fault
            if isinstance(answer, Run):
                self._await(host, answer, manner)
            else:
                self._answer(answer, manner)

    def _await(self, host: SimulatedHost, run: Run, manner: Manner) -> None:
        if self._transport.is_closing():
            return
        if host.is_over(run):
            self._answer(host.record(run.ending.id), manner)
        else:
            asyncio.get_running_loop().call_later(_LOOK, self._await, host, run, manner)

    def _answer(self, answer: Any, manner: Manner) -> None:
        if manner is Manner.LOSE:
            self._transport.close()
            return
        said = answer if isinstance(answer, Fault) else (answer,)
        body = xmlrpc.client.dumps(said, methodresponse=True).encode()
        most = {Manner.HEAD_ALONE: 0, Manner.HALF_A_BODY: len(body) // 2}.get(manner)
        self._send(b"200 OK", body, b"", most)

    def _send(self, status: bytes, body: bytes, more: bytes, most: int | None = None) -> None:
        head = b"HTTP/1.0 %s\r\nContent-Type: text/xml\r\n%sContent-Length: %d\r\n\r\n" % (status, more, len(body))
        self._transport.write(head + body[:most])
        if most is None:
            self._transport.close()

    def _reset(self) -> None:
        with suppress(OSError):
            self._transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _WITH_RESET)
        self._transport.abort()
