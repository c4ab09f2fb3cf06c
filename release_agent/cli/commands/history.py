"""``release-agent history``."""

from __future__ import annotations

import argparse
import sys
from typing import TYPE_CHECKING, Any

from release_agent import glance, text
from release_agent.errors import Code, Exit, NoTarget
from release_agent.system.terminal import Terminal

if TYPE_CHECKING:
    from release_agent.cli.call import Call
    from release_agent.journal.journal import StateDatabase

EXAMPLES = {
    "release-agent history --limit 10": "list the newest ten deployments",
    "release-agent history 20261122T222046Z-c4d7aa": "show this deployment, with its hooks' output",
}

_MOST = (1 << 63) - 1
_LONGEST_NUMBER = 20  # longer numbers count as _MOST


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of deployments."""
    parser.add_argument("id", nargs="?", help="show only this deployment, with its hooks' output")
    parser.add_argument("--limit", type=_count, default=-1, metavar="N", help="list only the newest N deployments (default: all)")


def _count(text: str) -> int:
    """Read a number of deployments, at most the largest that SQLite accepts."""
    if not text.isdecimal():
        message = f"{text!r} is not a number of deployments"
        raise argparse.ArgumentTypeError(message)
    return min(int(text[:_LONGEST_NUMBER]), _MOST)


def run(call: Call) -> int:
    """Print the deployments, newest first, or the details of one; raises NoTarget if that one is unknown."""
    with call.parts.journal() as journal:
        entries = journal.history(call.arguments.limit)
        if call.arguments.id is not None:
            return _print_one(call, journal, [entry for entry in entries if entry["id"] == call.arguments.id])
        call.answer(entries, glance.history(entries, call.arguments.limit, Terminal.of(sys.stdout)))
    return Exit.OK


def _print_one(call: Call, journal: StateDatabase, entries: list[dict[str, Any]]) -> int:
    identity = call.arguments.id
    if not entries:
        raise NoTarget(
            Code.RELEASE_UNKNOWN,
            f"there is no deployment {identity or repr(identity)}",
            hint="`release-agent history` lists them",
        )
    body = {**entries[0], "hooks": [vars(hook) for hook in journal.hooks_of(identity)]}
    call.answer(body, text.deployment(body))
    return Exit.OK
