"""A fleet: several hosts of :mod:`integration.host` that share one repository, each reached over HTTP with a password."""

from __future__ import annotations

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

from support.environment import BIN, clean_environment
from support.host import Host, Ran
from support.servers import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    import signal
    from collections.abc import Iterable
    from pathlib import Path

USER, PASSWORD = "agent", "a secret of the fleet"
_HTTP = "[inet_http_server]\nport=127.0.0.1:{port}\nusername={user}\npassword={password}\n"
_HEALTH = '[health]\ndeadline = "8s"\nstable_for = "0s"'


class Fleet:
    """Hosts ``host-1`` to ``host-N``; every one runs v1.0.0, and v1.1.0 is tagged."""

    def __init__(self, size: int = 5, **consul: str) -> None:
        """``consul``: the CONSUL_* variables of hosts and operator; none: the record is a file."""
        self.consul = consul
        self.hosts = [Host() for _ in range(size)]
        self.path = self.hosts[0].path
        self.repository = self.hosts[0].repository
        self.repository.release("v1.0.0")
        self.ports = [free_port() for _ in self.hosts]
        self._password = self.path / "password"
        self._password.write_text(PASSWORD + "\n")
        with ThreadPoolExecutor() as pool:
            list(pool.map(self._prepare, range(size)))
        self.repository.release("v1.1.0")
        self.file = self.write_fleet(range(size))

    def _prepare(self, number: int) -> None:
        host = self.hosts[number]
        host.environment |= self.consul
        host.services.append(_HTTP.format(port=self.ports[number], user=USER, password=PASSWORD))
        self.configure(number)
        host.start()
        assert host.deploy("v1.0.0").code == 0

    def configure(self, number: int, extra: str = "", **replaced: str) -> None:
        """Write one host's configuration."""
        host = self.hosts[number]
        app = f'[app]\nname = "api"\nenvironment = "test"\nhost = "host-{number + 1}"\nroot = "{host.root}"'
        app += f'\nrpc_url = "http://127.0.0.1:{self.ports[number]}"'
        sections = {
            "app": app,
            "repository": f'[[repository]]\nname = "api"\npath = "{self.repository.path}"',
            "health": _HEALTH,
            "consul": "enabled = true" if self.consul else "enabled = false",
        }
        host.configure(extra, **(sections | replaced))

    def refuse(self, number: int, revision: str = "v1.1.0") -> None:
        """Let one host find a revision wanting, once it runs it: it rolls back by itself."""
        self.configure(number, f"[hooks]\nafter_deploy = [{{ run = 'test $RELEASE_REVISION != {revision}' }}]")

    def write_fleet(self, numbers: Iterable[int], **passwords: str) -> Path:
        """Write a fleet.toml of some hosts."""
        hosts = "".join(
            f'[[host]]\nname = "host-{number + 1}"\nurl = "http://127.0.0.1:{self.ports[number]}"\n' for number in numbers
        )
        file = self.path / "fleet.toml"
        file.write_text(f'[fleet]\nuser = "{USER}"\npassword_file = "{passwords.get("file", self._password)}"\n{hosts}')
        return file

    # The operator

    @property
    def environment(self) -> dict[str, str]:
        """What the operator's shell has."""
        return clean_environment() | {"XDG_STATE_HOME": str(self.path / "operator")} | self.consul

    def start(self, *arguments: str, revision: str = "v1.1.0") -> Ran:
        """Start a rollout on all hosts, without waits between waves, and run it to its end."""
        return self.rollout("start", revision, "--fleet", str(self.file), "--bake", "0", *arguments)

    def rollout(self, *arguments: str) -> Ran:
        """Run a verb of ``rollout`` to its end."""
        return self.run(self.command(*arguments))

    def run(self, command: list[str]) -> Ran:
        """Run a command of the operator's to its end."""
        done = subprocess.run(command, capture_output=True, text=True, env=self.environment, check=False, timeout=120)
        return Ran(done.returncode, done.stdout, done.stderr)

    def begin(self, *arguments: str, revision: str = "v1.1.0") -> Operator:
        """Start a rollout as start() does, and do not wait for it."""
        return Operator(self, self.command("start", revision, "--fleet", str(self.file), "--bake", "0", *arguments))

    def killed_at_write(self, number: int, revision: str) -> str | None:
        """Run a rollout that is killed at the ``number``-th fdatasync(2); returns its id, "" before it had one.

        None where it came to its end without writing that often.
        """
        kill = ["strace", "-f", "-qq", "-o", "/dev/null", "-e", f"inject=fdatasync:signal=KILL:when={number}"]
        operator = Operator(self, [*kill, *self.command("start", revision, "--fleet", str(self.file), "--bake", "0")])
        if operator.end() == 0:
            return None
        return next((event["id"] for event in operator.events("rollout.started")), self._last(revision))

    def _last(self, revision: str) -> str:
        """Return a rollout that was written down and not told of."""
        return next((rollout["id"] for rollout in self.rollout("list").json if rollout["revision"] == revision), "")

    def access(self) -> list[str]:
        """Return the arguments that verbs without a fleet.toml need."""
        return ["--user", USER, "--password-file", str(self._password)]

    def command(self, verb: str, *arguments: str) -> list[str]:
        """Return a verb's command line."""
        access = [] if verb == "start" else self.access()
        return [str(BIN / "release-agent"), "rollout", verb, *arguments, *access, "--json"]

    # The hosts

    def serve(self) -> list[str | None]:
        """Return what version each host's service answers with."""
        return [host.serves() for host in self.hosts]

    def fired(self, number: int) -> list[str]:
        """Return the triggers of what one host did since it was prepared, oldest first."""
        return [entry["trigger"] for entry in reversed(self.hosts[number].history())][1:]

    def close(self) -> None:
        """End everything."""
        with ThreadPoolExecutor() as pool:
            list(pool.map(Host.close, self.hosts))


class Operator:
    """A rollout that is being run by a process of its own."""

    def __init__(self, fleet: Fleet, command: list[str]) -> None:
        self._out = fleet.path / f"operator-{os.urandom(4).hex()}.out"
        with self._out.open("w") as out, self._out.with_suffix(".err").open("w") as err:
            self.process = subprocess.Popen(command, stdout=out, stderr=err, env=fleet.environment)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events so far, or those of a name."""
        told = [json.loads(line) for line in self._out.read_text().splitlines() if line.endswith("}")]
        return [event for event in told if name in ("", event.get("event"))]

    def seen(self, name: str, **details: object) -> dict[str, Any]:
        """Wait for an event."""

        def look() -> dict[str, Any] | None:
            return next((e for e in self.events(name) if all(e.get(key) == value for key, value in details.items())), None)

        event: dict[str, Any] = eventually(look, f"{name} {details} in {self._out.read_text()}")
        return event

    @property
    def id(self) -> str:
        """Return the rollout's id, once it has begun."""
        return str(self.seen("rollout.started")["id"])

    def end(self) -> int:
        """Wait for its end."""
        return self.process.wait(timeout=120)

    def send(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.end()
