"""``release-agent remove``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.deploy.pruning import remove
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent remove 42": "remove the release with this number",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the release."""
    parser.add_argument("release", help="remove the release of this name, number or revision")
    parser.add_argument("--previous", action="store_true", help="remove the release even if `rollback` would go back to it")


def run(call: Call) -> int:
    """Remove one release; raises NoTarget, Refused (release-needed), Failed."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        release = remove(context, call.arguments.release, even_previous=call.arguments.previous)
    call.answer({"removed": [release.name]}, f"removed {release.name} ({release.revision})")
    return Exit.OK
