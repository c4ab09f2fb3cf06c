"""Run a supervisor that only answers calls, with the programs that a test gives it."""

from __future__ import annotations

import os
import subprocess
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any
from xmlrpc.server import SimpleXMLRPCServer

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from pathlib import Path

ONE_SHOT = {"autostart": False, "startsecs": 0, "startretries": 0, "exitcodes": [0], "stopwaitsecs": 300}


def program(name: str, **settings: Any) -> dict[str, Any]:
    """Return supervisor's answer about the configuration of a program; ``user``: a user id."""
    service = {
        "autostart": False,
        "startsecs": 1,
        "startretries": 3,
        "exitcodes": [0],
        "stopwaitsecs": 10,
        "uid": settings.pop("user", "none"),
    }
    return {"group": name, "name": name, "command": f"/usr/bin/{name}", **service, **settings}


def own(verb: str, **settings: Any) -> dict[str, Any]:
    """Return the agent's own program of a verb, as in supervisor.d."""
    shape = {"autostart": True, "startsecs": 1} if verb == "monitor" else {**ONE_SHOT, "autostart": verb == "boot"}
    return program(verb, command=f"release-agent {verb}", **{**shape, **settings})


def process(name: str, state: str = "RUNNING", **more: Any) -> dict[str, Any]:
    """Return supervisor's answer about a process; ``start``: 0 if it was never started."""
    told = {"pid": 0, "spawnerr": "", "description": "", "start": 1, "stop": 0}
    return {"group": name, "name": name, "statename": state, **told, **more}


@contextmanager
def supervising(
    programs: Sequence[Mapping[str, Any]], processes: Sequence[Mapping[str, Any]] = (), *, pid: int | None = None
) -> Iterator[str]:
    """Answer as a supervisor with these programs; yields its URL. ``pid``: its process id (default: this test's)."""
    answers: dict[str, Any] = {
        "getState": {"statename": "RUNNING"},
        "getPID": os.getpid() if pid is None else pid,
        "getAllConfigInfo": list(programs),
        "getAllProcessInfo": list(processes),
    }
    with SimpleXMLRPCServer(("127.0.0.1", 0), logRequests=False) as server:
        for method, answer in answers.items():
            server.register_function(lambda answer=answer: answer, f"supervisor.{method}")
        threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True).start()
        yield f"http://127.0.0.1:{server.server_address[1]}"
        server.shutdown()


@contextmanager
def started_as(place: Path, *words: str | Path, cwd: str | Path = "/") -> Iterator[int]:
    """Run the script ``PLACE/bin/supervisord``, which does nothing, with these arguments; yields its process id."""
    script = place / "bin/supervisord"
    script.parent.mkdir(exist_ok=True)
    script.write_text("#!/bin/sh\necho ready\nread nothing\n")
    script.chmod(0o755)
    with subprocess.Popen([script, *words], stdin=subprocess.PIPE, stdout=subprocess.PIPE, cwd=cwd) as process:
        assert process.stdout
        assert process.stdout.readline() == b"ready\n"
        yield process.pid
