"""A container before `release-agent init`: supervisord with a service, a repository, the owner of a root directory."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import release_agent
from support import warm
from support.environment import clean_environment
from support.host import Ran
from support.privileges import NOBODY
from support.repositories import Repository
from support.servers import free_port
from support.waiting import eventually

# A Python that every user may run; the Python of the tests may be in a home directory.
SYSTEM_PYTHON = "/usr/bin/python3"
INSTALLED = Path(release_agent.__file__).parent.parent
SUPERVISORD = """\
[supervisord]
nodaemon=true
logfile={place}/supervisord.log
pidfile={place}/supervisord.pid
childlogdir={place}
[unix_http_server]
file={place}/supervisor.sock
{socket}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[supervisorctl]
serverurl=unix://{place}/supervisor.sock
{include}
[program:web]
command={python} -IS {place}/root/current/web.py
environment=PORT="{port}",SICK_FILE="{place}/sick"
{user}
autostart=false
startsecs=1
stdout_logfile={place}/web.out
stderr_logfile={place}/web.err
"""
OPEN = "chown=root:nogroup\nchmod=0770"


class BareContainer:
    """Directories, a repository, a user that owns the root, and supervisord with a service that runs from `current`."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self.port = free_port()
        self.config = place / "etc/release-agent.toml"
        self.log = place / "container.log"
        self.environment = clean_environment() | {
            "PYTHONPATH": str(INSTALLED),
            "PYTHONDONTWRITEBYTECODE": "1",
            "PATH": f"{place}/bin:/usr/bin:/bin:/usr/sbin:/sbin",
        }
        (place / "bin").mkdir()
        for name, entry in warm.ENTRIES.items():
            module, _, function = entry.partition(":")
            (place / "bin" / name).write_text(f"#!{SYSTEM_PYTHON}\nfrom {module} import {function}\n{function}()\n")
            (place / "bin" / name).chmod(0o755)
        for name in ("conf.d", "etc", "repos", "root"):
            (place / name).mkdir()
        os.chown(place / "root", NOBODY, NOBODY)
        self.repository = Repository(place / "repos/api")
        self.repository.release("v1.0.0")
        self.supervisord: subprocess.Popen[bytes] | None = None

    def configure(self, file: Path, *, socket: str = OPEN, include: str | None = None, as_nobody: bool = False) -> None:
        """Write supervisord's configuration."""
        values = {"place": self.place, "python": SYSTEM_PYTHON, "port": self.port, "socket": socket}
        reads = f"[include]\nfiles={self.place}/conf.d/*.conf" if include is None else include
        file.write_text(SUPERVISORD.format(**values, include=reads, user="" if as_nobody else "user=daemon"))

    def start(
        self, *, socket: str = OPEN, include: str | None = None, as_nobody: bool = False, busy: bool = False
    ) -> BareContainer:
        """Start supervisord; ``as_nobody``: not as root; ``busy``: with a running program that is not a service."""
        self.configure(self.place / "supervisord.conf", socket="" if as_nobody else socket, include=include, as_nobody=as_nobody)
        if busy:
            with (self.place / "supervisord.conf").open("a") as file:
                file.write("[program:busy]\ncommand=sleep inf\n")
        self.supervisord = self.begun(as_nobody=as_nobody)
        self.answers()
        return self

    def begun(self, *, as_nobody: bool = False) -> subprocess.Popen[bytes]:
        """Start supervisord with the configuration that is there, and return at once."""
        command = [self.place / "bin/supervisord", "-c", self.place / "supervisord.conf"]
        user = {"user": NOBODY, "group": NOBODY, "extra_groups": []} if as_nobody else {}
        with self.log.open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            return subprocess.Popen(command, env=self.environment, **streams, **user)

    def answers(self) -> None:
        """Wait until supervisord answers."""
        eventually(lambda: self.ctl("pid").out.strip().isdigit(), "supervisord answers")

    def ctl(self, *arguments: str) -> Ran:
        """Run supervisorctl."""
        return self.run("supervisorctl", "-c", self.place / "supervisord.conf", *arguments)

    def reload(self) -> None:
        """Reload supervisord, and wait until the new one answers."""
        log = self.place / "supervisord.log"
        before = log.read_text().count("supervisord started")
        self.ctl("reload")
        eventually(lambda: log.read_text().count("supervisord started") > before, "it has started again")
        self.answers()

    def run(self, *command: object, **environment: str) -> Ran:
        """Run a program in the container."""
        given = self.environment | environment
        done = subprocess.run([str(word) for word in command], env=given, cwd="/", check=False, capture_output=True, text=True)
        return Ran(done.returncode, done.stdout, done.stderr)

    def agent(self, *arguments: object) -> Ran:
        """Run a command of the agent, without a variable that names supervisor."""
        return self.run("release-agent", "--config", self.config, *arguments)

    @property
    def url(self) -> str:
        """The URL of supervisord; others also run on the machine of the tests."""
        return f"unix://{self.place}/supervisor.sock"

    def init(self, *arguments: object, repositories: str = "repos") -> Ran:
        """Run `init` for this supervisord."""
        looked_in = self.place / repositories
        command = ["release-agent", "--config", self.config, "init", "--repositories", looked_in, *arguments]
        return self.run(*command, SUPERVISOR_SERVER_URL=self.url)

    def begin(self, *arguments: object) -> subprocess.Popen[str]:
        """Begin a command of the agent for this supervisord, and return at once."""
        command = ["release-agent", "--config", self.config, *arguments]
        given = self.environment | {"SUPERVISOR_SERVER_URL": self.url}
        streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([str(word) for word in command], env=given, cwd="/", text=True, **streams)

    def ended(self, program: str) -> None:
        """Wait until a one-shot has ended."""
        eventually(lambda: "EXITED" in self.ctl("status", program).out, f"{program} has ended")

    def written(self) -> dict[str, str]:
        """Return the text of each file that `init` may write."""
        places = (self.place / "etc", self.place / "conf.d")
        return {path.name: path.read_text() for place in places for path in sorted(place.rglob("*")) if path.is_file()}

    def close(self) -> None:
        if self.supervisord:
            self.supervisord.terminate()
            self.supervisord.wait()
