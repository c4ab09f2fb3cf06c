"""Check the whole set-up and say how to fix each fault; looking changes nothing. One module for each subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.doctor import consul, journal, repositories, root, supervisor
from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding, findings

if TYPE_CHECKING:
    from release_agent.wiring import Parts

__all__ = ["FAULT", "OK", "WARNING", "Finding", "examine", "findings"]


def examine(parts: Parts) -> list[Finding]:
    """Check everything; of what depends on a broken part, check as much as possible."""
    store, services = parts.root(), parts.services()
    with parts.source() as source, journal.readable_or_empty(parts) as database:
        context = parts.context(store, database, source)
        revision, named = repositories.revision(context)
        return [
            *root.examine(store),
            *journal.examine(database, store),
            *repositories.examine(source),
            *repositories.signers(parts.config.revision),
            revision,
            *supervisor.examine(context, services, named),
            *consul.examine(parts, services),
        ]
