"""The stage of the demo: one directory with all files and processes; set it up and remove it."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import time
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING, Any, NoReturn

from processes import end, free_ports

if TYPE_CHECKING:
    from collections.abc import Callable

    from processes import Signals

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parent.parent
# Characters in the path of supervisord's socket, which gets a process id as a suffix.
LONGEST_SOCKET = 100
CONSUL_PORTS = ("HTTP", "DNS", "SERVER", "LAN", "WAN")
# Variables of the caller that would lead the demo to a real repository, supervisor or Consul.
FOREIGN = ("GIT_", "CONSUL_", "RELEASE_", "SUPERVISOR_", "PYTHON", "VIRTUAL_ENV")
# Seconds, long enough for a busy machine.
PATIENCE = 60.0
TEAR_DOWN = 45.0


class DemoError(Exception):
    """The reason why the demo cannot go on."""


def fail(message: str) -> NoReturn:
    """Raise DemoError."""
    raise DemoError(message)


class Stage:
    """The stage of the show; commands run in its directory, with its environment."""

    def __init__(self, directory: Path, signals: Signals) -> None:
        """Nothing runs yet; the directory exists and is empty."""
        self.directory = directory
        self._signals = signals
        self.logs = directory / "logs"
        self.repository = directory / "repository"
        self.consul = ""
        self.web_port, *consul_ports = free_ports(1 + len(CONSUL_PORTS))
        self.added = {
            "PATH": f"{directory}/venv/bin:{os.environ.get('PATH', os.defpath)}",
            "RELEASE_AGENT_CONFIG": f"{directory}/release-agent.toml",
            "WEB_PORT": str(self.web_port),
            "CONSUL_HTTP_ADDR": f"127.0.0.1:{consul_ports[0]}",
            **{f"CONSUL_PORT_{name}": str(port) for name, port in zip(CONSUL_PORTS, consul_ports, strict=True)},
        }
        self._supervisord: subprocess.Popen[bytes] | None = None

    # Commands

    @property
    def environment(self) -> dict[str, str]:
        """The caller's environment, without the variables that lead out of the demo."""
        kept = {name: value for name, value in os.environ.items() if not name.startswith(FOREIGN)}
        return {**kept, "TMPDIR": f"{self.directory}/scratch", **self.added}

    def run(self, *command: str, log: str = "agent.log") -> tuple[int, str]:
        """Run a command to its end; returns its exit code and stdout. Its stderr goes to ``logs/``."""
        self._signals.check()
        with (self.logs / log).open("ab") as errors:
            process = subprocess.Popen(
                command,
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=errors,
                text=True,
                # Ctrl-C must reach only the demo, which then ends the command.
                start_new_session=True,
            )
        while True:
            try:
                output, _ = process.communicate(timeout=0.1)
            except subprocess.TimeoutExpired:
                if self._signals.got:
                    end(process, patience=10)
                    self._signals.check()
            else:
                return process.returncode, output

    def must(self, *command: str, log: str = "agent.log", allowed: tuple[int, ...] = (0,)) -> str:
        """Run a command that must succeed; returns its stdout."""
        code, output = self.run(*command, log=log)
        if code not in allowed:
            fail(f"`{shlex.join(command)}` ended with {code}:\n{output}{self.last_lines(log)}")
        return output

    def last_lines(self, log: str) -> str:
        """Return the end of a log."""
        lines = (self.logs / log).read_text(encoding="utf-8", errors="replace").splitlines()
        return "\n".join(lines[-15:])

    # Setting up

    def install(self) -> str:
        """Install the project from this checkout into a virtual environment; returns its version."""
        for place in (self.logs, self.directory / "scratch"):
            place.mkdir()
        # A copy: building in the checkout would leave files there.
        source = self.directory / "source"
        source.mkdir()
        for file in PROJECT.iterdir():
            if file.is_file() and not file.name.startswith("."):
                shutil.copy2(file, source)
        shutil.copytree(PROJECT / "release_agent", source / "release_agent", ignore=shutil.ignore_patterns("__pycache__"))
        self.must(sys.executable, "-m", "venv", "venv", log="install.log")
        self.must("venv/bin/pip", "install", "--quiet", "--disable-pip-version-check", "./source", log="install.log")
        return self.must("release-agent", "--version").strip()

    def fetch_consul(self) -> str:
        """Find or download Consul; returns the reason of a failure, or an empty text."""
        # Use a Consul that was downloaded for this checkout before.
        path = f"{self.added['PATH']}:{PROJECT / '.tools'}"
        script = PROJECT / "scripts" / "get-consul"
        code, output = self.run("env", f"PATH={path}", str(script), "tools", log="consul.log")
        if code:
            said = self.last_lines("consul.log").splitlines()
            reasons = [line.partition("no Consul can be had here: ")[2] for line in said]
            return next(filter(None, reversed(reasons)), "it could not be fetched")
        self.added["PATH"] += f":{Path(output.splitlines()[-1]).parent}"
        self.consul = self.must("consul", "version").splitlines()[0]
        shutil.copy(HERE / "consul.conf", self.directory)
        return ""

    def start(self) -> str:
        """Start supervisord, and Consul under it; returns the reason why Consul does not answer, or an empty text."""
        shutil.copy(HERE / "supervisord.conf", self.directory)
        self._signals.check()
        with (self.logs / "supervisord.err").open("ab") as errors:
            self._supervisord = subprocess.Popen(
                ["supervisord", "--nodaemon", "-c", "supervisord.conf"],
                cwd=self.directory,
                env=self.environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=errors,
                start_new_session=True,
            )
        self.wait_until(self._supervisord_answers, "supervisord to answer", PATIENCE)
        wrong = ""
        if self.consul:
            try:
                self.wait_until(self._consul_has_leader, "Consul to have a leader", PATIENCE)
            except DemoError:
                self.consul, wrong = "", f"it was started and did not find itself a leader within {PATIENCE:g} s"
                self.run("supervisorctl", "stop", "consul")
        self._configure()
        return wrong

    def _configure(self) -> None:
        template = Template((HERE / "release-agent.toml").read_text(encoding="utf-8"))
        text = template.substitute(
            # A JSON string is a TOML string.
            root=json.dumps(f"{self.directory}/app"),
            repository=json.dumps(str(self.repository)),
            supervisor=json.dumps(f"unix://{self.directory}/supervisor.sock"),
            web_port=self.web_port,
            consul="true" if self.consul else "false",
        )
        (self.directory / "release-agent.toml").write_text(text, encoding="utf-8")

    def _supervisord_answers(self) -> bool:
        if self._supervisord and self._supervisord.poll() is not None:
            fail(f"supervisord ended with {self._supervisord.returncode}:\n{self.last_lines('supervisord.err')}")
        with socket.socket(socket.AF_UNIX) as client:
            return client.connect_ex(f"{self.directory}/supervisor.sock") == 0

    def _consul_has_leader(self) -> bool:
        connection = http.client.HTTPConnection(self.added["CONSUL_HTTP_ADDR"], timeout=2)
        with contextlib.closing(connection), contextlib.suppress(OSError, http.client.HTTPException):
            connection.request("GET", "/v1/status/leader")
            return bool(json.loads(connection.getresponse().read()))
        return False

    def make_repository(self) -> None:
        """Make an empty git repository that does not depend on the caller's git configuration."""
        self.must("git", "init", "--quiet", "--template=", "--initial-branch=main", "repository")
        settings = {"user.name": "A developer", "user.email": "developer@example.org"}
        settings |= {"commit.gpgSign": "false", "tag.gpgSign": "false", "core.hooksPath": "/dev/null"}
        for name, value in settings.items():
            self.must("git", "-C", "repository", "config", name, value)

    def change_code(self, version: str) -> None:
        """Write the files of a version into the repository and add them; the caller commits and tags them."""
        clutter = shutil.ignore_patterns(".*", "__pycache__")
        shutil.copytree(HERE / "app" / version, self.repository, ignore=clutter, dirs_exist_ok=True)
        self.must("git", "-C", "repository", "add", "--all")

    # Looking

    def wait_until(self, true: Callable[[], bool], what: str, seconds: float) -> None:
        """Poll; raises DemoError if it takes too long."""
        deadline = time.monotonic() + seconds
        while not true():
            self._signals.check()
            if time.monotonic() > deadline:
                fail(f"waited {seconds:g} s for {what}, without success")
            time.sleep(0.1)

    def has_ended(self, program: str) -> bool:
        """Return whether a one-shot of supervisor has ended."""
        return " EXITED " in self.run("supervisorctl", "status", program)[1]

    def last_deployment(self) -> dict[str, Any]:
        """Return the newest record of the journal."""
        newest: dict[str, Any] = json.loads(self.must("release-agent", "history", "--json", "--limit", "1"))[0]
        return newest

    # Taking down

    def stop(self) -> None:
        """Stop supervisord and everything under it."""
        if self._supervisord:
            end(self._supervisord, patience=TEAR_DOWN)

    def write_environment(self) -> None:
        """Write ``env``, a file that sets the environment of the demo in a shell."""
        names = ["PATH", "RELEASE_AGENT_CONFIG", *(["CONSUL_HTTP_ADDR"] if self.consul else [])]
        lines = [f"export {name}={shlex.quote(self.added[name])}\n" for name in names]
        (self.directory / "env").write_text("".join(lines), encoding="utf-8")
