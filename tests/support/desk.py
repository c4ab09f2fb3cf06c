"""Run the commands of an operator of rollouts, and read their output."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING, Any

from support import warm
from support.environment import BIN, clean_environment
from support.host import Ran
from support.tracing import killed_at
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Sequence

_LONGEST = 300.0  # seconds, for any rollout


class Desk:
    """A directory of an operator, with the fleet.toml of some hosts."""

    def __init__(self, path: Path, *, credentials: tuple[str, str] | None = None, consul: dict[str, str] | None = None) -> None:
        """``consul``: the CONSUL_* variables; without them the record is a file."""
        self.path = path
        self.file = path / "fleet.toml"
        self.consul = consul or {}
        self.user = credentials[0] if credentials else ""
        self.password_file = path / "password"
        if credentials:
            self.password_file.write_text(credentials[1] + "\n")

    @property
    def environment(self) -> dict[str, str]:
        """Return the environment of the operator's shell."""
        return clean_environment() | {"XDG_STATE_HOME": str(self.path / "operator")} | self.consul

    @property
    def access(self) -> list[str]:
        """Return the arguments that verbs without a fleet.toml need."""
        return ["--user", self.user, "--password-file", str(self.password_file)] if self.user else []

    def command(self, verb: str, *arguments: object) -> list[str]:
        """Return a verb's command line."""
        access = [] if verb == "start" else self.access
        return ["release-agent", "rollout", verb, *map(str, arguments), *access, "--json"]

    def start_command(self, *arguments: str, revision: str) -> list[str]:
        """Return the command line that starts a rollout on all hosts, without waits between waves."""
        return self.command("start", revision, "--fleet", self.file, "--bake", "0", *arguments)

    def run(self, command: Sequence[str]) -> Ran:
        """Run a command to its end."""
        return Ran(*warm.run(command, self.environment, _LONGEST))

    def script(self, script: Path, *arguments: str) -> Ran:
        """Run a program of the project that runs ``release-agent``."""
        environment = self.environment | {"PATH": f"{BIN}:{os.environ['PATH']}"}
        done = subprocess.run(
            [script, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=_LONGEST
        )
        return Ran(done.returncode, done.stdout, done.stderr)

    def rollout(self, verb: str, *arguments: object) -> Ran:
        """Run a verb of ``rollout`` to its end."""
        return self.run(self.command(verb, *arguments))

    def start(self, *arguments: str, revision: str = "v1.1.0") -> Ran:
        """Start a rollout on all hosts, without waits between waves, and run it to its end."""
        return self.run(self.start_command(*arguments, revision=revision))

    def begin(self, *arguments: str, revision: str = "v1.1.0") -> Operator:
        """Start a rollout like start(), and do not wait for its end."""
        return Operator(self, self.start_command(*arguments, revision=revision))

    def stages(self, identity: str) -> dict[str, str]:
        """Return the stage of each host."""
        return {host["name"]: host["stage"] for host in self.rollout("status", identity).json["hosts"]}


class Operator:
    """A rollout in a process of its own."""

    def __init__(self, desk: Desk, command: Sequence[str]) -> None:
        self._out = desk.path / f"operator-{os.urandom(4).hex()}.out"
        with Path(os.devnull).open() as nothing, self._out.open("w") as out, self._out.with_suffix(".err").open("w") as err:
            descriptors = [nothing.fileno(), out.fileno(), err.fileno()]
            self.process = warm.start(command, desk.environment, descriptors)

    def events(self, name: str = "") -> list[dict[str, Any]]:
        """Return the events so far, only those of ``name`` if it is given."""
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
        """Return the rollout's id, after its start."""
        return str(self.seen("rollout.started")["id"])

    def end(self) -> int:
        """Wait for the end of the rollout."""
        return self.process.wait(_LONGEST)

    def send(self, number: signal.Signals) -> int:
        """Send a signal and wait for the end."""
        self.process.send_signal(number)
        return self.end()


class KilledAtWrites:
    """Rollouts that a signal kills when they make their record durable for the N-th time."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk
        self.kills = 0

    def rollout(self, number: int, revision: str) -> str | None:
        """Run a rollout, and kill it at its ``number``-th fdatasync(2); returns its id, "" if it has none yet.

        Returns None if the rollout ended before that write.
        """
        with Path(os.devnull).open("r+") as nothing:
            descriptors = [nothing.fileno()] * 3
            command = self._desk.start_command(revision=revision)
            code = killed_at("fdatasync", number, command, self._desk.environment, descriptors)
        if code == 0:
            return None
        assert code == -signal.SIGKILL, code
        self.kills += 1
        return self._last(revision)

    def _last(self, revision: str) -> str:
        """Return the id of a rollout of a revision from the record, "" if there is none."""
        listed = self._desk.rollout("list").json
        return next((rollout["id"] for rollout in listed if rollout["revision"] == revision), "")
