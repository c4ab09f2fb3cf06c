"""The command line: choose the command, run it, exit with its code. The only place that exits."""

from __future__ import annotations

import os
import signal
import sys
from io import TextIOWrapper
from pathlib import Path
from typing import TYPE_CHECKING, TextIO

from release_agent import __version__
from release_agent.cli.commands import COMMANDS, load
from release_agent.usage import HelpfulParser
from release_agent.variables import DEFAULT_CONFIG, Variable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Sequence

_EXAMPLES = {
    "release-agent deploy": "deploy the revision that [revision] follows",
    "release-agent doctor": "check the set-up and show the faults",
    "release-agent deploy --help": "show the options of a command",
}
_UMASK = 0o022
_TO_STOP = (signal.SIGTERM, signal.SIGINT)
_INTERRUPTED = 128 + signal.SIGINT  # of a reading command; a changing one takes INT as a request to stop


def main() -> None:
    """Run one command and exit with its code."""
    early: list[int] = []  # signals that came before the command was known; the command decides their meaning
    for number in _TO_STOP:
        signal.signal(number, lambda number, _frame: early.append(number))
    # stdout or stderr may be closed; the run goes on without them.
    sys.stdout = sys.stdout or _devnull()
    sys.stderr = sys.stderr or _devnull()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):  # a file's name that UTF-8 cannot encode must not prevent the whole answer
            stream.reconfigure(errors="backslashreplace")
    # The modes of a release's files must not depend on the caller's umask.
    os.umask(_UMASK)
    # The caller may be a git hook, whose variables name its own repository.
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        del os.environ[name]
    code = _run(early)
    # The outcome is printed: a signal from here on must not replace the exit code.
    for number in _TO_STOP:
        signal.signal(number, signal.SIG_IGN)
    _flush()
    sys.exit(code)


def parser() -> CommandParser:
    """Make the parser of the whole command line; a command's own arguments are added when that command is parsed."""
    whole = CommandParser(prog="release-agent", description="Deploy tagged code into this container.", examples=_EXAMPLES)
    whole.add_argument("--version", action="version", version=__version__)
    whole.add_argument(
        "--config",
        metavar="PATH",
        help=f"read this configuration (default: ${Variable.RELEASE_AGENT_CONFIG}, or {DEFAULT_CONFIG})",
    )
    commands = whole.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name, command in COMMANDS.items():
        commands.add_parser(name, help=command.help, description=command.help, command=name)
    return whole


class CommandParser(HelpfulParser):
    """The parser of one command, or of the whole line; it imports the command's module on demand."""

    def __init__(self, *, command: str = "", **options: object) -> None:
        """Take HelpfulParser's options; ``command``: a name in COMMANDS."""
        super().__init__(**options)  # type: ignore[arg-type]
        self._command = command

    def parse_known_args(  # type: ignore[override]  # argparse's own has a signature for every kind of namespace
        self, args: Sequence[str] | None = None, namespace: argparse.Namespace | None = None
    ) -> tuple[argparse.Namespace, list[str]]:
        """Parse, with the command's arguments."""
        self.complete()
        return super().parse_known_args(args, namespace)

    def complete(self) -> None:
        """Import the command's module and add its arguments, once."""
        name, self._command = self._command, ""
        if not name:
            return
        if COMMANDS[name].json:
            self.add_argument(
                "--json", action="store_true", help="print the answer as one line of JSON (docs/reference/commands.md)"
            )
        module = load(name)
        self.examples = module.EXAMPLES
        if hasattr(module, "add_arguments"):
            module.add_arguments(self)
        self.set_defaults(run=module.run)


def _run(early: Sequence[int]) -> int:
    try:
        arguments = parser().parse_args()
        return _guarded(arguments, early)
    except KeyboardInterrupt:
        return _INTERRUPTED


def _guarded(arguments: argparse.Namespace, early: Sequence[int]) -> int:
    from release_agent.cli.call import ENDS_IN_A_RECORD, Call, failed, say
    from release_agent.errors import Code, ReleaseError
    from release_agent.system.clock import cancel

    call = Call(arguments)
    try:
        for number in _TO_STOP:
            if arguments.command in ENDS_IN_A_RECORD:  # the run has not started: end now, with a record
                signal.signal(number, lambda number, _frame: cancel(number))
            else:
                signal.signal(number, signal.default_int_handler if number == signal.SIGINT else signal.SIG_DFL)
        if early:
            signal.raise_signal(early[0])
        code: int = arguments.run(call)
    except ReleaseError as error:
        return failed(call, error)
    except Exception as error:  # noqa: BLE001 - a bug must also end in a record and a code
        import traceback

        from release_agent.system.logs import Redactor

        redact = Redactor()
        say(redact(traceback.format_exc()), sys.stderr)
        hint = "report the bug with the traceback; `release-agent boot` or the next deployment recovers an unfinished run"
        return failed(call, ReleaseError(Code.BUG, redact(f"a bug in the agent: {type(error).__name__}: {error}"), hint=hint))
    return code


def _devnull() -> TextIO:
    return Path(os.devnull).open("w", encoding="utf-8")


def _flush() -> None:
    """Flush stdout and stderr; drop their buffers if the reader is gone."""
    for stream in (sys.stdout, sys.stderr):
        try:
            stream.flush()
        except (OSError, ValueError):
            os.dup2(os.open(os.devnull, os.O_WRONLY), stream.fileno())
