"""The commands: arguments in, one record or answer out. The only place that prints and exits."""

from __future__ import annotations

import argparse
import os
import signal
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent import __version__
from release_agent.cli import commands
from release_agent.errors import Code, ReleaseError
from release_agent.rollout import arguments as fleet

if TYPE_CHECKING:
    from collections.abc import Callable

_UMASK = 0o022
_INTERRUPTED = 128 + signal.SIGINT  # a reading command; those that change something take INT as a request


def main() -> None:
    """Run one command and exit with its code."""
    # Started with stdout or stderr closed: the run goes on, unheard.
    sys.stdout = sys.stdout or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    sys.stderr = sys.stderr or Path(os.devnull).open("w", encoding="utf-8")  # noqa: SIM115 - until the end
    # What a release's files may be read by does not depend on who started the agent.
    os.umask(_UMASK)
    # Whoever called may be a git hook: its repository is not ours.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    arguments = _parser().parse_args()
    code = _guarded(arguments)
    # The outcome is out: a signal on the way out must not replace the exit code.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, signal.SIG_IGN)
    _flush()
    sys.exit(code)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="release-agent", description="Ship tagged code into this container.")
    parser.add_argument("--version", action="version", version=__version__)
    parser.add_argument("--config", metavar="PATH", help="default: $RELEASE_AGENT_CONFIG, else /etc/release-agent.toml")
    subparsers = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")

    def command(name: str, run: Callable[[commands.Call], int], text: str) -> argparse.ArgumentParser:
        added = subparsers.add_parser(name, help=text, description=text)
        added.add_argument("--json", action="store_true", help="machine output, as docs/commands.md has it")
        added.set_defaults(run=run)
        return added

    deploy = command("deploy", commands.deploy, "make a revision live: build, publish, restart, prove, or roll back")
    deploy.add_argument("revision", nargs="?", help="a tag, a branch or a full commit id; default: what [revision] says")
    deploy.add_argument("--force", action="store_true", help="build and restart even what is there")
    deploy.add_argument("--accept-moved-tag", action="store_true", help="deploy a tag that named another commit before")
    deploy.add_argument("--dry-run", action="store_true", help="say what would be done")
    rollback = command("rollback", commands.rollback, "go back to the release that was live before, or to the named one")
    rollback.add_argument("release", nargs="?", default="", help="a release's name, number or revision")
    command("boot", commands.boot, "at container start: recover, deploy if nothing is live, start what does not run")
    command("monitor", commands.monitor, "the resident event listener: probes, Consul's check, unsent reports")
    command("status", commands.status, "what is live and how it is")
    history = command("history", commands.history, "what was done")
    history.add_argument("id", nargs="?", help="one deployment, with its hooks' output")
    history.add_argument("--limit", type=int, default=-1, metavar="N", help="the newest N")
    command("releases", commands.releases, "what is kept")
    command("pin", commands.pin, 'set what [revision] follow = "pin" takes').add_argument("revision")
    command("unpin", commands.unpin, "forget what was pinned")
    command("verify", commands.verify, "compare a release with its commit").add_argument("release", nargs="?", default="")
    command("prune", commands.prune, "apply [app] keep")
    doctor = command("doctor", commands.doctor, "check the whole set-up and say how to mend each fault")
    doctor.add_argument("--repair", action="store_true", help="rebuild a lost or broken journal from what lies on disk")
    rollout = subparsers.add_parser("rollout", help="a revision's deployment across a fleet")
    fleet.add(rollout, commands.rollout)
    return parser


def _guarded(arguments: argparse.Namespace) -> int:
    call = commands.Call(arguments)
    try:
        code: int = arguments.run(call)
    except ReleaseError as error:
        return commands.failed(call, error)
    except KeyboardInterrupt:
        return _INTERRUPTED
    except Exception as error:  # noqa: BLE001 - a bug must end in a record and a code, too
        import traceback

        commands.say(traceback.format_exc(), sys.stderr)
        hint = "please report it; `release-agent boot`, or the next deploy, recovers what was half done"
        return commands.failed(call, ReleaseError(Code.BUG, f"a bug in the agent: {type(error).__name__}: {error}", hint=hint))
    return code


def _flush() -> None:
    """Let go of stdout and stderr without a word where their reader has gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
