"""``release-agent status``."""

from __future__ import annotations

import sys
from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent import glance, status
from release_agent.errors import Exit, Failed
from release_agent.health import HealthState
from release_agent.system.terminal import Terminal
from release_agent.system.user import become_owner

if TYPE_CHECKING:
    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent status": "show the live release and its health",
    "release-agent status --json": "print the same for a script; exit with 30 if the release is not healthy",
}


def run(call: Call) -> int:
    """Print the live release and its health; returns 0 if it is healthy, 30 if not."""
    parts = call.parts
    with suppress(Failed):  # root answers, and runs no exec probe then
        become_owner(parts.root().path)
    with parts.looking() as context, parts.journal() as journal:
        body, health = status.status(context, journal, parts.root().holder(), parts.services().processes)
        maintenance = journal.maintenance()
    call.answer(body, glance.status(body, health.problems, maintenance, Terminal.of(sys.stdout)))
    return Exit.OK if health.state is HealthState.PASSING else Exit.FAULT_FOUND
