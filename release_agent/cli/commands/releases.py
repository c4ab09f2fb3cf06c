"""``release-agent releases``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent import status, text
from release_agent.errors import Exit

if TYPE_CHECKING:
    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent releases": "list the releases that a rollback can go to",
}


def run(call: Call) -> int:
    """Print the kept releases."""
    with call.parts.looking() as context:
        found = status.releases(context)
    call.answer(found, text.releases(found))
    return Exit.OK
