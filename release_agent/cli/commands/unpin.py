"""``release-agent unpin``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent unpin": 'remove the pin; with follow = "pin" a bare deploy is then refused',
}


def run(call: Call) -> int:
    """Remove the pin."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        context.journal.pin(None)
    call.answer({"pinned": None}, "nothing is pinned")
    return Exit.OK
