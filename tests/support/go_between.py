"""A go-between: what a client and a server say to each other over TCP passes through it, and can be looked at."""

from __future__ import annotations

import socket
import socketserver
import threading

from support.waiting import eventually


class GoBetween:
    """Passes one call for each connection on to a port of this machine, and keeps the answers."""

    def __init__(self, to: int) -> None:
        self.answers: list[bytes] = []
        answers = self.answers

        class Handler(socketserver.BaseRequestHandler):
            def handle(self) -> None:
                with socket.create_connection(("127.0.0.1", to)) as there:
                    passing = threading.Thread(target=_pass, args=(self.request, there), daemon=True)
                    passing.start()
                    answer = b"".join(iter(lambda: there.recv(1 << 16), b""))
                answers.append(answer)
                self.request.sendall(answer)

        self._server = socketserver.ThreadingTCPServer(("127.0.0.1", 0), Handler)
        self._server.daemon_threads = True
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Pass nothing on any more."""
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def passed(self, text: bytes, times: int = 1) -> None:
        """Wait until so many more answers with a text have passed."""
        before = len(self.answers)
        eventually(lambda: sum(text in answer for answer in self.answers[before:]) >= times, f"{times} answers with {text!r}")


def _pass(one: socket.socket, other: socket.socket) -> None:
    try:
        while data := one.recv(1 << 16):
            other.sendall(data)
    except OSError:
        return  # the other side has gone
