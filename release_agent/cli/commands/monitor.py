"""``release-agent monitor``."""

from __future__ import annotations

import io
import sys
from typing import TYPE_CHECKING

from release_agent.errors import Exit
from release_agent.monitor import resident

if TYPE_CHECKING:
    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent monitor < /dev/null": "check that it starts; it ends immediately",
}


def run(call: Call) -> int:
    """Answer supervisor's events and watch the live release until supervisor closes stdin."""
    resident.run(lambda: call.parts, sys.stdin or io.StringIO(), sys.stdout)
    return Exit.OK
