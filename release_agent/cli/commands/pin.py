"""``release-agent pin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.errors import Exit
from release_agent.model import Kind, Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent pin v1.4.2": 'let a bare deploy take this tag, if [revision] follow is "pin"',
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the revision."""
    parser.add_argument("revision", help="pin this tag, branch or full commit id")


def run(call: Call) -> int:
    """Set the revision that ``follow = "pin"`` deploys; raises Refused if the repositories do not have it."""
    parts, revision = call.parts, call.arguments.revision
    with parts.source() as source:
        target = source.resolve(revision, tuple(Kind))
    with parts.locked(Request(new_id(), trigger=trigger())) as context:
        context.journal.pin(revision)
    said = f"pinned {revision}: a bare deploy takes this revision"
    if call.config.revision.follow != "pin":
        said = f'pinned {revision}; it has no effect while [revision] follow = "{call.config.revision.follow}"'
    call.answer({"pinned": revision, "commits": target.commits}, said)
    return Exit.OK
