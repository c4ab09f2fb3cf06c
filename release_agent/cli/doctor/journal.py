"""Checks of state.db (broken, lost, unreadable) and of the freeze in it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.errors import ReleaseError
from release_agent.journal.database import is_broken
from release_agent.journal.journal import StateDatabase, empty_journal
from release_agent.system.user import name_of, owner_of, user_to_be

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.store.root import Root
    from release_agent.wiring import Parts


def readable_or_empty(parts: Parts) -> StateDatabase:
    """Return the journal, or an empty one if it cannot be read; :func:`examine` reports that."""
    try:
        return parts.journal()
    except ReleaseError:
        return empty_journal()


def examine(journal: StateDatabase, root: Root, edit: str) -> Iterator[Finding]:
    """Check the journal of a root; ``edit``: the edit that gives the program `deploy` the right user, if its user is wrong."""
    repair = "run `release-agent doctor --repair`, which rebuilds it from the releases on disk"
    try:
        is_made, broken = os.path.lexists(root.database), is_broken(root.database)
        may_read = not is_made or os.access(root.database, os.R_OK)
        lost = journal.is_empty() and any(release.published_at for release in root.releases())
    except PermissionError:  # this user may not enter a directory above it
        may_read = False
    if not may_read:
        own = all(owner_of(place) in (None, owner_of(root.path)) for place in (root.own, root.database))
        hint = (
            own and (edit or user_to_be(root.database))
        ) or f"chown -R --reference={root.path} {root.own}; chmod -R u+rwX {root.own}"
        yield Finding("journal", FAULT, f"{root.database} cannot be read by {name_of(os.geteuid())}", hint)
    elif broken:
        yield Finding("journal", FAULT, f"{root.database} is broken", repair)
    elif unusable := _unusable(root):
        yield Finding("journal", FAULT, unusable.message, unusable.hint)
    elif lost:
        yield Finding("journal", FAULT, f"{root.database} is lost, though there are releases", repair)
    elif is_made:
        yield Finding("journal", OK, f"{root.database} is readable")
    else:
        yield Finding("journal", OK, f"{root.database} does not exist: the first deployment makes it")


def freeze(journal: StateDatabase) -> Iterator[Finding]:
    """Warn of a freeze."""
    frozen = journal.frozen()
    if frozen:
        yield Finding("freeze", WARNING, f"deployments are frozen {frozen.describe()}", "`release-agent unfreeze` ends it")


def _unusable(root: Root) -> ReleaseError | None:
    """Return the reason why the journal cannot be opened or understood, or None if it can."""
    try:
        with StateDatabase(root.database) as journal:
            journal.require_understood()
            return None
    except ReleaseError as error:
        return error
