"""The recipes of the page "Deploy without losing a request" lose none, and stop a release that cannot start."""

from __future__ import annotations

import re
import threading
from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from support.load import Load, ask
from support.recipes import PAGE, needed, shown, supervisor_section
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from support.host import Host

# Each of them keeps who asks for /slow waiting until the gate is open.
WSGI = """\
import os, time
version = open(__file__.replace("app.py", "version")).read()
def app(environ, start_response):
    if environ["PATH_INFO"] == "/slow":
        open("{gate}.reached", "w").close()
        while not os.path.exists("{gate}.open"):
            time.sleep(0.02)
    start_response("200 OK", [("Content-Type", "text/plain")])
    return [version.encode()]
"""
ASGI = """\
import asyncio, os
version = open(__file__.replace("app.py", "version")).read()
async def app(scope, receive, send):
    if scope.get("path") == "/slow":
        open("{gate}.reached", "w").close()
        while not os.path.exists("{gate}.open"):
            await asyncio.sleep(0.02)
    if scope["type"] == "http":
        await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"text/plain")]})
        await send({"type": "http.response.body", "body": version.encode()})
    else:
        await receive()
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await send({"type": "lifespan.shutdown.complete"})
"""
HANDLER = """\
(request, response) => {
  if (request.url !== "/slow") return response.end(version);
  fs.writeFileSync("{gate}.reached", "");
  const looking = setInterval(() => {
    if (!fs.existsSync("{gate}.open")) return;
    clearInterval(looking);
    response.end(version);
  }, 20);
}"""
PHP = "<?php echo file_get_contents(__DIR__ . '/../version');"


def _gunicorn(host: Host) -> dict[str, str]:
    return {"app.py": _gated(host, WSGI)}


def _uvicorn(host: Host) -> dict[str, str]:
    return {"app.py": _gated(host, ASGI), "serve.py": shown(host, "uvicorn", "python")}


def _node(host: Host) -> dict[str, str]:
    # The page's server, with a handler that can be slow.
    server = shown(host, "Node", "js")
    assert "(request, response) => response.end(version)" in server
    return {"server.js": server.replace("(request, response) => response.end(version)", _gated(host, HANDLER))}


def _gated(host: Host, code: str) -> str:
    return code.replace("{gate}", f"{host.path}/slow")


def _nginx(host: Host) -> dict[str, str]:
    return {"nginx.conf": shown(host, "nginx", "nginx")}


def _behind_haproxy(host: Host) -> dict[str, str]:
    (host.path / "haproxy.cfg").write_text(shown(host, "Behind HAProxy", "haproxy").replace("group deploy", "group root") + "\n")
    return _gunicorn(host)


def _php(host: Host) -> dict[str, str]:
    inside = f"current/public;\n{shown(host, 'PHP-FPM', 'nginx')}"
    served = shown(host, "nginx", "nginx").replace("current/public;", inside)
    return {"public/index.php": PHP, "php-fpm.conf": shown(host, "PHP-FPM", "ini"), "nginx.conf": served}


@dataclass(frozen=True)
class Recipe:
    """One section of the page, what the repository has besides, and how a release of it is broken."""

    section: str
    supervisor: tuple[str, ...]
    programs: tuple[str, ...]
    files: Callable[[Host], dict[str, str]]
    broken: Mapping[str, str]
    error: str = "rehearsal-failed"


RECIPES = [
    Recipe("gunicorn on a held socket", ("gunicorn",), (), _gunicorn, {"app.py": "import no_such_module"}),
    Recipe("gunicorn that reloads on HUP", ("gunicorn-reload",), (), _gunicorn, {"app.py": "import no_such_module"}),
    Recipe("uvicorn", ("uvicorn",), (), _uvicorn, {"app.py": "import no_such_module"}),
    Recipe("Node", ("node",), ("node",), _node, {"server.js": "require('no-such-module')"}),
    Recipe("Behind HAProxy", ("haproxy",), ("haproxy", "socat"), _behind_haproxy, {"app.py": "import no_such_module"}),
    Recipe("nginx", ("nginx",), ("nginx",), _nginx, {"nginx.conf": "no_such_directive on;"}, "hook-failed"),
    Recipe("PHP-FPM", ("php-fpm", "nginx"), ("nginx", "php"), _php, {"public/index.php": "<?php no_such_function();"}),
]


