"""A service that still runs the old code after a signal is not healthy, even if all its probes pass."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.fcgi import SERVER, fcgi_program
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

APP = """\
version = {version!r}
def app(environ, start_response):
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [version.encode()]
"""
GUNICORN = """\
[program:web]
command={bin}/gunicorn --bind 127.0.0.1:{port} --workers 2 --graceful-timeout 5 --pid {path}/gunicorn.pid {options} app:app
{directory}
autostart=false
startsecs=1
stopasgroup=true
"""
SERVICE = (
    '[[service]]\nname = "web"\nrestart = "signal:HUP"\n[[service.probe]]\nhttp = "http://127.0.0.1:{port}/"\ntimeout = "10s"\n'
)


def with_gunicorn(host: Host, options: str = "", directory: str = "") -> Host:
    values = {"bin": BIN, "port": host.port, "path": host.path, "options": options, "directory": directory}
    host.services = [GUNICORN.format(**values)]
    host.configure(service=SERVICE.format(port=host.port))
    version(host, "v1.0.0", deadline="60s")
    host.start()
    assert host.deploy().code == 0
    return host


def version(host: Host, name: str, deadline: str) -> None:
    health = f'[health]\ndeadline = "{deadline}"\nstable_for = "1s"\n'
    host.repository.release(name, **{"app.py": APP.format(version=name), "release.toml": health})


def test_gunicorn_that_reloads_in_its_old_directory_is_rolled_back_with_the_cure(cold_host: Host) -> None:
    host = with_gunicorn(cold_host, directory=f"directory={cold_host.root}/current")
    version(host, "v1.1.0", deadline="5s")

    ran = host.deploy()

    error = ran.json["error"]
    assert (ran.code, error["code"]) == (20, "old-code-running"), ran.err
    assert f"from {ran.json['previous']}" in error["message"]
    assert "--chdir <root>/current" in error["hint"]
    assert (host.live(), host.serves()) == (ran.json["previous"], "v1.0.0")


def test_gunicorn_that_changes_to_current_when_it_reloads_answers_with_the_new_code(cold_host: Host) -> None:
    host = with_gunicorn(cold_host, options=f"--chdir {cold_host.root}/current")
    pid = host.process()[1]
    version(host, "v1.1.0", deadline="60s")

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"]) == (0, "deployed"), ran.err
    assert host.serves() == "v1.1.0"
    assert host.process()[1] == pid, "it was not restarted"


@pytest.mark.parametrize(("kind", "contained"), [("directory", False), ("mapped file", False), ("directory", True)])
def test_child_of_a_service_that_stays_behind_is_old_code(cold_host: Host, kind: str, *, contained: bool) -> None:
    """``contained``: as in a container, where root may not look into the processes of others."""
    host = cold_host
    host.repository.release("v1.0.0")
    host.start(contained=contained)
    mapped = "import mmap; file = open(here + '/web.py'); kept = mmap.mmap(file.fileno(), 0, prot=1)"
    keeps = "os.chdir(here)" if kind == "directory" else mapped
    forking = (
        "import os, signal, socket, time\nhere = os.path.dirname(os.path.realpath(__file__))\n"
        f"server = socket.create_server(('127.0.0.1', int(os.environ['PORT'])))\n{keeps}\n"
        "signal.signal(signal.SIGHUP, lambda *_: None)\nif os.fork() == 0:\n    time.sleep(3600)\n"
        "while True:\n    c, _ = server.accept(); c.recv(9999); c.sendall(b'HTTP/1.0 200 OK\\r\\n\\r\\nok'); c.close()\n"
    )
    host.configure(service=SERVICE.format(port=host.port))
    host.repository.release("v1.2.0", **{"web.py": forking})
    assert host.deploy().code == 0
    host.repository.release("v1.3.0", **{"web.py": forking, "release.toml": '[health]\ndeadline = "2s"\nstable_for = "100ms"\n'})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "old-code-running")
    assert ran.json["error"]["message"].count(f"from {ran.json['previous']}") == 2
    eventually(lambda: host.serves() == "ok", "it still answers")


# The parent alone is stopped: its child keeps the socket that both have from supervisord.
LEAVING_A_CHILD = SERVER.replace("server = socket", "while os.fork():\n    time.sleep(3600)\nserver = socket", 1)


@pytest.mark.parametrize("contained", [False, True])
def test_child_that_its_parent_has_left_behind_and_that_still_answers_is_old_code(cold_host: Host, *, contained: bool) -> None:
    host = cold_host
    host.services = [fcgi_program(host) + f"directory={host.root}/current\n"]
    host.configure(service=SERVICE.format(port=host.port).replace("signal:HUP", "restart"))
    health = '[health]\ndeadline = "3s"\nstable_for = "100ms"\n'
    for tag, server in {"v1.0.0": LEAVING_A_CHILD, "v1.1.0": SERVER}.items():
        host.repository.release(tag, **{"web.py": server, "release.toml": health})
    host.start(contained=contained)
    first = host.deploy("v1.0.0").json["release"]

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"], host.live()) == (20, "old-code-running", first), ran.err
    assert f"from {first}" in ran.json["error"]["message"]
    assert "killasgroup=true" in ran.json["error"]["hint"]
    assert set(host.rpc.release.getReleasesInUse("web")) >= {first}


ELSEWHERE = SERVER.replace(
    "server = socket",
    """if not os.fork():
    os.setsid()
    os.close(0)
    helper = socket.create_server(("127.0.0.1", 0))
    time.sleep(3600)
server = socket""",
    1,
)


def test_helper_that_was_left_behind_and_listens_elsewhere_is_no_old_code(cold_host: Host) -> None:
    host = cold_host
    host.services = [fcgi_program(host) + f"directory={host.root}/current\n"]
    host.configure(service=SERVICE.format(port=host.port).replace("signal:HUP", "restart"))
    health = '[health]\ndeadline = "20s"\nstable_for = "100ms"\n'
    for tag in ("v1.0.0", "v1.1.0"):
        host.repository.release(tag, **{"web.py": ELSEWHERE, "release.toml": health})
    host.start()
    host.deploy("v1.0.0")

    ran = host.deploy("v1.1.0")

    assert (ran.code, host.serves()) == (0, "v1.1.0"), ran.err
