"""The image in a container: first boot, deployments, KILL and stop during a deployment, an upgrade of the agent."""

from __future__ import annotations

import json
import os
import secrets
import shutil
from typing import TYPE_CHECKING, Any

import pytest

from support.containers import AGENT, Container, built, engine, run
from support.environment import PROJECT
from support.markdown import page
from support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ANOTHER_UID = 12345
CONFIG = """
[app]
name = "web"
environment = "test"
root = "/srv/app"
[[repository]]
name = "web"
path = "/repos/web"
[consul]
enabled = false
"""
# The hook is the one that supervisor.d/example-service.conf recommends.
RELEASE_TOML = """
[health]
deadline = "{deadline}s"
stable_for = "1s"
[shared]
directories = ["var/uploads"]
[hooks]
build = [
    {{ run = 'chgrp app "$RELEASE_SHARED/var/uploads" && chmod 2775 "$RELEASE_SHARED/var/uploads"' }},
    {{ run = "sleep {build}" }},
]
[[service]]
name = "web"
  [[service.probe]]
  http = "http://127.0.0.1:8080/health"
"""
SERVER = """
import http.server, pathlib, time

VERSION, WARM_UP, WELL = "{tag}", {warm_up}, {well}
BEGAN = time.monotonic()
pathlib.Path("var/uploads/written-by-" + VERSION).touch()

class Handler(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if WELL and time.monotonic() - BEGAN >= WARM_UP else 503)
        self.end_headers()
        self.wfile.write(VERSION.encode())
    def log_message(self, *_):
        pass

http.server.HTTPServer(("127.0.0.1", 8080), Handler).serve_forever()
"""
# Runs inside: what answers on port 8080, and what lies in the process table.
ASK = "import urllib.request as r; print(r.urlopen('http://127.0.0.1:8080/health', timeout=2).read().decode())"
PROCESSES = """
import json, os, pathlib
rows = []
for place in pathlib.Path("/proc").glob("[0-9]*"):
    try:
        state = (place / "stat").read_text().rpartition(")")[2].split()[0]
        rows.append([int(place.name), state, place.stat().st_uid, (place / "cmdline").read_text().replace(chr(0), " ")])
    except OSError:
        pass
print(json.dumps(rows))
"""