@dataclass
class Deployed:
    """A host that runs a recipe."""

    host: Host
    recipe: Recipe

    def release(self, version: str, **broken: str) -> None:
        """Commit a version and tag it."""
        toml = shown(self.host, self.recipe.section, "toml")
        files = {"version": version, "public/index.html": version, "release.toml": toml}
        self.host.repository.commit(files | self.recipe.files(self.host) | broken, tag=version)

    @property
    def reloads(self) -> bool:
        """Whether its processes stay and only their workers are replaced."""
        return "signal:" in shown(self.host, self.recipe.section, "toml")

    def processes(self) -> dict[str, int]:
        """Return the pids of the services."""
        return {info["name"]: info["pid"] for info in self.host.rpc.supervisor.getAllProcessInfo() if info["pid"]}


@pytest.fixture(params=RECIPES, ids=lambda recipe: recipe.section)
def deployed(request: pytest.FixtureRequest, cold_host: Host) -> Deployed:
    """A host with the first version of a recipe live."""
    host, recipe = cold_host, request.param
    needed(*recipe.programs)
    host.path.chmod(0o777)  # the home of the service's user
    host.services = [supervisor_section(host, name) for name in recipe.supervisor]
    host.configure(service="", health='[health]\nstable_for = "1s"\n')
    made = Deployed(host, recipe)
    made.release("v1.0.0")
    host.start()
    ran = host.deploy()
    assert ran.code == 0, ran.err
    return made


def test_recipe_loses_no_request_over_a_deployment_and_a_rollback(deployed: Deployed) -> None:
    host, load = deployed.host, Load(deployed.host.port)
    deployed.release("v1.1.0")

    with load.running():
        ran = host.deploy()
        assert ran.code == 0, ran.err
        eventually(lambda: load.answers[-1] == "v1.1.0", "the new release answers")
        back = host.agent("rollback")
        assert back.code == 0, back.err
        eventually(lambda: load.answers[-1] == "v1.0.0", "the release before answers")

    assert load.lost == []
    assert set(load.answers) == {"v1.0.0", "v1.1.0"}


def test_recipe_stops_a_broken_release_before_it_is_live(deployed: Deployed) -> None:
    host, load = deployed.host, Load(deployed.host.port)
    deployed.release("v1.1.0", **deployed.recipe.broken)
    live, processes = host.live(), deployed.processes()

    with load.running():
        ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, deployed.recipe.error), ran.err
    assert (host.live(), deployed.processes()) == (live, processes)
    assert load.lost == []
    assert set(load.answers) == {"v1.0.0"}


@pytest.mark.parametrize("deployed", RECIPES[:4], ids=lambda recipe: recipe.section, indirect=True)
def test_recipe_finishes_a_request_that_is_running(deployed: Deployed) -> None:
    host, answers = deployed.host, list[str]()
    deployed.release("v1.1.0")
    slow = threading.Thread(target=lambda: answers.append(ask(host.port, "slow")))
    slow.start()
    host.reached("slow")

    run = host.begin("deploy", "--json")
    # Either it waits for the old process, or the new workers answer already.
    eventually(lambda: host.process()[0] == "STOPPING" or (deployed.reloads and host.serves() == "v1.1.0"), "it is replaced")
    host.open("slow")
    slow.join()

    assert (run.wait(), answers) == (0, ["v1.0.0"])
    assert host.serves() == "v1.1.0"


def sockets(host: Host) -> dict[Path, int]:
    """Return the sockets that anybody has made for a host, and which one each is."""
    return {path: path.stat().st_ino for path in host.path.rglob("*") if path.is_socket()}


def test_rehearsal_of_a_recipe_leaves_every_socket_to_the_live_one(deployed: Deployed) -> None:
    host = deployed.host
    before = sockets(host)
    deployed.release("v1.1.0")

    ran = host.agent("stage", "v1.1.0")

    assert ran.code == 0, ran.err
    assert sockets(host) == before


def test_gunicorn_keeps_its_control_socket_if_the_copy_has_one_of_its_own(cold_host: Host) -> None:
    host, controlled = cold_host, Deployed(cold_host, RECIPES[0])
    host.path.chmod(0o777)
    host.services = [supervisor_section(host, "gunicorn").replace("--no-control-socket ", "")]
    host.configure(service="", health='[health]\nstable_for = "1s"\n')
    (own,) = re.findall(r"`(environment = \{ GUNICORN_CMD_ARGS = .*?\})`", PAGE.section(controlled.recipe.section).text)
    toml = shown(host, controlled.recipe.section, "toml") + f"\n{own}\n"
    for version in ("v1.0.0", "v1.1.0"):
        controlled.release(version, **{"release.toml": toml})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    control = host.path / ".gunicorn" / "gunicorn.ctl"
    eventually(control.is_socket, "gunicorn has made it")
    before = sockets(host)

    ran = host.agent("stage", "v1.1.0")

    assert ran.code == 0, ran.err
    assert sockets(host) == before
