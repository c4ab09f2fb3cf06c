"""``release-agent deploy``, which also runs the requests of supervisor's plugin."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import add_by, add_despite_freeze, add_wait_for, asked_by, trigger
from release_agent.cli.change import change
from release_agent.cli.dry_run import dry_run
from release_agent.model import Request
from release_agent.repository.revision import check_revision

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent deploy": "deploy the revision that [revision] follows",
    "release-agent deploy v1.4.2 --dry-run": "show what a deployment of this tag would do",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the revision and the options of its deployment."""
    parser.add_argument("revision", nargs="?", help="deploy this tag, branch or full commit id (default: as [revision] says)")
    parser.add_argument("--force", action="store_true", help="build and restart even if the revision is live")
    parser.add_argument("--accept-moved-tag", action="store_true", help="deploy a tag even if it named another commit before")
    parser.add_argument("--allow-lower", action="store_true", help="deploy the highest tag even if a higher version is live")
    add_wait_for(parser)
    add_despite_freeze(parser)
    add_by(parser)
    parser.add_argument("--dry-run", action="store_true", help="show what a deployment would do; change nothing")


def run(call: Call) -> int:
    """Deploy a revision; with ``--dry-run`` only print the effects. Returns the exit code."""
    arguments = call.arguments
    asked = call.plugin_request()
    if asked:
        check = asked.check or arguments.dry_run
        return dry_run(call, asked.request, keep=True) if check else change(call, asked.request)
    request = Request(
        call.id,
        # An empty argument is an unset variable of the caller, not a request for the highest version.
        revision="" if arguments.revision is None else check_revision(arguments.revision),
        force=arguments.force,
        accept_moved_tag=arguments.accept_moved_tag,
        allow_lower=arguments.allow_lower,
        trigger=trigger(),
        despite_freeze=arguments.despite_freeze,
        wait_for=arguments.wait_for,
        by=asked_by(arguments),
    )
    return dry_run(call, request, keep=False) if arguments.dry_run else change(call, request)
