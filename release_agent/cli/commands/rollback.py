"""``release-agent rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import add_by, add_despite_freeze, asked_by, trigger
from release_agent.cli.change import change
from release_agent.errors import Code, NoTarget
from release_agent.model import Action, Request

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent rollback": "roll back to the release that was live before",
    "release-agent rollback 42": "roll back to release 42",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the release."""
    parser.add_argument(
        "release",
        nargs="?",
        help="roll back to the release of this name, number or revision (default: the one that was live before)",
    )
    add_despite_freeze(parser)
    add_by(parser)


def run(call: Call) -> int:
    """Roll back to the release that was live before, or to the named one; returns the exit code. Raises NoTarget."""
    asked = call.plugin_request()
    if asked:
        return change(call, asked.request)
    return change(
        call,
        Request(
            call.id,
            Action.ROLLBACK,
            release=_named(call.arguments.release),
            trigger=trigger(),
            despite_freeze=call.arguments.despite_freeze,
            by=asked_by(call.arguments),
        ),
    )


def _named(release: str | None) -> str:
    """Return the argument, or "" if there is none; refuse an empty argument, which is an unset variable of the caller."""
    if release == "":
        hint = "name one of `release-agent releases`; to roll back to the release that was live before, leave the argument out"
        raise NoTarget(Code.RELEASE_UNKNOWN, "the release is empty", hint=hint)
    return release or ""
