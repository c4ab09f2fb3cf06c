"""The agent's own directories, and the link beside them: made, opened again after hooks, and never followed elsewhere."""

from __future__ import annotations

import errno
import os
import stat
from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent.system.disk import require_directory

if TYPE_CHECKING:
    from pathlib import Path


def make_directory(place: Path, mode: int = 0o777) -> None:
    """Make a directory, or open the one that is there again; raises OSError if a link or a file is in its place."""
    with suppress(FileExistsError):
        place.mkdir(mode)
    take_back(place)


def take_back(place: Path) -> None:
    """Give the agent its rights in a directory back, which a hook may have taken; raises OSError."""
    require_directory(place)
    mode = place.stat().st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        place.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def require_file(place: Path) -> None:
    """Raise OSError unless a place is a regular file itself, and not a link to one."""
    if not stat.S_ISREG(place.lstat().st_mode):
        raise FileExistsError(errno.EEXIST, "not a file of the agent's own", str(place))


def make_link(place: Path, target: str) -> None:
    """Make a link, unless it is there; raises OSError if something else, or a link to elsewhere, is in its place."""
    if os.path.lexists(place):
        require_link(place, target)
    else:
        place.symlink_to(target)


def require_link(place: Path, target: str) -> None:
    """Raise OSError unless a place is a link to ``target``."""
    if not place.is_symlink() or str(place.readlink()) != target:
        raise FileExistsError(errno.EEXIST, f"not the agent's own link to {target}", str(place))
