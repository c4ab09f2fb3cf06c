"""Check the whole set-up and say how to fix each fault; looking changes nothing. One module for each subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.doctor import configuration, consul, journal, repositories, root, supervisor, user
from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding, findings, looked

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.errors import Failed
    from release_agent.services.sections import Sections
    from release_agent.wiring import Parts

__all__ = ["FAULT", "OK", "WARNING", "Finding", "examine", "findings"]


def examine(parts: Parts, file: Path, sections: Sections | str, refused: Failed | None = None) -> list[Finding]:
    """Check everything; of what depends on a broken part, check as much as possible.

    ``file``: the configuration's. ``sections``: of supervisord's configuration, or why it cannot be read.
    ``refused``: why root could not become the user that deploys.
    """
    store, services = parts.root(), parts.services()
    with parts.source() as source, journal.readable_or_empty(parts) as database:
        context = parts.context(store, database, source)
        revision, blueprint = repositories.revision(context)
        return [
            *looked("user", user.examine(services, store.path, refused)),
            *looked("configuration", configuration.examine(file)),
            *looked("root", root.examine(store)),
            *looked("journal", journal.examine(database, store)),
            *looked("git", repositories.examine(source, parts.clock)),
            *looked("signers", repositories.signers(parts.config.revision)),
            revision,
            *looked("supervisor", supervisor.examine(parts.config, store, services, sections, blueprint)),
            *looked("consul", consul.examine(parts)),
        ]
