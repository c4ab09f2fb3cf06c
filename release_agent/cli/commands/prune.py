"""``release-agent prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.deploy.pruning import prune
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    from release_agent.cli.call import Call


def run(call: Call) -> int:
    """Remove the releases beyond ``[app] keep``, the parked one too, and print their names."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        parked = context.store.remove_parked()
        removed = [*prune(context, park=False), *([parked] if parked else [])]
    call.answer({"removed": removed}, "removed " + ", ".join(removed) if removed else "nothing to remove")
    return Exit.OK
