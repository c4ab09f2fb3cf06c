"""The shop's web service, on the listening socket that it gets as its standard input. ``/health`` shows its health."""

import functools
import signal
import socket
import sys
import threading
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pages


class Server(ThreadingHTTPServer):
    """A server that answers all accepted requests before it ends."""

    daemon_threads = False

    def __init__(self, listening: socket.socket, handler: type[BaseHTTPRequestHandler]) -> None:
        """Take a socket that listens already, because supervisord keeps it open during a restart."""
        super().__init__(listening.getsockname(), handler, bind_and_activate=False)
        self.socket.close()
        self.socket = listening


class Handler(BaseHTTPRequestHandler):
    """A handler that answers with plain text."""

    def do_GET(self) -> None:
        """Answer one request."""
        try:
            status, text = HTTPStatus.OK, pages.health() if self.path == "/health" else pages.front()
        except LookupError as error:
            status, text = HTTPStatus.INTERNAL_SERVER_ERROR, str(error)
            complain(f"{self.path}: {text}")
        body = f"{text}\n".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/plain")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_request(self, *_: object) -> None:
        """Log no request, because the demo makes hundreds of requests per second."""


@functools.cache
def complain(text: str) -> None:
    """Print a problem on stderr; the same problem only once."""
    print(text, file=sys.stderr, flush=True)


if __name__ == "__main__":
    with Server(socket.socket(fileno=sys.stdin.fileno()), Handler) as server:
        # In a thread, because shutdown() waits for serve_forever(), in which the signal arrives.
        signal.signal(signal.SIGTERM, lambda *_: threading.Thread(target=server.shutdown).start())
        server.serve_forever(poll_interval=0.02)
