"""Find the unneeded releases, and remove them if a new release does not fit."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.policy.line import before
from release_agent.errors import Code, Failed, ReleaseError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.deploy.context import Context
    from release_agent.model import Release

_LAST = 2  # healthy releases that stay even on a full disk


def check_room(context: Context, size: int, files: int) -> None:
    """Raise Failed (disk-full) if a release does not fit, and nothing can be removed for it."""
    try:
        context.store.check_room(size, files)
    except Failed as failed:
        if failed.code is not Code.DISK_FULL or not _old(context):
            raise


def make_room(context: Context, size: int, files: int) -> None:
    """Remove the parked release, cached outputs, then old releases, until a release fits; raises Failed (disk-full)."""
    try:
        context.store.make_room(size, files)
    except Failed as failed:
        if failed.code is not Code.DISK_FULL:
            raise
        _let_old_ones_go(context, size, files)
        context.store.make_room(size, files)


def _let_old_ones_go(context: Context, size: int, files: int) -> None:
    """Remove releases beyond the last two, the oldest first, until so many bytes and files fit, and log them."""
    removed: list[str] = []
    for name in may_go(context, size, files):
        removed += [name] if remove(context, name) else []
        if context.store.fits(size, files):
            break
    if removed:
        why = f"the disk is nearly full: removed {', '.join(removed)} before the build of the new release"
        context.log.warning("room.made", releases=removed, why=why)


def may_go(context: Context, size: int, files: int) -> Sequence[str]:
    """Return the releases to remove, in this order, so that so many bytes and files fit."""
    return [] if context.store.fits(size, files) else _old(context)


def _old(context: Context) -> Sequence[str]:
    return surplus(context, min(_LAST, context.config.app.keep))


def surplus(context: Context, keep: int) -> list[str]:
    """Return the unneeded releases beyond the newest ``keep``, by number."""
    live = context.store.current()
    needed = {release.name for release in (live, previous(context, live)) if release} | unfinished(context)
    return context.store.surplus(keep, needed, context.journal.live_at, serving(context))


def previous(context: Context, live: Release | None) -> Release | None:
    """Return the target of a rollback from the live release."""
    return before(context.journal.line(), context.store.get, live.name) if live else None


def unfinished(context: Context) -> set[str]:
    """Return the releases of deployments that never ended: recovery finishes with them, or goes back to them."""
    records = [left.record for left in context.journal.unfinished()]
    return {name for record in records for name in (record.release, record.previous) if name}


def serving(context: Context) -> list[int]:
    """Return the pids of the services that supervisor knows."""
    try:
        return [process.pid for group in context.services.processes().values() for process in group if process.pid]
    except ReleaseError:
        return []


def remove(context: Context, name: str) -> bool:
    """Remove a release; log a failure, so that the others are still removed. Returns whether it is gone."""
    try:
        context.store.discard(name)
    except ReleaseError as error:
        context.log.warning("prune.failed", release=name, why=error.message)
        return False
    return True
