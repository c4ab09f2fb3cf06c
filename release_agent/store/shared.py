"""Replace shared paths of a release by links to files that outlive it."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed
from release_agent.system.disk import explained, remove, sync_mount

if TYPE_CHECKING:
    from release_agent.config.sections import Shared


class SharedLinks:
    """Links into ``<root>/shared``; ``scratch``: a directory on the same mount, for unfinished copies."""

    def __init__(self, shared: Path, scratch: Path) -> None:
        self._shared = shared
        self._scratch = scratch

    def link(self, directory: Path, shared: Shared) -> bool:
        """Fill ``<root>/shared`` from the release, and replace its shared paths by links; raises Failed.

        Returns whether it filled any path; the caller then makes ``<root>/shared`` durable.
        """
        paths = [*((path, True) for path in shared.directories), *((path, False) for path in shared.files)]
        with explained(directory):
            seeded = [self._link(directory, path, is_directory=is_directory) for path, is_directory in paths]
        return any(seeded)

    def _link(self, directory: Path, path: str, *, is_directory: bool) -> bool:
        place, target = directory / path, self._shared / path
        _refuse_foreign_parents(directory, path)
        target.parent.mkdir(parents=True, exist_ok=True)
        seeded = not os.path.lexists(target)
        if seeded:
            self._seed(place, target, is_directory=is_directory)
        if target.exists() and target.is_dir() != is_directory:
            raise _shared_conflict(path, f"{target} is a {'file' if is_directory else 'directory'}")
        remove(place)
        place.parent.mkdir(parents=True, exist_ok=True)
        up = "/".join([".."] * (len(Path(path).parts) + 1))
        place.symlink_to(f"{up}/shared/{path}")
        return seeded

    def _seed(self, place: Path, target: Path, *, is_directory: bool) -> None:
        if os.path.lexists(place) and (place.is_symlink() or place.is_dir() != is_directory):
            raise _shared_conflict(target.name, f"{target.name} in the release is another kind of file")
        made = self._scratch / f"seed-{target.name}"
        remove(made)
        if place.is_dir():
            shutil.copytree(place, made, symlinks=True)
        elif place.exists():
            shutil.copy2(place, made)
        elif is_directory:
            made.mkdir()
        else:
            raise Failed(
                Code.SHARED_MISSING,
                f"the shared file {target} does not exist, and the release has none",
                hint=f"create {target}, or remove it from [shared] files",
            )
        if os.path.lexists(place):
            # A seed is copied only once: after a power cut, a name without its content would count as the seed.
            sync_mount(self._scratch)
        made.rename(target)


def _shared_conflict(path: str, why: str) -> Failed:
    return Failed(
        Code.SHARED_CONFLICT, f"the shared path {path} cannot be linked: {why}", hint="rename one of the two, or change [shared]"
    )


def _refuse_foreign_parents(directory: Path, path: str) -> None:
    """Raise Failed if a parent is a symlink of the release, which would lead the shared link outside of it."""
    for parent in [*Path(path).parents][-2::-1]:
        place = directory / parent
        if place.is_symlink() or (place.exists() and not place.is_dir()):
            raise _shared_conflict(path, f"{parent} is not a directory in the release")
