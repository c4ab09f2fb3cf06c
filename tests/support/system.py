"""Run examples/system with a real engine: two APIs, a web front, a worker, a mirror, and a Consul of three."""

from __future__ import annotations

import json
import shutil
import urllib.error
import urllib.request
from typing import TYPE_CHECKING, Any

from support.containers import CONSUL, Container, compose, engine, run
from support.desk import Desk
from support.environment import PROJECT
from support.load import ask

if TYPE_CHECKING:
    from pathlib import Path

FRONT, CONSUL_PORT = 8080, 8500
COMPONENTS = ("api-1", "api-2", "web-1", "worker-1")
_PROJECT = "release-agent-test"
_HELD = 'cd "$RELEASE_SHARED"; while [ -e hold ]; do touch held; sleep 0.1; done; rm -f held'
_HOLD = f"\n[hooks]\nbefore_publish = [{{ run = '{_HELD}' }}]\n"


class System(Desk):
    """The example in a directory of its own; the operator of rollouts works on the machine of the engine."""

    def __init__(self, path: Path) -> None:
        self.place = path / "system"
        shutil.copytree(
            PROJECT / "examples" / "system", self.place, ignore=shutil.ignore_patterns("upstream", ".env", "password")
        )
        run("./prepare", cwd=self.place)
        password = (self.place / "password").read_text().strip()
        super().__init__(path, credentials=("agent", password), consul={"CONSUL_HTTP_ADDR": f"127.0.0.1:{CONSUL_PORT}"})
        self.tags = ["v1.0.0"]

    def compose(self, *arguments: str) -> None:
        """Run compose with the example's own file."""
        compose(self.place, _PROJECT, *arguments, environment={"CONSUL_IMAGE": CONSUL})

    def replace(self, name: str) -> None:
        """Replace a container by a new one with an empty volume."""
        self.container(name).do("rm", "--force", "--volumes")
        run(engine(), "volume", "rm", f"{_PROJECT}_{name}")
        self.compose("up", "--detach", name)

    def container(self, name: str) -> Container:
        """Return the container of a service of compose.yaml."""
        labels = (f"com.docker.compose.project={_PROJECT}", f"com.docker.compose.service={name}")
        filters = [word for label in labels for word in ("--filter", f"label={label}")]
        return Container(run(engine(), "ps", "--all", "--quiet", *filters).stdout.split()[0])

    def start_command(self, *arguments: str, revision: str) -> list[str]:
        """Return the command line that starts a rollout by maestro.yaml, to all hosts of an application at once."""
        fast = [] if "--waves" in arguments else ["--waves", "100%"]
        inventory = ["--maestro", str(self.place / "maestro.yaml"), *self.access]
        return self.command("start", revision, *inventory, "--bake", "0", *fast, *arguments)

    # Versions

    def tag(self, **changes: dict[str, str]) -> str:
        """Commit the sources under a new tag of all repositories; ``changes``: by repository and file, only for this tag."""
        tag = f"v1.{len(self.tags)}.0"
        self.tags.append(tag)
        before = {}
        for repository, files in changes.items():
            for name, text in files.items():
                file = self.place / "source" / repository / name
                before[file] = file.read_text()
                file.write_text(text)
        run("./tag", tag, cwd=self.place)
        for file, text in before.items():
            file.write_text(text)
        return tag

    def mirrored(self, tag: str) -> None:
        """Wait until the components can read a tag."""
        box = self.container("worker-1")
        for name in ("api", "web", "worker"):
            command = (
                "git",
                "-c",
                "safe.directory=*",
                "-C",
                f"/repos/{name}",
                "rev-parse",
                "--quiet",
                "--verify",
                f"refs/tags/{tag}",
            )
            box.until(f"{tag} is mirrored", lambda: box.execute(*command, check=False).returncode == 0)  # noqa: B023

    def new(self, **changes: dict[str, str]) -> str:
        """Tag a version like tag(), and wait until the components can read it."""
        tag = self.tag(**changes)
        self.mirrored(tag)
        return tag

    def source(self, repository: str, name: str) -> str:
        """Return the text of a file of the example."""
        return (self.place / "source" / repository / name).read_text()

    def held_version(self) -> str:
        """Tag a version whose APIs wait before they publish it while hold() is in effect."""
        return self.new(api={"release.toml": self.source("api", "release.toml") + _HOLD})

    def hold(self, name: str) -> None:
        """Make an API wait before it publishes."""
        self.container(name).execute("sh", "-c", "cd /srv/app/shared && rm -f held && touch hold")

    def held(self, name: str) -> None:
        """Wait until the API waits."""
        box = self.container(name)
        box.until(f"{name} is held", lambda: box.execute("test", "-e", "/srv/app/shared/held", check=False).returncode == 0)

    def let_go(self, name: str) -> None:
        """Let the API continue."""
        self.container(name).execute("rm", "-f", "/srv/app/shared/hold")

    # Looks from outside

    def live(self) -> dict[str, str | None]:
        """Return the live revision of each component from its own status; with the reasons if it is not healthy."""
        found = {name: self.container(name).live() for name in COMPONENTS}
        return {name: revision if health == "passing" else f"{revision}: {health}" for name, (revision, health) in found.items()}

    def front(self) -> tuple[str, str]:
        """Return the version of the web front, and the version of the API behind it, from an answer."""
        return ask(FRONT, "version"), json.loads(ask(FRONT, "api/hello"))["version"]

    def follows(self, app: str) -> str:
        """Return the revision that a fleet follows, from Consul."""
        return str(json.loads(self._consul(f"kv/release-agent/production/{app}/rollout/completed?raw"))["revision"])

    def leader(self) -> str:
        """Return the leader of Consul's servers; empty if there is none."""
        try:
            address = json.loads(self._consul("status/leader"))
            return {f"10.77.77.1{number}": f"consul-{number}" for number in (1, 2, 3)}.get(address.partition(":")[0], "")
        except (OSError, urllib.error.URLError):
            return ""

    def well(self, app: str) -> set[str]:
        """Return the addresses that Consul has for an application."""
        found: list[dict[str, Any]] = json.loads(self._consul(f"health/service/{app}?passing"))
        return {entry["Service"]["Address"] for entry in found}

    def _consul(self, path: str) -> str:
        with urllib.request.urlopen(f"http://127.0.0.1:{CONSUL_PORT}/v1/{path}", timeout=30) as answer:
            body: bytes = answer.read()
        return body.decode()

    def close(self) -> None:
        """Remove all containers and files."""
        self.compose("down", "--volumes", "--timeout", "1")
