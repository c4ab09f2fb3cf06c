"""After a run: one release that ``keep`` lets go is parked for the next deployment, the others are removed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.policy.line import before
from release_agent.errors import ReleaseError

if TYPE_CHECKING:
    from release_agent.deploy.context import Context


def prune(context: Context, *, park: bool = True) -> list[str]:
    """Apply ``keep``; what cannot be removed is said and tried again by the next run. Returns the names of what is gone.

    ``park``: leave the newest of them for the next deployment to build on, if nothing is parked yet.
    """
    live = context.store.current()
    previous = before(context.journal.line(), context.store.get, live.name) if live else None
    protected = {release.name for release in (live, previous) if release}
    surplus = context.store.surplus(context.config.app.keep, protected, context.journal.live_at, _serving(context))
    parks = bool(park and surplus and context.store.parked() is None and _park(context, surplus[-1]))
    removed = [name for name in surplus if _remove(context, name)]
    if removed:
        context.log.info("releases.pruned", releases=removed, **({"parked": surplus[-1]} if parks else {}))
    return removed


def _park(context: Context, name: str) -> bool:
    """Park a release; returns whether that was possible. It is no release any more in either case."""
    release = context.store.get(name)
    if release is None:
        return False
    try:
        context.store.park(name, lambda place: context.source.restore(release.commits, place))
    except (ReleaseError, OSError) as error:
        why = error.message if isinstance(error, ReleaseError) else f"{error.filename}: {error.strerror}"
        context.log.info("park.failed", release=name, why=why)
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
