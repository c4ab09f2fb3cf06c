"""Run all parts of a container in one directory: repositories, a root, a supervisord, the agent's configuration."""

from __future__ import annotations

import contextlib
import http.client
import json
import os
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
import xmlrpc.client
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from supervisor.xmlrpc import SupervisorTransport

from release_agent.system.processes import with_descendants
from support import warm
from support.environment import BIN, clean_environment
from support.repositories import Repository
from support.servers import free_port
from support.waiting import ended, eventually, freeze

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

# The service uses only the standard library, and its user may not read the agent's environment.
SERVICE_PYTHON = "/usr/bin/python3"
SERVICE_USER = "nobody"
_LONGEST = 120.0  # seconds for any command
# Starts a program without the capabilities that a container's root usually lacks.
CONTAINED = ("setpriv", "--bounding-set=-sys_ptrace,-perfmon,-sys_admin")

SUPERVISORD = """\
[unix_http_server]
file={path}/supervisor.sock
[supervisord]
{supervisord}
logfile={path}/supervisord.log
pidfile={path}/supervisord.pid
childlogdir={path}
[rpcinterface:supervisor]
supervisor.rpcinterface_factory = supervisor.rpcinterface:make_main_rpcinterface
[rpcinterface:release]
supervisor.rpcinterface_factory = release_agent.plugin:make_rpcinterface
config = {path}/release-agent.toml
{plugin}
[ctlplugin:release]
supervisor.ctl_factory = release_agent.plugin:make_controller
[supervisorctl]
serverurl=unix://{path}/supervisor.sock
[program:deploy]
command={bin}/release-agent deploy --json
{environment}
autostart=false
autorestart=false
startsecs=0
startretries=0
exitcodes=0
stopasgroup=true
killasgroup=true
stopwaitsecs=120
{deploy}
stdout_logfile={path}/deploy.out
stderr_logfile={path}/deploy.err
[program:boot]
command={bin}/release-agent boot --json
{environment}
autostart={boot}
autorestart=false
startsecs=0
startretries=0
exitcodes=0
stopasgroup=true
killasgroup=true
stopwaitsecs=120
stdout_logfile={path}/boot.out
stderr_logfile={path}/boot.err
{services}
"""

SERVICE = """\
[program:{name}]
command={python} -IS {root}/current/{script}
environment=PORT="{port}",SICK_FILE="{path}/sick"
user={user}
autostart=false
autorestart=true
startsecs=1
startretries=1
stopwaitsecs=10
"""


