"""Check the whole set-up and show a fix for each fault; the checks change nothing. Each subject has a module."""

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
    """Check everything; if a part is broken, check as much as possible of the parts that depend on it.

    ``file``: the configuration's. ``supervised``: supervisor's answers from before the root user became the deploying user.
    ``refused``: the reason why the root user could not become the deploying user.
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
