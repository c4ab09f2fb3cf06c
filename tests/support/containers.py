"""Run real containers with this machine's engine: build images, and look at containers from outside."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support.consul_process import binary
from support.environment import PROJECT
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

_LONGEST = 900  # seconds for any command, also for the build of an image
AGENT, SYSTEM, CONSUL = "localhost/release-agent", "localhost/release-agent-system", "localhost/release-agent-consul"


@cache
def engine() -> str:
    """Return docker if it answers, otherwise podman."""
    chosen = os.environ.get("CONTAINER_ENGINE")
    if chosen:
        return chosen
    return "docker" if shutil.which("docker") and _ran("docker", "info").returncode == 0 else "podman"


def _ran(*command: str | Path, **how: Any) -> subprocess.CompletedProcess[str]:
    return subprocess.run(command, check=False, capture_output=True, text=True, timeout=_LONGEST, **how)


def run(*command: str | Path, check: bool = True, **how: Any) -> subprocess.CompletedProcess[str]:
    """Run a program to its end."""
    done = _ran(*command, **how)
    assert not check or done.returncode == 0, f"{' '.join(map(str, command))}: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return done


def build(tag: str, context: Path, *flags: str) -> None:
    """Build an image. The build uses the machine's network, which may reach package indexes that containers cannot reach."""
    run(engine(), "build", "--network", "host", "--tag", tag, *flags, context)


@contextmanager
def built(tag: str, context: Path, *flags: str) -> Iterator[str]:
    """Build an image as a context, which removes it."""
    try:
        build(tag, context, *based(), *flags)
        yield tag
    finally:
        run(engine(), "image", "rm", "--force", tag, check=False)


def base_image() -> str:
    """Return this machine's base image, otherwise the Dockerfile's."""
    (default,) = re.findall(r"^ARG BASE_IMAGE=(.+)$", (PROJECT / "Dockerfile").read_text(encoding="utf-8"), re.MULTILINE)
    return os.environ.get("BASE_IMAGE") or default


def based() -> list[str]:
    """Return the flags that build on the base image."""
    return ["--build-arg", f"BASE_IMAGE={base_image()}"]


def build_agent() -> None:
    """Build the project's own image."""
    build(AGENT, PROJECT, *based())


def build_consul(place: Path) -> None:
    """Build an image with the Consul that all tests use."""
    shutil.copy(binary(), place / "consul")
    (place / "Dockerfile").write_text(f"FROM {AGENT}\nCOPY consul /usr/local/bin/consul\n")
    build(CONSUL, place)


def compose(place: Path, project: str, *arguments: str, environment: dict[str, str] | None = None) -> None:
    """Run docker's own compose, or podman-compose from Python's package index."""
    program = ["docker", "compose"] if engine() == "docker" else [str(Path(sys.executable).with_name("podman-compose"))]
    run(*program, "--project-name", project, *arguments, cwd=place, env={**os.environ, **(environment or {})})


class Container:
    """One container, by the name or id that its engine knows."""

    def __init__(self, name: str) -> None:
        self.name = name

    @classmethod
    def start(cls, name: str, image: str, *flags: str, command: Sequence[str] = ()) -> Container:
        """Start a new one, with another command than the image's."""
        run(engine(), "run", "--detach", "--name", name, *flags, image, *command)
        return cls(name)

    def execute(self, *command: str, user: str = "root", check: bool = True) -> subprocess.CompletedProcess[str]:
        """Run a command inside."""
        return run(engine(), "exec", "--user", user, self.name, *command, check=check)

    def agent(self, *command: str) -> Any:
        """Return the JSON answer of a command of the agent that only reads."""
        done = self.execute("release-agent", *command, "--json", user="release", check=False)
        assert done.stdout, done.stderr
        return json.loads(done.stdout)

    def live(self) -> tuple[str | None, str | None]:
        """Return the live revision, and its health with the reasons."""
        status = self.agent("status")
        return (status["current"] or {}).get("revision"), ": ".join(filter(None, (status["health"], status["health_why"])))

    def outcomes(self, limit: int) -> list[tuple[str | None, str]]:
        """Return revision and outcome of the newest deployments, newest first."""
        return [(entry["revision"], entry["outcome"]) for entry in self.agent("history", "--limit", str(limit))]

    def started_at(self, program: str) -> int:
        """Return when supervisor started a program's process, in seconds since 1970."""
        asked = (
            "from supervisor.xmlrpc import SupervisorTransport as T; from xmlrpc.client import ServerProxy as S;"
            "s = S('http://x', transport=T(serverurl='unix:///run/supervisor.sock'));"
            f"print(s.supervisor.getProcessInfo('{program}')['start'])"
        )
        return int(self.execute("/opt/release-agent/bin/python", "-c", asked).stdout)

    def pid(self) -> int:
        """Return the process id of its first process, as the machine sees it."""
        return int(self.inspect("{{.State.Pid}}"))

    def inspect(self, form: str) -> str:
        """Return the engine's facts about the container."""
        return run(engine(), "inspect", "--format", form, self.name).stdout.strip()

    def do(self, verb: str, *flags: str, check: bool = True) -> None:
        """Let the engine kill, stop, start, pause or remove the container."""
        run(engine(), verb, *flags, self.name, check=check)

    def log(self) -> str:
        """Return the output of the container."""
        done = run(engine(), "logs", self.name, check=False)
        return done.stdout + done.stderr

    def until(self, what: str, is_true: Callable[[], object]) -> None:
        """Wait for a condition; a failure shows the container's log."""
        try:
            # Each look starts programs of the engine; without a pause they would fill a processor.
            eventually(is_true, what, pause=0.5, looks=800)
        except AssertionError:
            sys.stderr.write(f"--- {self.name} ---\n{self.log()[-8000:]}\n")
            raise

    def until_done(self, programs: Sequence[str] = ("boot", "deploy")) -> None:
        """Wait until no run of the agent is left, and supervisor has noticed the end."""

        def done() -> bool:
            lines = self.execute("supervisorctl", "status", *programs, check=False).stdout.splitlines()
            return [line.split()[1] in ("EXITED", "STOPPED") for line in lines] == [True] * len(programs)

        self.until(f"the end of {' and '.join(programs)}", done)

    def cut(self) -> None:
        """Drop every packet to the container, as with a broken cable."""
        self._in_its_network("-I")

    def heal(self) -> None:
        """Let packets to the container pass again."""
        self._in_its_network("-D")

    def _in_its_network(self, how: str) -> None:
        run(
            "nsenter",
            "--target",
            str(self.pid()),
            "--net",
            "iptables",
            how,
            "INPUT",
            "!",
            "--in-interface",
            "lo",
            "--jump",
            "DROP",
        )
