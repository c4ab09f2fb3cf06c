"""Which releases nobody needs, and room for a new one if there is none left."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.policy.line import before
from release_agent.errors import Code, Failed, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.deploy.context import Context
    from release_agent.model import Release

_LAST = 2  # healthy releases that stay however short the room is


def check_room(context: Context, size: int, files: int) -> None:
    """Raise Failed (disk-full) if a release does not fit, and nothing can go for it."""
    try:
        context.store.check_room(size, files)
    except Failed as failed:
        if failed.code is not Code.DISK_FULL or not _old(context):
            raise


def make_room(context: Context, size: int, files: int) -> None:
    """Let go what is parked, what build hooks made, then old releases, as far as a release needs; raises Failed (disk-full)."""
    try:
        context.store.make_room(size, files)
    except Failed as failed:
        if failed.code is not Code.DISK_FULL:
            raise
        _let_old_ones_go(context, size, files)
        context.store.make_room(size, files)


def _let_old_ones_go(context: Context, size: int, files: int) -> None:
    """Remove releases beyond the last two, the oldest first, until so many bytes and files fit, and say so."""
    removed: list[str] = []
    for name in may_go(context, size, files):
        removed += [name] if remove(context, name) else []
        if context.store.fits(size, files):
            break
    if removed:
        why = f"the disk is short of room: removed {', '.join(removed)} before the new release is built"
        context.log.warning("room.made", releases=removed, why=why)


def may_go(context: Context, size: int, files: int) -> Sequence[str]:
    """Return the releases that go, as many as it takes and in this order, so that so many bytes and files fit."""
    return [] if context.store.fits(size, files) else _old(context)


def _old(context: Context) -> Sequence[str]:
    return surplus(context, min(_LAST, context.config.app.keep))


def surplus(context: Context, keep: int) -> list[str]:
    """Return the releases that go if the newest ``keep`` stay, and those that are needed, by number."""
    live = context.store.current()
    needed = {release.name for release in (live, previous(context, live)) if release} | unfinished(context)
    return context.store.surplus(keep, needed, context.journal.live_at, serving(context))


def previous(context: Context, live: Release | None) -> Release | None:
    """Return the release that a rollback goes back to from the live one."""
    return before(context.journal.line(), context.store.get, live.name) if live else None


def unfinished(context: Context) -> set[str]:
    """Return the releases of deployments that never ended: recovery finishes with them, or goes back to them."""
    records = [left.record for left in context.journal.unfinished()]
    return {name for record in records for name in (record.release, record.previous) if name}


def serving(context: Context) -> list[int]:
    """Return the pids of the services, as far as supervisor tells."""
    try:
        return [process.pid for group in context.services.processes().values() for process in group if process.pid]
    except ReleaseError:
        return []


def remove(context: Context, name: str) -> bool:
    """Remove a release; what cannot be removed is logged, and does not keep others. Returns whether it is gone."""
    try:
        context.store.discard(name)
    except ReleaseError as error:
        context.log.warning("prune.failed", release=name, why=error.message)
        return False
    return True
