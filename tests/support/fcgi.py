"""Make a service on a socket of supervisord, and look at the socket as supervisord and as a client."""

from __future__ import annotations

import urllib.error
import urllib.request
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.host import Host

SERVER = """\
import os, signal, socket, sys, time
here = os.path.dirname(os.path.realpath(__file__))
version = open(os.path.join(here, "version")).read().strip()
server = socket.socket(fileno=os.dup(0))
stopping = []
signal.signal(signal.SIGTERM, lambda *_: stopping.append(True))
server.settimeout(0.02)
while not stopping:
    try:
        connection, _ = server.accept()
    except TimeoutError:
        continue
    connection.settimeout(60)
    connection.recv(65536)
    connection.sendall(b"HTTP/1.0 200 OK\\r\\nContent-Length: %d\\r\\n\\r\\n%s" % (len(version), version.encode()))
    connection.close()
"""
_FCGI = """\
[fcgi-program:web]
socket=tcp://127.0.0.1:{port}
{several}
command=/usr/bin/python3 -IS {root}/current/web.py
user=nobody
autostart=false
startsecs=1
startretries=1
"""
_SEVERAL = "process_name=%(program_name)s_%(process_num)d\nnumprocs={count}"


def fcgi_program(host: Host, count: int = 1) -> str:
    """Return supervisor's section for the service of a host, with a number of processes."""
    return _FCGI.format(port=host.port, root=host.root, several=_SEVERAL.format(count=count) if count > 1 else "")


def processes(host: Host) -> dict[str, tuple[str, int]]:
    infos = host.rpc.supervisor.getAllProcessInfo()
    return {info["name"]: (info["statename"], info["pid"]) for info in infos if info["group"] == "web"}


def rehearsals(host: Host) -> list[str]:
    """Return the names of supervisord's copies for rehearsals."""
    return [info["name"] for info in host.rpc.supervisor.getAllProcessInfo() if "rehearsal" in info["name"] + info["group"]]


def refusal(host: Host, port: int = 0) -> str:
    """Return the error of a connection to the service, or to another port; an empty text if it succeeds."""
    try:
        urllib.request.urlopen(f"http://127.0.0.1:{port or host.port}/", timeout=5).close()
    except (OSError, urllib.error.URLError) as error:
        return str(error)
    return ""
