"""Checks of state.db: broken, lost, unreadable."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, Finding
from release_agent.errors import ReleaseError
from release_agent.journal.database import is_broken
from release_agent.journal.journal import StateDatabase

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.store.root import Root
    from release_agent.wiring import Parts


def readable_or_empty(parts: Parts) -> StateDatabase:
    """Return the journal, or an empty one if it cannot be read: :func:`examine` says so."""
    try:
        return parts.journal()
    except ReleaseError:
        return StateDatabase(Path("/nonexistent/state.db"))


def examine(journal: StateDatabase, root: Root) -> Iterator[Finding]:
    """Check the journal of a root."""
    hint = "release-agent doctor --repair rebuilds it from what lies on disk"
    if is_broken(root.database):
        yield Finding("journal", FAULT, f"{root.database} is broken", hint)
    elif journal.is_empty() and any(release.published_at for release in root.releases()):
        yield Finding("journal", FAULT, f"{root.database} is lost, though there are releases", hint)
    elif root.database.exists() and not os.access(root.database, os.R_OK):
        yield Finding("journal", FAULT, f"{root.database} cannot be read by this user", "run as the user the agent runs as")
    else:
        yield Finding("journal", OK, f"{root.database} is readable, or not made yet")
