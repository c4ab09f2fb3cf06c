"""Pass the data of a client and a server over TCP through a go-between, where a test can look at it."""

from __future__ import annotations

import socket
import socketserver
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from support.waiting import eventually

if TYPE_CHECKING:
    import ssl


class GoBetween:
    """Passes on one call per connection, and keeps the answers; with ``tls`` clients use TLS."""

    def __init__(self, to: int, address: str = "127.0.0.1", tls: ssl.SSLContext | None = None) -> None:
        self.answers: list[bytes] = []
        answers = self.answers

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with suppress(OSError), _within(tls, self.request) as client, socket.create_connection((address, to)) as there:
                    threading.Thread(target=_pass, args=(client, there), daemon=True).start()
                    answers.append(b"".join(iter(lambda: there.recv(1 << 16), b"")))
                    client.sendall(answers[-1])

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Stop."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Return the port of the go-between."""
        return int(self._server.server_address[1])

    def passed(self, text: bytes, times: int = 1) -> None:
        """Wait until a number of further answers with a text have passed."""
        before = len(self.answers)
        eventually(lambda: sum(text in answer for answer in self.answers[before:]) >= times, f"{times} answers with {text!r}")


def _within(tls: ssl.SSLContext | None, client: socket.socket) -> socket.socket:
    return tls.wrap_socket(client, server_side=True) if tls else client


def _pass(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(1 << 16):
            other.sendall(data)
    except OSError:
        return  # the other side has gone
