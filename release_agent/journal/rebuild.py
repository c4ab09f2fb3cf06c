"""Rebuild a journal from the releases on disk."""

from __future__ import annotations

from datetime import datetime
from typing import TYPE_CHECKING, NamedTuple

from release_agent.errors import RolledBack
from release_agent.model import UNPROVED, Action, Outcome, Record, Release, Request, Stage, State, Trigger

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.journal.journal import StateDatabase


class PastPublication(NamedTuple):
    """A release that was made live, by a deployment or a rollback."""

    release: Release
    action: Action = Action.DEPLOY


def rebuild(journal: StateDatabase, releases: Sequence[Release], current: str | None) -> None:
    """Fill an empty journal from the releases on disk, completely or not at all; raises Failed."""
    with journal.transaction():
        for publication in publications(releases, current):
            _write(journal, publication)


def publications(releases: Sequence[Release], current: str | None) -> list[PastPublication]:
    """Work out the order in which releases were live, oldest first; the one named ``current`` is live now.

    The live release was deployed after the release it replaced, and so on. Other releases with a lower number came
    before these. Releases with a higher number were also live, and then the agent rolled back to the live one.
    """
    known = {release.name: release for release in releases if release.published_at and release.state not in UNPROVED}
    live = known.get(current or "")
    chain: list[Release] = []
    link = live
    while link and link not in chain:
        chain.insert(0, link)
        link = known.get(link.previous or "")
    others = [release for release in known.values() if release not in chain]
    higher = [release for release in others if live and release.number > live.number]
    lower = [release for release in others if release not in higher]
    found = [PastPublication(release) for release in [*lower, *chain, *higher]]
    if live and higher and live.state is State.HEALTHY:
        found.append(PastPublication(live, Action.ROLLBACK))
    return found


def _write(journal: StateDatabase, publication: PastPublication) -> None:
    release, action = publication
    suffix = "" if action is Action.DEPLOY else "-live"
    published_at = release.published_at or release.created_at
    request = Request(f"rebuilt-{release.name}{suffix}", action, release.revision, trigger=Trigger.REBUILT)
    record = Record(request.id, None, release.name, release.revision, release.commits, release.previous, signers=release.signers)
    journal.begin(request, published_at)
    journal.stage(Stage.PUBLISHING, record)
    record.outcome = Outcome.DEPLOYED if release.state is State.HEALTHY else RolledBack.outcome
    journal.end(record, release.kind)
    journal.published(release.name, datetime.fromisoformat(published_at).timestamp())
