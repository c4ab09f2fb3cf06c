"""The agent is killed at any call while it rehearses, holds sockets and rolls: nothing is left of it."""

from __future__ import annotations

import os
import signal
from itertools import cycle
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.fcgi import SERVER, fcgi_program, processes, refusal, rehearsals
from support.tracing import killed_at
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

SERVICE = """\
[[service]]
name = "web"
restart = "{restart}"
[[service.probe]]
http = "http://127.0.0.1:{port}/"
timeout = "10s"
[service.rehearsal]
deadline = "60s"
"""


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("call", ["connect", "rename", "fsync"])
@pytest.mark.parametrize(("restart", "numprocs"), [("rolling", 2), ("restart", 1)])
def test_killed_at_any_call_the_next_run_ends_well(cold_host: Host, restart: str, numprocs: int, call: str) -> None:
    """Killed at the first, second, … call of a kind: a connection to supervisor, a file that is moved or made durable."""
    host = cold_host
    host.services = [fcgi_program(host, numprocs).replace("startsecs=1", "startsecs=0")]
    host.configure(
        service=SERVICE.format(restart=restart, port=host.port), health='[health]\ndeadline = "60s"\nstable_for = "0s"'
    )
    for tag in ("v1.0.0", "v1.1.0"):
        host.repository.release(tag, **{"web.py": SERVER, "release.toml": ""})
    host.start()
    live = host.deploy("v1.0.0").json["release"]
    kills = 0

    for nth, verb in zip(range(1, 1000), cycle(["boot", "deploy"])):
        revision = "v1.1.0" if host.live() == live else "v1.0.0"
        with Path(os.devnull).open("r+") as nothing:
            command = ["release-agent", "deploy", "--force", revision]
            code = killed_at(call, nth, command, host.environment, [nothing.fileno()] * 3)
        if code == 0:
            break
        kills += code == -signal.SIGKILL
        eventually(lambda: rehearsals(host) == [], f"the copy of call {nth} is taken away")
        again = host.agent(verb, *([revision] if verb == "deploy" else []))
        assert again.code == 0, (nth, again.err)
        current = (host.root / "current" / "version").read_text()
        assert host.serves() == current, nth
        used = host.rpc.release.getReleasesInUse("web")
        assert set(used) <= {host.live()}, (nth, used)
        assert {state for state, _ in processes(host).values()} == {"RUNNING"}, nth
    else:
        pytest.fail("never got through")

    assert kills
    host.supervisorctl("stop", "web:*")
    assert "refused" in refusal(host), "no socket is held"
    assert None not in [entry["outcome"] for entry in host.history()]
