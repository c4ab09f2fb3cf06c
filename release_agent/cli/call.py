"""One call of a command: its arguments, its adapters, and the printing of its answer."""

from __future__ import annotations

import json
import os
import sys
from typing import TYPE_CHECKING

from release_agent import text
from release_agent.arguments import duration
from release_agent.config import load
from release_agent.model import Record, Trigger, exit_of, new_id
from release_agent.request import PluginRequest
from release_agent.system.clock import SystemClock
from release_agent.variables import Variable
from release_agent.wiring import Parts

if TYPE_CHECKING:
    import argparse
    from typing import TextIO

    from release_agent.config.sections import Config
    from release_agent.errors import ReleaseError

ENDS_IN_A_RECORD = ("deploy", "stage", "rollback", "boot")


class Call:
    """One call of a command: its arguments, and its adapters, each made at its first use."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        """Take the parsed arguments; the configuration is read at its first use."""
        self.arguments = arguments
        self.clock = SystemClock()
        self.id = new_id()
        self._parts: Parts | None = None

    @property
    def parts(self) -> Parts:
        """The adapters; raises Misconfigured."""
        if self._parts is None:
            self._parts = Parts(load.load(self.arguments.config), self.clock)
        return self._parts

    @property
    def config(self) -> Config:
        """The configuration; raises Misconfigured."""
        return self.parts.config

    def plugin_request(self) -> PluginRequest | None:
        """Return the request of supervisor's plugin; its id becomes the run's id. Raises Misconfigured."""
        asked = PluginRequest.from_environ()
        self.id = asked.request.id if asked else self.id
        return asked

    def answer(self, body: object, said: str) -> None:
        """Print the answer: with ``--json`` the ``body`` on one line, otherwise ``said``."""
        say(json.dumps(body) if self.arguments.json else said)

    def print_record(self, record: Record) -> int:
        """Print the record of a run; without ``--json`` a failure goes to stderr. Returns the exit code."""
        if self.arguments.json:
            say(json.dumps(record.to_json()))
        else:
            looked = self.arguments.command != "stage"
            say(text.record(record, looked=looked), sys.stderr if record.error else sys.stdout)
        return exit_of(record.outcome)


def failed(call: Call, error: ReleaseError) -> int:
    """Print an error outside any run (bad configuration, a busy agent, a bug); returns its exit code."""
    if call.arguments.command in ENDS_IN_A_RECORD:
        record = Record(call.id, revision=getattr(call.arguments, "revision", "") or None)
        record.outcome, record.error = error.outcome, error.to_json()
        call.print_record(record)
    elif getattr(call.arguments, "json", False):
        say(json.dumps({"error": error.to_json()}))
    else:
        say(text.error(error.to_json()), sys.stderr)
    return error.exit_code


def trigger() -> Trigger:
    """Return ``supervisor`` for a process that supervisord started; ``command`` if a person typed it."""
    return Trigger.SUPERVISOR if os.environ.get(Variable.SUPERVISOR_PROCESS_NAME) else Trigger.COMMAND


def add_by(parser: argparse.ArgumentParser) -> None:
    """Add the option for the person who requests the run."""
    parser.add_argument(
        "--by", metavar="NAME", help=f"record this name as the person who requests the run (default: ${Variable.SUDO_USER})"
    )


def asked_by(arguments: argparse.Namespace) -> str:
    """Return the person who requests the run. Under supervisord, SUDO_USER is the person who started supervisord."""
    typed = os.environ.get(Variable.SUDO_USER, "") if trigger() is Trigger.COMMAND else ""
    return text.person(typed if arguments.by is None else arguments.by)


def add_despite_freeze(parser: argparse.ArgumentParser) -> None:
    """Add the option to ignore a freeze."""
    parser.add_argument("--despite-freeze", action="store_true", help="go on even if deployments are frozen")


def add_wait_for(parser: argparse.ArgumentParser) -> None:
    """Add the option to wait for a revision."""
    parser.add_argument(
        "--wait-for",
        type=duration,
        default=0.0,
        metavar="TIME",
        help="wait at most this long, such as 2m, until the repositories have the revision (default: do not wait)",
    )


def say(text: str, stream: TextIO | None = None) -> None:
    """Print to ``stream`` (default: stdout) in one write; ignore a closed stream."""
    stream = stream or sys.stdout
    try:
        stream.write(f"{text}\n")
        stream.flush()
    except (OSError, ValueError):
        return


def note(text: str) -> None:
    """Print a sentence to stderr, while the command goes on."""
    say(f"release-agent: {text}", sys.stderr)
