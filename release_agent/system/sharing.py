"""Share the files of one release with another one: by hard links, or by clones if the file system has them."""

from __future__ import annotations

import errno
import fcntl
import os
import stat
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release_agent.system.clock import Clock

_FICLONE = 0x40049409  # ioctl_ficlone(2)
_NO_CLONES = (errno.EOPNOTSUPP, errno.ENOTTY, errno.EINVAL, errno.EXDEV)
_PERMISSIONS = 0o777


@dataclass(frozen=True)
class Sharing:
    """The way to share files between releases: hard links, or clones for at least ``clones_from`` bytes (None: no clones)."""

    links: bool
    clones_from: int | None


def share(paths: Iterable[str], old: Path, new: Path, sharing: Sharing, clock: Clock) -> None:
    """Share the regular files of another directory as far as possible; the caller writes the rest.

    ``paths``: relative to both directories. Raises OSError if a directory cannot be made, Cancelled.
    """
    # By directory: whether no link leads to it, such as one into the shared paths, where services write.
    own, made = {"": not old.is_symlink()}, {""}

    def is_own(directory: str) -> bool:
        if directory not in own:
            own[directory] = is_own(directory.rpartition("/")[0]) and not os.path.islink(f"{old}/{directory}")  # noqa: PTH114 - twice as fast
        return own[directory]

    for path in paths:
        clock.check()
        parent = path.rpartition("/")[0]
        if parent not in made:
            (new / parent).mkdir(parents=True, exist_ok=True)
            made.add(parent)
        if not is_own(parent):
            continue
        try:
            _share(f"{old}/{path}", f"{new}/{path}", sharing)
        except OSError as error:
            # The file is missing, of another kind, or has too many links: the caller writes it.
            if error.errno in _NO_CLONES:
                sharing = replace(sharing, clones_from=None)


def can_clone(directory: Path) -> bool:
    """Return whether the file system of a directory clones files: try it with unnamed files."""
    try:
        with _unnamed(directory) as source, _unnamed(directory) as target:
            source.write(b"1")
            source.flush()
            fcntl.ioctl(target, _FICLONE, source.fileno())
    except OSError:
        return False
    return True


def _unnamed(directory: Path) -> BinaryIO:
    return os.fdopen(os.open(directory, os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600), "w+b")


def _share(there: str, here: str, sharing: Sharing) -> None:
    found = os.lstat(there)
    if not stat.S_ISREG(found.st_mode):
        return
    if sharing.clones_from is not None and found.st_size >= sharing.clones_from:
        _clone(there, here, stat.S_IMODE(found.st_mode) & _PERMISSIONS)
    elif sharing.links:
        os.link(there, here, follow_symlinks=False)


def _clone(there: str, here: str, mode: int) -> None:
    source = os.open(there, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
    try:
        target = os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, mode)
        try:
            fcntl.ioctl(target, _FICLONE, source)
        except OSError:
            Path(here).unlink()
            raise
        finally:
            os.close(target)
    finally:
        os.close(source)
