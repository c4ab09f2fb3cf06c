"""Run a fake supervisor in this process: it answers the agent's calls over HTTP, and has one service with one process."""

from __future__ import annotations

import http.server
import threading
import xmlrpc.client
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    Answer = Callable[[str, Any], bytes]

INFO: dict[str, Any] = {
    "group": "web",
    "name": "web",
    "statename": "RUNNING",
    "pid": 7,
    "spawnerr": "",
    "description": "pid 7, uptime 0:00:01",
    "start": 1_700_000_000,
    "stop": 0,
}
CONFIG: dict[str, Any] = {
    "group": "web",
    "name": "web",
    "command": "/bin/web",
    "autostart": False,
    "startsecs": 1,
    "startretries": 3,
    "exitcodes": [0],
    "stopwaitsecs": 10,
    "uid": "none",
}


class FakeSupervisor:
    """Supervisor's answers, by method."""

    def __init__(self) -> None:
        self._state = "RUNNING"

    def call(self, method: str) -> Any:
        """Return the answer of a method."""
        if method in ("stopProcess", "startProcess"):
            self._state = {"stopProcess": "STOPPED", "startProcess": "RUNNING"}[method]
        info = {**INFO, "statename": self._state}
        answers = {
            "getState": {"statename": "RUNNING", "statecode": 1},
            "getPID": 1,
            "getAllConfigInfo": [CONFIG],
            "getAllProcessInfo": [info],
            "getProcessInfo": info,
            "release.updatePrograms": {"added": [], "changed": [], "removed": [], "others": []},
        }
        return answers.get(method, True)


def plain(_method: str, value: Any) -> bytes:
    """Answer as supervisor does."""
    return xmlrpc.client.dumps((value,), methodresponse=True, allow_none=True).encode()


@contextmanager
def supervisor(answer: Answer = plain) -> Iterator[str]:
    """Serve a fake supervisor; yields its URL. ``answer`` makes the body of a method's answer."""
    fake = FakeSupervisor()

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked = self.rfile.read(int(self.headers["Content-Length"]))
            _, method = xmlrpc.client.loads(asked)
            name = str(method).removeprefix("supervisor.")
            body = answer(name, fake.call(name))
            self.send_response(200)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_arguments: object) -> None:
            """Say nothing."""

    with serving(Handler) as address:
        yield f"http://{address}"


@contextmanager
def serving(handler: type[http.server.BaseHTTPRequestHandler]) -> Iterator[str]:
    """Serve HTTP on loopback; yields ``127.0.0.1:PORT``."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()
    try:
        yield f"127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
