"""``release-agent unfreeze``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import add_by, asked_by, trigger
from release_agent.errors import Exit, Failed
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call
    from release_agent.deploy.ports import Journal

EXAMPLES = {
    "release-agent unfreeze": "allow deployments and rollbacks again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the person."""
    add_by(parser)


def run(call: Call) -> int:
    """End a freeze."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        before = _is_frozen(context.journal)
        context.journal.freeze(None)
        if before:
            context.log.info("deployments.unfrozen", by=asked_by(call.arguments))
    call.answer({"frozen": None}, "deployments are not frozen any more" if before else "deployments were not frozen")
    return Exit.OK


def _is_frozen(journal: Journal) -> bool:
    """Return whether there is a freeze, even an unreadable one."""
    try:
        return journal.frozen() is not None
    except Failed:
        return True
