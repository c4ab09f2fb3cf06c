"""Read files and directories with their modes, owners and contents, and make copies of them elsewhere."""

from __future__ import annotations

import errno
import hashlib
import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from release_agent.system.disk import opened_regular
from release_agent.system.sharing import Sharing, share

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release_agent.system.clock import Clock

FILE, DIRECTORY, LINK = "file", "directory", "link"
COPIES = Sharing(links=False, clones_from=None)
_PIECE = 1 << 20  # bytes of one read
_FIRST_LINES = 1 << 10  # bytes of a script that name its interpreter
_BLOCK = 4096  # bytes; the unit of a file's disk space
_OF_THE_SYSTEM = {"security.selinux"}  # attributes that the system gives to every new file


class Held(NamedTuple):
    """One file, link or directory: its kind, mode, owner, group, size, time and content.

    ``written``: the time of its last change. ``holds``: the SHA-256 of a file, the target of a link, empty for a directory.
    """

    kind: str
    mode: int
    owner: int
    group: int
    size: int
    written: int
    holds: str

    @property
    def room(self) -> int:
        """The approximate bytes on a disk."""
        return _BLOCK + -(-self.size // _BLOCK) * _BLOCK


Tree = dict[str, Held]


def scan(base: Path, paths: Iterable[str], clock: Clock, *, most: int | None = None, never: bytes = b"") -> Tree:
    """Return the contents of paths in a directory, by path, a directory before its contents; raises OSError, Cancelled.

    Raises OSError also for a pipe and for extended attributes, which cannot be copied. Raises it for a link or the first
    lines of a script that name ``never``. Raises it (EFBIG), before the read, for more than ``most`` bytes; None: no limit.
    """
    found: Tree = {}
    room = 0
    left = list(paths)
    while left:
        clock.check()
        path = left.pop()
        place = f"{base}/{path}"
        there = os.lstat(place)
        if stat.S_ISDIR(there.st_mode):
            found[path] = _entry(DIRECTORY, there, "")
            left += [f"{path}/{name}" for name in sorted((inner.name for inner in os.scandir(place)), reverse=True)]
        elif stat.S_ISLNK(there.st_mode):
            found[path] = _entry(LINK, there, os.readlink(place))  # noqa: PTH115 - Path would shorten `a//b`
            _refuse(place, os.fsencode(found[path].holds), never)
        else:
            found[path] = _entry(FILE, there, "")
        room += found[path].room
        if most is not None and room > most:
            raise OSError(errno.EFBIG, f"with it there are more than {most} bytes", place)
        if found[path].kind == FILE:
            found[path] = found[path]._replace(holds=_digest(place, clock, never))
        _refuse_attributes(place)
    return found


def on_the_way(paths: Iterable[str]) -> list[str]:
    """Return the parent directories of paths, each before the directories in it."""
    return list(dict.fromkeys(path[:end] for path in paths for end, sign in enumerate(path) if sign == "/"))


def directories(base: Path, paths: Iterable[str]) -> Tree:
    """Return directories without their contents; raises OSError."""
    return {path: _entry(DIRECTORY, os.lstat(base / path), "") for path in paths}


def _entry(kind: str, there: os.stat_result, holds: str) -> Held:
    size = there.st_size if kind == FILE else 0
    return Held(kind, stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, size, there.st_mtime_ns, holds)


def _digest(place: str, clock: Clock, never: bytes = b"") -> str:
    with opened_regular(place) as descriptor:
        piece = os.read(descriptor, _PIECE)
        if piece.startswith(b"#!"):
            _refuse(place, piece[:_FIRST_LINES], never)
        digest = hashlib.sha256(piece)
        while piece:
            clock.check()
            piece = os.read(descriptor, _PIECE)
            digest.update(piece)
    return digest.hexdigest()


def _refuse(place: str, text: bytes, never: bytes) -> None:
    if never and never in text:
        raise OSError(errno.EINVAL, f"it names {os.fsdecode(never)}, which is gone when the release is live", place)


def _refuse_attributes(place: str) -> None:
    try:
        names = os.listxattr(place, follow_symlinks=False)
    except OSError:  # a file system without extended attributes
        return
    if not _OF_THE_SYSTEM.issuperset(names):
        raise OSError(errno.EINVAL, "it has extended attributes", place)


def require_own_parents(directory: Path, path: str) -> None:
    """Raise OSError if a parent directory of a path is a link, which may lead out of the release."""
    place = directory / path
    for parent in place.parents:
        if parent == directory:
            return
        if parent.is_symlink():
            raise OSError(errno.ELOOP, "a parent directory of it is a link", place)


def lay(tree: Tree, source: Path, target: Path, sharing: Sharing, clock: Clock) -> None:
    """Make the files of ``tree`` in a directory, from the same files in another one.

    Raises OSError, also if a source file differs from ``tree``, and Cancelled.
    """
    for path in (path for path, entry in tree.items() if entry.kind == DIRECTORY):
        (target / path).mkdir(stat.S_IRWXU)
    if sharing != COPIES:
        share((path for path, entry in tree.items() if entry.kind == FILE), source, target, sharing, clock)
    for path, entry in reversed(list(tree.items())):  # a directory after its contents, because it may be read-only
        clock.check()
        there, here = f"{source}/{path}", f"{target}/{path}"
        if entry.kind == FILE:
            _lay_file(there, here, entry, clock)
            continue
        if entry.kind == LINK:
            Path(here).symlink_to(entry.holds)
        _finish(here, entry)


def _lay_file(there: str, here: str, entry: Held, clock: Clock) -> None:
    try:
        target = os.open(here, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, stat.S_IRUSR | stat.S_IWUSR)
    except FileExistsError:  # share() has made a link or a clone
        if not os.path.samestat(os.lstat(there), os.lstat(here)):
            _finish(here, entry)
        found = _entry(FILE, os.lstat(here), _digest(here, clock))
    else:
        with os.fdopen(target, "wb") as file, opened_regular(there) as source:
            made = hashlib.sha256()
            while piece := os.read(source, _PIECE):
                clock.check()
                made.update(piece)
                file.write(piece)
        _finish(here, entry)
        found = entry._replace(holds=made.hexdigest())
    if found != entry:
        raise OSError(errno.EIO, "it has changed", there)


def _finish(place: str, entry: Held) -> None:
    """Set the owner, mode and time of a path."""
    there = os.lstat(place)
    if (there.st_uid, there.st_gid) != (entry.owner, entry.group):
        os.chown(place, entry.owner, entry.group, follow_symlinks=False)
    if entry.kind != LINK:
        Path(place).chmod(entry.mode)
    os.utime(place, ns=(entry.written, entry.written), follow_symlinks=False)
