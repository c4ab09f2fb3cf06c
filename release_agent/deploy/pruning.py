"""Remove releases: after a run those beyond ``keep``, of which one is parked for the next deployment; or one by its name."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from release_agent.deploy import room
from release_agent.deploy.building import between
from release_agent.deploy.policy.line import known
from release_agent.errors import Code, Refused, ReleaseError
from release_agent.system.disk import told

if TYPE_CHECKING:
    from release_agent.deploy.context import Context
    from release_agent.model import Release


def prune(context: Context, *, park: bool = True) -> list[str]:
    """Apply ``keep``; returns the removed names. Logs a release that it cannot remove, and the next run tries again.

    ``park``: leave the newest of them for the next deployment to build on, unless the parked one is good enough.
    """
    live = context.store.current()
    names = room.surplus(context, context.config.app.keep)
    parks = bool(park and live and names and _park(context, names[-1], live))
    removed = [name for name in names if room.remove(context, name)]
    if removed:
        context.log.info("releases.pruned", releases=removed, **({"parked": names[-1]} if parks else {}))
    prune_cache(context, context.config.release.cache_size)
    return removed


def protect(context: Context, named: str, *, protected: bool) -> Release:
    """Keep a release from pruning, or end that; returns the release. Raises NoTarget, Failed."""
    release = replace(known(context.store.releases(), named), protected=protected)
    context.store.save(release)
    context.log.info("release.protected", release=release.name, protected=protected)
    return release


def remove(context: Context, named: str, *, even_previous: bool) -> Release:
    """Remove an unneeded release; returns it. Raises NoTarget, Refused (release-needed), Failed."""
    release = known(context.store.releases(), named)
    why = _need_of(context, release, even_previous=even_previous)
    if why:
        what, hint = why
        raise Refused(Code.RELEASE_NEEDED, f"{release.name} ({release.revision}) {what}, and was not removed", hint=hint)
    context.store.discard(release.name)
    context.log.info("releases.pruned", releases=[release.name])
    return release


def _need_of(context: Context, release: Release, *, even_previous: bool) -> tuple[str, str] | None:
    """Return the reason why a release stays, and the step that makes it removable; None if it is not needed."""
    live = context.store.current()
    previous = room.previous(context, live)
    if live and live.name == release.name:
        return "is live", "deploy another release first"
    if release.protected:
        return "is protected", f"release-agent unprotect {release.name}"
    if release.name in room.unfinished(context):
        return "is needed to finish a killed deployment", "`release-agent boot` finishes it"
    if previous and previous.name == release.name and not even_previous:
        return (
            "is the release that `rollback` goes back to",
            f"to remove it anyway: release-agent remove --previous {release.name}",
        )
    if release.name in context.store.used(context.journal.live_at, room.serving(context)):
        return "is used by a process", "stop the processes that use it, or restart their services"
    return None


def prune_cache(context: Context, most: int) -> int:
    """Keep at most so many bytes of cached outputs; returns the number of removed outputs."""
    try:
        removed = context.cache.prune(most)
    except OSError as error:
        context.log.warning("cache.failed", why=told(error))
        return 0
    if removed:
        context.log.info("cache.pruned", removed=removed)
    return removed


def _park(context: Context, name: str, live: Release) -> bool:
    """Park a release if its files can become those of the live one, and those of the parked one cannot.

    Returns whether the release is parked. If not, it may have been removed.
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
