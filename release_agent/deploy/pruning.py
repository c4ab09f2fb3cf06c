"""After a run: one release that ``keep`` lets go is parked for the next deployment, the others are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.building import between
from release_agent.deploy.policy.line import before
from release_agent.errors import ReleaseError
from release_agent.system.disk import told

if TYPE_CHECKING:
    from release_agent.deploy.context import Context
    from release_agent.model import Release


def prune(context: Context, *, park: bool = True) -> list[str]:
    """Apply ``keep``; what cannot be removed is said and tried again by the next run. Returns the names of what is gone.

    ``park``: leave the newest of them for the next deployment to build on, unless what is parked will do.
    """
    live = context.store.current()
    previous = before(context.journal.line(), context.store.get, live.name) if live else None
    protected = {release.name for release in (live, previous) if release}
    surplus = context.store.surplus(context.config.app.keep, protected, context.journal.live_at, _serving(context))
    parks = bool(park and live and surplus and _park(context, surplus[-1], live))
    removed = [name for name in surplus if _remove(context, name)]
    if removed:
        context.log.info("releases.pruned", releases=removed, **({"parked": surplus[-1]} if parks else {}))
    prune_cache(context, context.config.release.cache_size)
    return removed


def prune_cache(context: Context, most: int) -> int:
    """Keep at most so many bytes of what build hooks made; returns how many were removed."""
    try:
        removed = context.cache.prune(most)
    except OSError as error:
        context.log.warning("cache.failed", why=told(error))
        return 0
    if removed:
        context.log.info("cache.pruned", removed=removed)
    return removed


def _park(context: Context, name: str, live: Release) -> bool:
    """Park a release if one like the live one can be made of it, and not of what is parked; returns whether it is parked.

    It may be no release any more in either case.
    """
    store, parked, release = context.store, context.store.parked(), context.store.get(name)
    try:
        if release is None or (parked and between(context, parked, live.commits)) or not between(context, release, live.commits):
            return False
        store.remove_parked()
        store.park(name, lambda place: context.source.restore(release.commits, place))
    except (ReleaseError, OSError) as error:
        context.log.info("park.failed", release=name, why=error.message if isinstance(error, ReleaseError) else told(error))
        return False
    return True


def _remove(context: Context, name: str) -> bool:
    try:
        context.store.discard(name)
    except ReleaseError as error:  # the others are removed all the same
        context.log.warning("prune.failed", release=name, why=error.message)
        return False
    return True


def _serving(context: Context) -> list[int]:
    """The pids of the services, as far as supervisor tells."""
    try:
        return [process.pid for group in context.services.processes().values() for process in group if process.pid]
    except ReleaseError:
        return []
