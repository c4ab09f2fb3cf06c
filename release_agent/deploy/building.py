"""Make the files of a release: from the parked release and the difference to it, or all of them from the repositories."""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING

from release_agent.deploy.policy.sharing import runs_commands, sharing
from release_agent.deploy.room import make_room
from release_agent.errors import Code, Failed, Refused
from release_agent.system.processes import owner

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.context import Context
    from release_agent.deploy.ports import Difference
    from release_agent.model import Release
    from release_agent.system.sharing import Sharing


_ROOT = 0  # root may write everywhere


class Way(StrEnum):
    """The ways to build a release: whole, with the live one's files, as the difference to the parked one, or not at all."""

    WHOLE = "whole"
    SHARED = "shared"
    DIFFERENCE = "difference"
    KEPT = "kept"


@dataclass(frozen=True)
class Building:
    """The way to build a release, and the bytes and files that it writes.

    ``difference``: to the parked release. ``shared_with``: the release with which it shares files, and the way of sharing.
    """

    way: Way
    size: int = 0
    files: int = 0
    difference: Difference | None = None
    shared_with: tuple[Release, Sharing] | None = None


def choose(context: Context, commits: dict[str, str], plans: Blueprint) -> Building:
    """Choose how to build a release of these commits; raises Failed, Refused."""
    parked = context.store.parked()
    difference = between(context, parked, commits) if parked else None
    if difference:
        return Building(Way.DIFFERENCE, difference.size, difference.files, difference)
    return _shared(context, commits, plans) or _whole(context, commits)


def between(context: Context, release: Release, commits: dict[str, str]) -> Difference | None:
    """Return the difference between a release and commits; None if the release's files cannot become those of the commits.

    A repository may have lost old objects. A whole build does not need them, and reports any other missing object.
    """
    if release.parts != context.config.parts:
        return None
    try:
        return context.source.difference(release.commits, release.into, commits)
    except Refused:
        return None


def build(context: Context, building: Building, release: Release, plans: Blueprint) -> tuple[Path, Sequence[str] | None]:
    """Make the directory of a release with the files of its commits; raises Failed.

    Returns the directory, and the written or removed paths in it, None if unknown.
    """
    directory = None
    # If the difference does not fit on the disk, make_room() removes the parked release first.
    if building.difference and context.store.fits(building.size, building.files):
        directory = _of_the_parked(context, building.difference, release.name)
    if directory is None:
        if building.difference:
            building = _shared(context, release.commits, plans) or _whole(context, release.commits)
        directory, building = _anew(context, building, release)
    context.log.info("files.written", release=release.name, way=str(building.way), files=building.files)
    return directory, building.difference.paths if building.difference else None


def _anew(context: Context, building: Building, release: Release) -> tuple[Path, Building]:
    store, source = context.store, context.source
    make_room(context, building.size, building.files)
    if building.shared_with is None:
        return store.build(release.name, lambda place: source.write(release.commits, place)), building
    old, how = building.shared_with
    files = 0

    def write(place: Path) -> None:
        nonlocal files
        files = source.share(release.commits, store.directory(old.name), place, how)

    directory = store.build(release.name, write)
    return directory, replace(building, files=files)


def _shared(context: Context, commits: dict[str, str], plans: Blueprint) -> Building | None:
    """Share the files of the live release, as far as the configuration, the services and both releases allow."""
    share, live = context.config.release.share, context.store.current()
    how = sharing(share, clones=context.store.can_clone()) if live else None
    if live is None or how is None or (share == "auto" and _may_be_written(context, live, plans)):
        return None
    difference = between(context, live, commits)
    if difference is None:
        return None
    return Building(Way.SHARED, difference.size, difference.files, shared_with=(live, how))


def _may_be_written(context: Context, live: Release, plans: Blueprint) -> bool:
    """Return whether one of two releases could write through a hard link.

    Its commands could, and so could a service that runs as the owner of a release's files or as root.
    """
    try:
        blueprints = (context.blueprint(live), plans)
    except Refused:  # the file has been changed
        return True
    if any(map(runs_commands, blueprints)):
        return True
    groups = context.services.processes()
    now, then = ({service.name for service in blueprint.services} for blueprint in blueprints)
    new = [groups.get(name, ()) for name in then - now]
    if not all(group and all(process.pid for process in group) for group in new):
        return True  # the user of a new service that does not run yet is unknown
    processes = [process for name in now | then for process in groups.get(name, ())]
    writers = {_ROOT, context.store.directory(live.name).stat().st_uid}
    return any(owner(process.pid) in writers for process in processes if process.pid)


def _whole(context: Context, commits: dict[str, str]) -> Building:
    size, files = context.source.size(commits)
    return Building(Way.WHOLE, size, files)


def _of_the_parked(context: Context, difference: Difference, name: str) -> Path | None:
    """Turn the parked files into those of the release; None if they are in use or were changed."""
    directory = context.store.take_parked(name)
    if directory is None:
        return None
    try:
        difference.apply(directory)
    except Failed as failed:
        if failed.code is not Code.BUILD_FAILED:
            raise
        context.log.warning("parked.given_up", release=name, why=failed.message)
        context.store.discard(name)
        return None
    return directory
