"""How the files of a release come about: of the parked release and what lies between the two, or written whole."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.deploy.context import Context
    from release_agent.deploy.ports import Difference


class Way(StrEnum):
    """How a release is built: written whole, as the difference to the parked one, or not at all, because it is there."""

    WHOLE = "whole"
    DIFFERENCE = "difference"
    KEPT = "kept"


@dataclass(frozen=True)
class Building:
    """How a release is built, and what that writes: bytes and files."""

    way: Way
    size: int = 0
    files: int = 0
    difference: Difference | None = None


def choose(context: Context, commits: dict[str, str]) -> Building:
    """Choose how to build a release of these commits; raises Failed, Refused."""
    parked = context.store.parked()
    difference = context.source.difference(parked.commits, parked.into, commits) if parked else None
    if difference:
        return Building(Way.DIFFERENCE, difference.size, difference.files, difference)
    return _whole(context, commits)


def build(context: Context, building: Building, name: str, commits: dict[str, str]) -> Path:
    """Make the directory of a release with the files of its commits; raises Failed."""
    directory = _of_the_parked(context, building.difference, name) if building.difference else None
    if directory is None:
        building = _whole(context, commits) if building.difference else building
        context.store.make_room(building.size, building.files)
        directory = context.store.build(name, lambda place: context.source.write(commits, place))
    context.log.info("files.written", release=name, way=str(building.way), files=building.files)
    return directory


def _whole(context: Context, commits: dict[str, str]) -> Building:
    size, files = context.source.size(commits)
    return Building(Way.WHOLE, size, files)


def _of_the_parked(context: Context, difference: Difference, name: str) -> Path | None:
    """Turn the parked files into those of the release; None if they are in use, or turn out to be something else."""
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