class Box:
    """One container that runs one application, its repository, and its volume."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.name = f"release-agent-test-{secrets.token_hex(4)}"
        self.repository = Repository(place / "web")
        for name in ("config", "services"):
            (place / name).mkdir()
        (place / "config" / "release-agent.toml").write_text(CONFIG)
        shutil.copy(PROJECT / "supervisor.d" / "example-service.conf", place / "services" / "web.conf")

    def tag(self, tag: str, *, warm_up: float = 0, build: float = 0, well: bool = True, deadline: int = 30) -> None:
        """Tag a version of the application in a repository that belongs to somebody else."""
        server, release = SERVER.format(tag=tag, warm_up=warm_up, well=well), RELEASE_TOML.format(deadline=deadline, build=build)
        self._belongs_to(0)
        self.repository.commit({"server.py": server, "release.toml": release}, tag=tag)
        self._belongs_to(ANOTHER_UID)

    def _belongs_to(self, uid: int) -> None:
        for path in [self.repository.path, *self.repository.path.rglob("*")]:
            os.lchown(path, uid, uid)

    def start(self, image: str = AGENT, *flags: str) -> Container:
        """Start a container of an image with the volume; it has no network but its own loopback."""
        mounts = {"web": "/repos/web", "config": "/etc/release-agent", "services": "/etc/supervisor.d"}
        volumes = [f"--volume={self.place / source}:{target}:ro" for source, target in mounts.items()]
        own = f"--volume={self.name}:/srv/app"
        self.container = Container.start(self.name, image, "--network", "none", *volumes, own, *flags)
        self.container.until_done()
        return self.container

    def deploy(self) -> None:
        """Deploy what the highest version names, to its end."""
        self.container.execute("supervisorctl", "start", "deploy")
        self.container.until_done()

    def interrupt(self, how: tuple[str, ...], phase: str) -> None:
        """Deploy, kill or stop the container when a phase has begun, and start it again."""
        box = self.container
        box.execute("supervisorctl", "start", "deploy")
        box.until(f"the phase {phase}", lambda: (box.agent("status")["deployment"] or {}).get("phase") == phase)
        box.do(*how)
        box.do("start")
        box.until_done()

    def close(self) -> None:
        """Remove it."""
        for what in ("container", "volume"):
            run(engine(), what, "rm", "--force", self.name, check=False)


@pytest.fixture
def box(images: None, tmp_path: Path) -> Iterator[Box]:  # noqa: ARG001
    os.umask(0o022)
    tmp_path.chmod(0o755)
    made = Box(tmp_path)
    made.tag("v1.0.0")
    yield made
    made.close()


def live(container: Container, tag: str) -> None:
    """Hold a container to a version: it runs, it answers, it is the commit's, and nobody finds fault with the set-up."""
    assert container.live() == (tag, "passing")
    assert container.execute("python3", "-c", ASK).stdout.strip() == tag
    for command in ("verify", "doctor"):
        done = container.execute("release-agent", command, user="release", check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    rows = json.loads(container.execute("python3", "-c", PROCESSES).stdout)
    assert [row for row in rows if row[1] == "Z"] == []
    owners = {word: uid for _, _, uid, command in rows for word in ("supervisord", "server.py") if word in command}
    assert owners == {"supervisord": 0, "server.py": int(container.execute("id", "-u", "app").stdout)}
    assert any(pid == 1 and "supervisord" in command for pid, _, _, command in rows)


def states(container: Container) -> dict[str, Any]:
    return {release["revision"]: release["state"] for release in container.agent("releases")}


READ_ONLY = ("--read-only", "--tmpfs", "/run", "--tmpfs", "/tmp")  # noqa: S108 - in the container


@pytest.mark.parametrize("flags", [READ_ONLY, ()], ids=["read-only", "writable"])
def test_container_boots_from_nothing_takes_tags_and_falls_back_from_a_broken_one(box: Box, flags: tuple[str, ...]) -> None:
    container = box.start(AGENT, *flags)
    live(container, "v1.0.0")
    assert container.outcomes(1) == [("v1.0.0", "deployed")]

    box.tag("v1.1.0")
    box.deploy()
    live(container, "v1.1.0")

    box.tag("v1.2.0", well=False, deadline=3)
    box.deploy()
    live(container, "v1.1.0")
    assert (container.outcomes(1), states(container)["v1.2.0"]) == ([("v1.2.0", "rolled-back")], "failed")


def test_boot_of_an_empty_volume_falls_back_from_a_broken_tag(box: Box) -> None:
    box.tag("v1.1.0", well=False, deadline=3)

    container = box.start()

    live(container, "v1.0.0")
    assert container.outcomes(2) == [("v1.0.0", "deployed"), ("v1.1.0", "rollback-failed")]


def test_image_keeps_its_users_apart(box: Box) -> None:
    container = box.start()

    assert container.execute("supervisorctl", "status", "web", user="app", check=False).returncode
    assert container.execute("touch", "/srv/app/x", user="app", check=False).returncode
    container.execute("test", "-O", "/srv/app/shared/var/uploads/written-by-v1.0.0", user="app")
    # The plugin's part of supervisorctl, with the image's own files.
    assert "passing" in container.execute("supervisorctl", "release", "status").stdout
    # A service's python3 is the image's own, not the agent's.
    assert "/opt/release-agent" not in container.execute("sh", "-c", "command -v python3; command -v ssh-keygen").stdout


def test_image_has_only_what_containers_need(images: None) -> None:  # noqa: ARG001
    done = run(engine(), "run", "--rm", AGENT, "release-agent", "rollout", "start", "v1", "--maestro", "x.yaml", check=False)

    assert (done.returncode, "code: packages-missing" in done.stderr) == (10, True), done.stderr


@pytest.mark.parametrize("how", [("kill", "--signal", "KILL"), ("stop", "--time", "30")], ids=["killed", "stopped"])
def test_container_that_ends_in_the_middle_goes_on_where_it_was(box: Box, how: tuple[str, ...]) -> None:
    container = box.start()

    box.tag("v1.1.0", build=120)
    box.interrupt(how, "hooks")
    live(container, "v1.0.0")
    assert container.outcomes(1) == [("v1.1.0", "cancelled")]
    assert "v1.1.0" not in states(container)

    box.tag("v1.2.0", warm_up=5)
    box.interrupt(how, "health")
    live(container, "v1.2.0")
    assert container.outcomes(1) == [("v1.2.0", "deployed")]
    assert states(container)["v1.2.0"] == "healthy"


def test_image_of_somebody_else_only_installs_the_package_and_includes_the_programs(box: Box, tmp_path: Path) -> None:
    context = tmp_path / "theirs"
    shutil.copytree(PROJECT, context / "release-agent", ignore=shutil.ignore_patterns(".*", "tests", "build", "__pycache__"))
    how = page("docs/guides/containers.md").section("An existing image")
    (context / "Dockerfile").write_text(how.examples("dockerfile")[0])
    (context / "supervisord.conf").write_text(how.examples("ini")[0])

    with built("localhost/theirs", context) as image:
        live(box.start(image), "v1.0.0")
        box.close()


def test_agent_is_upgraded_with_a_live_release_and_an_older_journal(box: Box, tmp_path: Path) -> None:
    container = box.start()
    box.tag("v1.1.0")
    box.deploy()
    container.do("stop", "--time", "30")
    container.do("rm", "--force")
    newer = tmp_path / "newer"
    shutil.copytree(PROJECT, newer, ignore=shutil.ignore_patterns(".*", "tests", "build", "__pycache__"))
    version = newer / "release_agent" / "__init__.py"
    version.write_text(version.read_text().replace('__version__ = "0.1', '__version__ = "0.99'))

    with built("localhost/newer", newer) as image:
        container = box.start(image)
        assert "0.99" in container.execute("release-agent", "--version").stdout
        live(container, "v1.1.0")
        assert container.outcomes(3)[-1] == ("v1.0.0", "deployed")
        container.execute("release-agent", "rollback", user="release")
        live(container, "v1.0.0")
        box.close()
