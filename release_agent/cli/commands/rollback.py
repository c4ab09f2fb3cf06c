"""``release-agent rollback``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.cli.change import change
from release_agent.model import Action, Request

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the release."""
    parser.add_argument(
        "release",
        nargs="?",
        default="",
        help="roll back to the release of this name, number or revision (default: the one that was live before)",
    )


def run(call: Call) -> int:
    """Roll back to the release that was live before, or to the named one; returns the exit code."""
    asked = call.plugin_request()
    request = Request(call.id, Action.ROLLBACK, release=call.arguments.release, trigger=trigger())
    return change(call, asked.request if asked else request)
