"""``release-agent stage``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import add_by, add_wait_for, asked_by, trigger
from release_agent.cli.change import change
from release_agent.model import Action, Request
from release_agent.repository.revision import check_revision

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent stage v1.5.0": "build and rehearse this tag, for a deployment later",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the revision, the wait and who."""
    parser.add_argument("revision", nargs="?", help="stage this tag, branch or full commit id (default: as [revision] says)")
    add_wait_for(parser)
    add_by(parser)


def run(call: Call) -> int:
    """Build and rehearse a revision, and publish nothing; returns the exit code."""
    arguments = call.arguments
    request = Request(
        call.id,
        Action.STAGE,
        revision="" if arguments.revision is None else check_revision(arguments.revision),
        trigger=trigger(),
        wait_for=arguments.wait_for,
        by=asked_by(arguments),
    )
    return change(call, request)
