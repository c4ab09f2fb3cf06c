"""Choose the console of rollouts: JSON on request, a table on a terminal if rich is installed, otherwise lines."""

from __future__ import annotations

import sys
from importlib.util import find_spec
from typing import TYPE_CHECKING

from release_agent.rollout.console.lines import Json, Lines

if TYPE_CHECKING:
    from release_agent.rollout.console.lines import Console


def console(*, json: bool) -> Console:
    """Return the console for this process's stdin and stdout."""
    if json:
        return Json()
    if sys.stdout.isatty() and sys.stdin.isatty() and find_spec("rich"):
        from release_agent.rollout.console.table import Table  # rich

        return Table()
    return Lines()