@dataclass
class Ran:
    """The end of a command: its exit code and its output."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        return json.loads(self.out.splitlines()[-1])

    def events(self, name: str) -> list[dict[str, Any]]:
        """Return the log events of a name."""
        logged = [json.loads(line) for line in self.err.splitlines() if line.startswith("{")]
        return [event for event in logged if event.get("event") == name]


class Host:
    """One container, from the agent's point of view."""

    def __init__(self) -> None:
        # The path is short, because a unix socket's path must fit into 108 bytes.
        self.path = Path(tempfile.mkdtemp(prefix="ra-"))
        self.path.chmod(0o755)
        self.root = self.path / "root"
        self.repository = Repository(self.path / "repos" / "api")
        self.port = free_port()
        self.config = self.path / "release-agent.toml"
        self.environment = clean_environment() | {
            "RELEASE_AGENT_CONFIG": str(self.config),
            "SUPERVISOR_SERVER_URL": f"unix://{self.path}/supervisor.sock",
        }
        self.supervisord: warm.Program | subprocess.Popen[bytes] | None = None
        self.services = [self.service("web")]
        self.deploy_settings = ""  # more lines of supervisor's section of `deploy`
        self.plugin_settings = ""  # more lines of the plugin's section
        self.supervisord_settings = ""  # more lines of supervisord's own section
        self.configure()

    def service(self, name: str, script: str = "web.py") -> str:
        """Return supervisor's section for a service."""
        values = {"python": SERVICE_PYTHON, "root": self.root, "port": self.port, "path": self.path, "user": SERVICE_USER}
        return SERVICE.format(name=name, script=script, **values)

    # Configuration

    def configure(self, extra: str = "", *, consul: str = "enabled = false", **replaced: str) -> None:
        """Write the agent's configuration; a section given by name replaces the default one."""
        sections = {
            "app": f'[app]\nname = "api"\nenvironment = "test"\nhost = "host-1"\nroot = "{self.root}"\nkeep = 5',
            "repository": f'[[repository]]\nname = "api"\npath = "{self.repository.path}"',
            "revision": "",
            "service": self.probed("10s"),  # a busy machine is slow; an unhealthy service answers at once
            "health": "",  # each version has its own
            "consul": f"[consul]\n{consul}",
        } | replaced
        self.config.write_text("\n".join([*sections.values(), extra]))

    def probed(self, timeout: str) -> str:
        """Return the agent's section for the service, with this time-out of its probe."""
        return f'[[service]]\nname = "web"\n[[service.probe]]\nhttp = "http://127.0.0.1:{self.port}/"\ntimeout = "{timeout}"'

    # supervisord

    def start(self, *, boot: bool = False, contained: bool = False, plugin: bool = True) -> Host:
        """Start supervisord, and wait until it answers; ``contained``: root there may not inspect processes of other users."""
        passed = {k: v for k, v in self.environment.items() if k.startswith(("RELEASE_AGENT_", "CONSUL_"))}
        environment = "environment=" + ",".join(f'{name}="{value}"' for name, value in passed.items())
        text = SUPERVISORD.format(
            path=self.path,
            bin=BIN,
            deploy=self.deploy_settings,
            plugin=self.plugin_settings,
            supervisord=self.supervisord_settings,
            environment=environment,
            services="\n".join(self.services),
            boot=str(boot).lower(),
        )
        (self.path / "supervisord.conf").write_text(
            text if plugin else text.replace("[rpcinterface:release]", "[unused:release]")
        )
        with Path(os.devnull).open("r+") as nothing:
            warm.expect_starts(self.path)
            command = ["supervisord", "-n", "-c", self.path / "supervisord.conf"]
            start = _start_contained if contained else warm.start
            self.supervisord = start(command, clean_environment(), [nothing.fileno()] * 3)
        eventually(self._answers, "supervisord answers")
        return self

    def _answers(self) -> bool:
        try:
            return bool(self.rpc.supervisor.getState()["statename"] == "RUNNING")
        except (OSError, http.client.HTTPException):
            return False

    def reload(self) -> None:
        """Reload supervisord, and wait until the new one answers; the old one also answers for a moment."""
        log = self.path / "supervisord.log"
        before = log.read_text().count("supervisord started")
        # A supervisord without processes ends before it answers.
        with contextlib.suppress(OSError, http.client.HTTPException):
            self.rpc.supervisor.restart()
        eventually(lambda: log.read_text().count("supervisord started") > before, "it has reloaded")
        eventually(self._answers, "supervisord answers")

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Stop supervisord, and wait for its end; its children outlive a KILL."""
        if self.supervisord:
            self.supervisord.send_signal(number)
            ended(self.supervisord)
            self.supervisord = None

    def freeze(self) -> None:
        """Let supervisord accept connections and answer nothing; this holds when the method returns."""
        assert self.supervisord
        freeze(self.supervisord.pid)

    def supervisorctl(self, *arguments: str) -> Ran:
        """Run supervisorctl."""
        return self._run(["supervisorctl", "-c", self.path / "supervisord.conf", *arguments])

    @property
    def rpc(self) -> Any:
        """Return supervisor's RPC, with a connection of its own."""
        transport = SupervisorTransport("", "", f"unix://{self.path}/supervisor.sock")
        return xmlrpc.client.ServerProxy("http://localhost", transport=transport)

    def process(self, name: str = "web") -> tuple[str, int]:
        """Return supervisor's state and pid of a process."""
        info = self.rpc.supervisor.getProcessInfo(name)
        return info["statename"], info["pid"]

    # The agent

    def agent(self, *arguments: str, **environment: str) -> Ran:
        """Run a command of the agent to its end."""
        return self._run(["release-agent", *arguments], environment)

    def spoil(self, release: str, path: str, text: str) -> None:
        """Replace a file of a release; a release that shares the old file keeps it."""
        place = self.root / "releases" / release / path
        place.unlink()
        place.write_text(text)

    def deploy(self, *arguments: str, **environment: str) -> Ran:
        """Run ``deploy --json``."""
        return self.agent("deploy", "--json", *arguments, **environment)

    def begin(self, *arguments: str, **environment: str) -> subprocess.Popen[str]:
        """Start a command of the agent, and do not wait for its end."""
        return subprocess.Popen(
            [str(BIN / "release-agent"), *arguments],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env=self.environment | environment,
        )

    def status(self) -> dict[str, Any]:
        """Return ``status --json``."""
        body: dict[str, Any] = self.agent("status", "--json").json
        return body

    def history(self) -> list[dict[str, Any]]:
        """Return ``history --json``."""
        entries: list[dict[str, Any]] = self.agent("history", "--json").json
        return entries

    def releases(self) -> dict[str, str]:
        """Return the names and states of the releases."""
        return {release["release"]: release["state"] for release in self.agent("releases", "--json").json}

    def _run(self, command: list[object], environment: dict[str, str] | None = None) -> Ran:
        return Ran(*warm.run(command, self.environment | (environment or {}), _LONGEST))

    # The live release

    def live(self) -> str | None:
        """Return the name of the release that ``current`` names."""
        return os.path.basename(os.readlink(self.root / "current")) if (self.root / "current").is_symlink() else None  # noqa: PTH119 - text

    def serves(self) -> str | None:
        """Return the version that the service answers with."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}/", timeout=20) as answer:
                return str(answer.read().decode())
        except (urllib.error.URLError, OSError):
            return None

    def leftovers(self) -> list[str]:
        """Return the names in ``incoming``."""
        return sorted(path.name for path in (self.root / ".release-agent" / "incoming").iterdir())

    # Holding a deployment

    def gate(self, name: str) -> str:
        """Return a hook that makes a mark and waits for :meth:`open`."""
        return f"touch {self.path}/{name}.reached; while [ ! -e {self.path}/{name}.open ]; do sleep 0.02; done"

    def reached(self, name: str) -> None:
        """Wait until a gate is reached."""
        eventually((self.path / f"{name}.reached").exists, f"gate {name} is reached")

    def open(self, name: str) -> None:
        """Let the deployment at a gate continue."""
        (self.path / f"{name}.open").touch()

    def close(self) -> None:
        """End everything that was started, and remove the directory."""
        started = with_descendants([self.supervisord.pid]) if self.supervisord else []
        if self.supervisord:
            self.stop(signal.SIGKILL)  # a TERM would wait for supervisord's next look, once a second
        for pid in started:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        warm.kill_started(self.path)
        subprocess.run(["pkill", "-KILL", "-f", str(self.path)], check=False)
        shutil.rmtree(self.path, ignore_errors=True)


def _start_contained(
    command: Sequence[object], environment: Mapping[str, str], descriptors: Sequence[int]
) -> subprocess.Popen[bytes]:
    """Start a program without the capabilities that a container's root usually lacks."""
    words = [*CONTAINED, *map(str, [BIN / str(command[0]), *command[1:]])]
    stdin, stdout, stderr = descriptors
    return subprocess.Popen(words, env=environment, stdin=stdin, stdout=stdout, stderr=stderr)
