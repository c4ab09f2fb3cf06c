"""Run a host whose supervisord runs the monitor."""

from __future__ import annotations

import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

from support.environment import BIN
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

_LISTENER = """
[eventlistener:monitor]
command={bin}/release-agent monitor
events=TICK_5,PROCESS_STATE
environment=RELEASE_AGENT_CONFIG="{config}",CONSUL_HTTP_ADDR="{address}"
autostart=true
autorestart=true
startsecs=1
buffer_size=100
stderr_logfile={path}/monitor.err
"""


def watched_host(host: Host, address: str, extra: str = "") -> Host:
    """Start a host with two good versions and a monitor that reports to the Consul at an address."""
    host.repository.release("v1.0.0")
    host.repository.release("v1.1.0")
    host.environment["CONSUL_HTTP_ADDR"] = address
    host.configure(extra, consul='enabled = true\nttl = "15s"')
    host.services.append(_LISTENER.format(bin=BIN, config=host.config, address=address, path=host.path))
    return host.start()


def crash(host: Host) -> None:
    """Make the live release crash from now on, and end its process."""
    host.spoil(str(host.live()), "behaviour", "crash")
    subprocess.run(["kill", "-KILL", str(host.process()[1])], check=True)


def answered(host: Host) -> int:
    """Return the number of events that the monitor has answered, from its written bytes (proc(5))."""
    told = Path(f"/proc/{host.process('monitor')[1]}/io").read_text().split()
    written = int(told[told.index("wchar:") + 1]) - len((host.path / "monitor.err").read_bytes())
    return written // len("READY\nRESULT 2\nOK")


def looks_again(host: Host) -> None:
    """Wait for the monitor's next look; by then the actions of the previous look have started."""
    before = host.rpc.release.getStatus()["health_at"]
    eventually(lambda: host.rpc.release.getStatus()["health_at"] != before, "it looks again")
