"""``release-agent unfreeze``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import add_by, asked_by, trigger
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent unfreeze": "let deployments go on",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the person."""
    add_by(parser)


def run(call: Call) -> int:
    """End a freeze."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        before = context.journal.frozen()
        context.journal.freeze(None)
        if before:
            context.log.info("deployments.unfrozen", by=asked_by(call.arguments))
    call.answer({"frozen": None}, "deployments are not frozen any more" if before else "deployments were not frozen")
    return Exit.OK
