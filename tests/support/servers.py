"""Run servers like services: healthy, slow or silent ones; and find ports for them."""

from __future__ import annotations

import contextlib
import http.server
import itertools
import os
import socket
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl
    from collections.abc import Callable, Iterator


# Ports below those that the kernel gives to clients (ip_local_port_range); each worker has some of them.
# The tests in containers run beside the others, in workers of the same names.
_FIRST, _FIRST_OF_CONTAINERS, _EACH = 10_000, 29_000, 1_000
_next = itertools.count(os.getpid())


def free_port(*, of_containers: bool = False) -> int:
    """Return a port that is free now, and that neither another worker nor a client gets."""
    first = (_FIRST_OF_CONTAINERS if of_containers else _FIRST) + _EACH * int(
        os.environ.get("PYTEST_XDIST_WORKER", "gw0").removeprefix("gw")
    )
    while True:
        port = first + next(_next) % _EACH
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.bind(("127.0.0.1", port))
            return port


@contextmanager
def answering(status: int, *, tls: ssl.SSLContext | None = None, **headers: str) -> Iterator[tuple[str, list[str]]]:
    """Serve HTTP, or HTTPS with ``tls``; yields the address ``http://127.0.0.1:PORT`` and the requested paths."""
    asked: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            asked.append(self.path)
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.end_headers()

        do_POST = do_GET

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    if tls:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"{'https' if tls else 'http'}://127.0.0.1:{server.server_port}", asked
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def listening(serve: Callable[[socket.socket], None] | None = None) -> Iterator[str]:
    """Accept connections at ``127.0.0.1:PORT``, and pass them to ``serve``, if there is one."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        if serve:
            threading.Thread(target=_accept, args=(server, serve), daemon=True).start()
        yield f"127.0.0.1:{server.getsockname()[1]}"


def _accept(server: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    try:
        connection, _ = server.accept()
        with connection:
            serve(connection)
    except OSError:
        return  # the test is over


@contextmanager
def refusing() -> Iterator[str]:
    """Yield an address at which nobody listens, and nobody can listen."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"127.0.0.1:{taken.getsockname()[1]}"
