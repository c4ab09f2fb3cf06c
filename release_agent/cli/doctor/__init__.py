"""Check the whole set-up and say how to fix each fault; looking changes nothing. One module for each subject."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.doctor import configuration, consul, journal, repositories, root, supervisor, user
from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding, findings, looked
from release_agent.cli.doctor.owner import wrong_user

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.cli.doctor.supervised import Supervised
    from release_agent.errors import Failed
    from release_agent.wiring import Parts

__all__ = ["FAULT", "OK", "WARNING", "Finding", "examine", "findings"]


def examine(parts: Parts, file: Path, supervised: Supervised, refused: Failed | None = None) -> list[Finding]:
    """Check everything; of what depends on a broken part, check as much as possible.

    ``file``: the configuration's. ``supervised``: what supervisor said before root became the user that deploys.
    ``refused``: why root could not become the user that deploys.
    """
    store = parts.root()
    wrong = next((wrong_user(supervised, program, store.path) for program in supervised.own("deploy")), None)
    edit = wrong.edit if wrong else ""
    with parts.source() as source, journal.readable_or_empty(parts) as database:
        context = parts.context(store, database, source)
        revision, blueprint = repositories.revision(context, edit)
        return [
            *looked("user", user.examine(supervised.deployer, store.path, refused)),
            *looked("configuration", configuration.examine(file)),
            *looked("root", root.examine(store, parts.config.app.name, edit)),
            *looked("journal", journal.examine(database, store, edit)),
            *looked("freeze", journal.freeze(database)),
            *looked("git", repositories.examine(source, parts.clock)),
            *looked("signers", repositories.signers(parts.config.revision)),
            revision,
            *looked("supervisor", supervisor.examine(parts, context, supervised, blueprint, edit)),
            *looked("consul", consul.examine(parts)),
        ]
