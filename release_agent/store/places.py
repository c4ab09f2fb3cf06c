"""Make the agent's own directories and the link beside them, and make them accessible again after hooks."""

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
    """Make a directory, or make an existing one accessible again; raises OSError if a link or a file has its name."""
    with suppress(FileExistsError):
        place.mkdir(mode)
    take_back(place)


def take_back(place: Path) -> None:
    """Restore the agent's access to a directory, which a hook may have removed; raises OSError."""
    require_directory(place)
    mode = place.stat().st_mode
    if mode & stat.S_IRWXU != stat.S_IRWXU:
        place.chmod(stat.S_IMODE(mode) | stat.S_IRWXU)


def require_file(place: Path) -> None:
    """Raise OSError unless a path is a regular file, and not a link to one."""
    if not stat.S_ISREG(place.lstat().st_mode):
        raise FileExistsError(errno.EEXIST, "it is not a regular file", str(place))


def make_link(place: Path, target: str) -> None:
    """Make a link, unless it exists; raises OSError if the path is anything else."""
    if os.path.lexists(place):
        require_link(place, target)
    else:
        place.symlink_to(target)


def require_link(place: Path, target: str) -> None:
    """Raise OSError unless a path is a link to ``target``."""
    if not place.is_symlink() or str(place.readlink()) != target:
        raise FileExistsError(errno.EEXIST, f"not the agent's own link to {target}", str(place))
