"""What files and directories hold: each name with its mode, its owner and its content; and the same made elsewhere."""

from __future__ import annotations

import errno
import hashlib
import os
import shutil
import stat
from typing import TYPE_CHECKING, NamedTuple

from release_agent.system.disk import require_regular
from release_agent.system.sharing import share

if TYPE_CHECKING:
    from collections.abc import Iterable
    from pathlib import Path

    from release_agent.system.clock import Clock
    from release_agent.system.sharing import Sharing

FILE, DIRECTORY, LINK = "file", "directory", "link"
_PIECE = 1 << 20  # bytes read at once
_FIRST_LINES = 1 << 10  # bytes of a script that say what runs it
_OF_THE_SYSTEM = {"security.selinux"}  # attributes that every new file gets by itself


class Held(NamedTuple):
    """What stands under one name: its kind, mode, owner and group, its size, when it was written, and its content.

    ``holds``: the SHA-256 of a file, where a link leads, nothing of a directory.
    """

    kind: str
    mode: int
    owner: int
    group: int
    size: int
    written: int
    holds: str


Tree = dict[str, Held]


def scan(base: Path, paths: Iterable[str], clock: Clock, *, never: bytes = b"") -> Tree:
    """Return what the paths in a directory hold, by path, a directory before what is in it; raises OSError, Cancelled.

    OSError also for what cannot be made once more: a pipe, extended attributes; and for a link to ``never``, or a script
    that ``never`` runs.
    """
    found: Tree = {}
    left = list(paths)
    while left:
        clock.check()
        path = left.pop()
        place = base / path
        there = place.lstat()
        if stat.S_ISDIR(there.st_mode):
            found[path] = _entry(DIRECTORY, there, "")
            left += [f"{path}/{name}" for name in sorted((inner.name for inner in os.scandir(place)), reverse=True)]
        elif stat.S_ISLNK(there.st_mode):
            found[path] = _entry(LINK, there, os.readlink(place))  # noqa: PTH115 - Path would shorten `a//b`
            _refuse(place, os.fsencode(found[path].holds), never)
        else:
            found[path] = _entry(FILE, there, _digest(place, never))
        _refuse_attributes(place)
    return found


def _entry(kind: str, there: os.stat_result, holds: str) -> Held:
    size = there.st_size if kind == FILE else 0
    return Held(kind, stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, size, there.st_mtime_ns, holds)


def _digest(place: Path, never: bytes) -> str:
    descriptor = os.open(place, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        require_regular(descriptor, place)
        piece = file.read(_PIECE)
        if piece.startswith(b"#!"):
            _refuse(place, piece[:_FIRST_LINES], never)
        digest = hashlib.sha256(piece)
        while piece:
            piece = file.read(_PIECE)
            digest.update(piece)
    return digest.hexdigest()


def _refuse(place: Path, text: bytes, never: bytes) -> None:
    if never and never in text:
        raise OSError(errno.EINVAL, f"it names {os.fsdecode(never)}, which is gone when the release is live", str(place))


def _refuse_attributes(place: Path) -> None:
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError:  # a file system without them
        return
    if not _OF_THE_SYSTEM.issuperset(names):
        raise OSError(errno.EINVAL, "it has extended attributes", str(place))


def require_own_parents(directory: Path, path: str) -> None:
    """Raise OSError if a directory on the way to a path is a link: it may lead out of the release."""
    place = directory / path
    for parent in place.parents:
        if parent == directory:
            return
        if parent.is_symlink():
            raise OSError(errno.ELOOP, "a directory on the way to it is a link", str(place))


def lay(tree: Tree, source: Path, target: Path, sharing: Sharing, clock: Clock) -> None:
    """Make what ``tree`` says in a directory, of the same files in another one; raises OSError, Cancelled.

    Whether the other one still holds what ``tree`` says is not checked.
    """
    for path in (path for path, entry in tree.items() if entry.kind == DIRECTORY):
        (target / path).mkdir(stat.S_IRWXU)
    share((path for path, entry in tree.items() if entry.kind == FILE), source, target, sharing, clock)
    for path, entry in reversed(tree.items()):  # a directory after what is in it: it may be closed to writers
        clock.check()
        there, here = source / path, target / path
        if entry.kind == LINK:
            here.symlink_to(entry.holds)
        elif entry.kind == FILE and not os.path.lexists(here):
            shutil.copyfile(there, here, follow_symlinks=False)
        if not os.path.samestat(there.lstat(), here.lstat()):
            _finish(here, entry)


def _finish(place: Path, entry: Held) -> None:
    there = place.lstat()
    if (there.st_uid, there.st_gid) != (entry.owner, entry.group):
        os.chown(place, entry.owner, entry.group, follow_symlinks=False)
    if entry.kind != LINK:
        place.chmod(entry.mode)
    os.utime(place, ns=(entry.written, entry.written), follow_symlinks=False)
