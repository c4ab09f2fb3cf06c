"""The line of releases: where a rollback goes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.model import Release, Stage, State

if TYPE_CHECKING:
    from release_agent.deploy.ports import Journal, Store


def behind(journal: Journal, store: Store, *not_these: str | None) -> Release | None:
    """Return the healthy release that was live before, back along the journal; failed and missing ones are skipped."""
    line = journal.line()
    # What lies before the last of `not_these` on the line, or all of it.
    here = max((i for i, name in enumerate(line) if name in not_these), default=len(line))
    found = (store.get(name) for name in reversed(line[:here]) if name not in not_these)
    return next((release for release in found if release and release.state is State.HEALTHY), None)


def previous_of(live: Release, journal: Journal, store: Store) -> Release | None:
    """Return where a rollback would go: back along the journal, or to what an open deployment replaced."""
    left = [run for run in journal.unfinished() if run.stage is not Stage.PREPARING and run.record.release == live.name]
    replaced = store.get(left[-1].record.previous or "") if left else None
    if replaced and replaced.name != live.name and replaced.state is State.HEALTHY:
        return replaced
    return behind(journal, store, live.name)
