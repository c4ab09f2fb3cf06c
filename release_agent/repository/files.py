"""Read and compare the files of a release: only regular files, in pieces."""

from __future__ import annotations

import hashlib
import os
import stat
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.repository.objects import SYMLINK, hasher
from release_agent.system.disk import opened_regular, remove

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence

    from release_agent.repository.objects import TreeEntry
    from release_agent.system.clock import Clock

    # The ids that git would give to regular files of a directory without conversion.
    Hashes = Callable[[Path, Sequence[str]], list[str]]

# The start of a pointer of Git LFS, and its longest size in bytes.
_POINTER, _LONGEST_POINTER = b"version https://git-lfs.github.com/spec/", 1024
MISSING = "missing"
ADDED = "added"
_PIECE = 1 << 20
_PORTION = 5_000  # files; more at a time need more memory
# The modes of git's checkout with the agent's umask.
REGULAR = {"100644": 0o644, "100755": 0o755}
# Extended attributes that allow more than the mode.
_GRANTING = ("system.posix_acl_access", "system.posix_acl_default", "security.capability")
_KINDS = {
    stat.S_IFIFO: "fifo",
    stat.S_IFSOCK: "socket",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFDIR: "directory",
}


@dataclass(frozen=True)
class Rights:
    """The rights of a directory or a file: its mode, owner, group, and the attributes that grant more."""

    mode: int
    owner: int
    group: int
    granting: Mapping[str, bytes]

    @classmethod
    def of(cls, path: str, there: os.stat_result) -> Rights:
        """Return the rights of a path, which must not be a link."""
        return cls(stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid, _granting(path))

    def give(self, path: str) -> None:
        """Set the rights of a directory, which must not be a link; raises OSError."""
        os.chown(path, self.owner, self.group, follow_symlinks=False)
        for name in _granting(path).keys() - self.granting.keys():
            os.removexattr(path, name)
        for name, value in self.granting.items():
            os.setxattr(path, name, value)
        Path(path).chmod(self.mode)


@dataclass(frozen=True)
class Expected:
    """The properties of a checkout besides content: ``rights``: of a new directory.

    ``links``: accept hard links; a change through the other name changes both.
    """

    rights: Rights
    links: bool

    def fits(self, path: str, there: os.stat_result, mode: str) -> bool:
        """Return whether a regular file has the properties of a checkout for this mode of git's, with any content."""
        made = (REGULAR.get(mode), self.rights.owner, self.rights.group)
        is_new = (stat.S_IMODE(there.st_mode), there.st_uid, there.st_gid) == made
        return is_new and (self.links or there.st_nlink == 1) and not _granting(path)


def _granting(path: str) -> dict[str, bytes]:
    try:
        names = os.listxattr(path, follow_symlinks=False)
    except OSError:  # the file system has none
        return {}
    return {name: os.getxattr(path, name, follow_symlinks=False) for name in names if name in _GRANTING}


def put_right(directory: Path, place: str, rights: Rights) -> None:
    """Set the rights of a directory and of the directories down to a path below it; raises OSError."""
    for path in (directory, *(directory / place[:end] for end in slashes(place)), directory / place):
        there = path.lstat() if os.path.lexists(path) else None
        if there is None or not stat.S_ISDIR(there.st_mode):
            return
        if Rights.of(str(path), there) != rights:
            rights.give(str(path))


def differing(entries: Iterable[TreeEntry], directory: Path, clock: Clock) -> list[TreeEntry]:
    """Return the entries whose file is missing or differs from the commit, byte by byte; raises Cancelled."""
    return [entry for entry in entries if not _is_as_committed(entry, f"{directory}/{entry.path}", clock)]


def pointers(entries: Iterable[TreeEntry], directory: Path) -> list[TreeEntry]:
    """Return the entries whose file is a pointer of Git LFS; raises OSError."""
    return [entry for entry in entries if entry.mode in REGULAR and _is_pointer(f"{directory}/{entry.path}")]


def _is_pointer(path: str) -> bool:
    if not len(_POINTER) < os.lstat(path).st_size <= _LONGEST_POINTER:
        return False
    with opened_regular(path) as descriptor:
        return os.read(descriptor, len(_POINTER)) == _POINTER


def take_away(directory: Path, paths: Iterable[str], clock: Clock) -> None:
    """Remove files, links and whole directories, and the directories that become empty; raises OSError, Cancelled."""
    for path in paths:
        clock.check()
        place = directory / path
        remove(place)
        with suppress(OSError):  # it has other contents
            while (place := place.parent) != directory:
                place.rmdir()


def unlike_a_checkout(
    entries: Iterable[TreeEntry], directory: Path, expected: Expected, hashes: Hashes, clock: Clock
) -> tuple[list[str], list[TreeEntry]]:
    """Return the paths that a checkout does not make, and the entries whose file differs from a checkout.

    The entries include all converted files, whose content cannot be compared. Each directory gets its rights.
    Raises OSError, Cancelled.
    """
    wanted = {entry.path: entry for entry in entries}
    parents = {path[:end] for path in wanted for end in slashes(path)}
    extra: list[str] = []
    regular: list[TreeEntry] = []
    as_committed: set[str] = set()
    places = [""]
    while places:
        clock.check()
        prefix = places.pop()
        for found in os.scandir(f"{directory}/{prefix}"):
            path = prefix + found.name
            entry, there = wanted.get(path), found.stat(follow_symlinks=False)
            if stat.S_ISDIR(there.st_mode) and path in parents:
                if Rights.of(found.path, there) != expected.rights:
                    expected.rights.give(found.path)
                places.append(f"{path}/")
            elif entry is None:
                extra.append(path)
            elif entry.mode == SYMLINK and stat.S_ISLNK(there.st_mode):
                if _is_as_committed(entry, found.path, clock):
                    as_committed.add(path)
            elif stat.S_ISREG(there.st_mode) and expected.fits(found.path, there, entry.mode):
                regular.append(entry)
    as_committed |= _with_their_id(regular, directory, hashes, clock)
    return extra, [entry for path, entry in wanted.items() if path not in as_committed]


def _with_their_id(entries: list[TreeEntry], directory: Path, hashes: Hashes, clock: Clock) -> set[str]:
    """Return the paths whose file has the content of its entry's id."""
    plain = [entry for entry in entries if not _is_odd(entry.path)]
    odd = [entry for entry in entries if _is_odd(entry.path)]
    same = {entry.path for entry in odd if _is_as_committed(entry, f"{directory}/{entry.path}", clock)}
    for some in portions(plain):
        made = hashes(directory, [entry.path for entry in some])
        same.update(entry.path for entry, object_id in zip(some, made, strict=True) if entry.object_id == object_id)
    return same


def portions(entries: Sequence[TreeEntry]) -> Iterator[Sequence[TreeEntry]]:
    """Yield the entries in portions for one call of git."""
    for start in range(0, len(entries), _PORTION):
        yield entries[start : start + _PORTION]


def _is_odd(path: str) -> bool:
    """Return whether git cannot read a path from a line, because it starts with a quotation mark or ends with a return."""
    return "\n" in path or path.startswith('"') or path.endswith("\r")


def slashes(path: str) -> Iterator[int]:
    """Yield the positions of the slashes in a path."""
    end = path.find("/")
    while end >= 0:
        yield end
        end = path.find("/", end + 1)


def digest(path: Path, clock: Clock) -> str:
    """Return the digest of a path: kind, mode and hash of a regular file or a link; only the kind of anything else.

    It never opens a FIFO or a device. The digest of a file without read access starts with ``unreadable``.
    """
    try:
        there = path.lstat()
        if stat.S_ISLNK(there.st_mode):
            return "link:" + hashlib.sha256(os.fsencode(path.readlink())).hexdigest()
        if not stat.S_ISREG(there.st_mode):
            return _KINDS.get(stat.S_IFMT(there.st_mode), "special")
        made, mode = hashlib.sha256(), "x" if there.st_mode & stat.S_IXUSR else "-"
        with opened_regular(str(path)) as descriptor:
            _add(descriptor, made, clock)
    except (FileNotFoundError, NotADirectoryError):
        return MISSING
    except OSError as error:
        return f"unreadable: {error.strerror}"
    return f"file:{mode}:{made.hexdigest()}"


def unreadable(directory: Path, names: Collection[str], most: int, clock: Clock) -> Iterator[tuple[str, str]]:
    """Yield path and reason of each file of these names that is a pipe, socket or device, or larger than ``most`` bytes.

    Raises Cancelled.
    """
    for place, _, files in os.walk(directory):
        clock.check()
        for path in (Path(place) / name for name in names if name in files):
            there = path.lstat()
            why = _KINDS.get(stat.S_IFMT(there.st_mode)) or (f"file of {there.st_size} bytes" if there.st_size > most else "")
            if why:
                yield str(path.relative_to(directory)), why


def beside(directory: Path, places: Collection[str], clock: Clock) -> dict[str, str]:
    """Return the digests, by path, of everything beside the places of a release's repositories, and of places that are links.

    The path of a directory ends in ``/``. A repository that is the whole release has nothing beside it.
    """
    found: dict[str, str] = {}
    above = [] if "." in places else [directory]
    while above:
        for path in _listed(above.pop()):
            inner = str(path.relative_to(directory))
            is_directory = path.is_dir() and not path.is_symlink()
            if is_directory and any(place.startswith(f"{inner}/") for place in places):
                above.append(path)
            elif inner not in places:
                found[f"{inner}/" if is_directory else inner] = f"{ADDED} {digest(path, clock)}"
            elif not is_directory:
                found[inner] = digest(path, clock)
    return found


def _listed(directory: Path) -> list[Path]:
    """Return the contents of a directory; nothing if it is unreadable, because git reports that."""
    try:
        return list(directory.iterdir())
    except OSError:
        return []


def _is_as_committed(entry: TreeEntry, path: str, clock: Clock) -> bool:
    try:
        made = _link_hash(entry, path) if entry.mode == SYMLINK else _file_hash(entry, path, clock)
    except OSError:
        return False
    return made.hexdigest() == entry.object_id


def _link_hash(entry: TreeEntry, path: str) -> hashlib._Hash:
    target = os.fsencode(os.readlink(path))  # noqa: PTH115 - Path would shorten `a//b`
    made = hasher(entry.object_id, "blob", len(target))
    made.update(target)
    return made


def _file_hash(entry: TreeEntry, path: str, clock: Clock) -> hashlib._Hash:
    with opened_regular(path) as descriptor:
        made = hasher(entry.object_id, "blob", os.fstat(descriptor).st_size)
        _add(descriptor, made, clock)
    return made


def _add(descriptor: int, made: hashlib._Hash, clock: Clock) -> None:
    """Add a file's content to a hash, in pieces; raises OSError, Cancelled."""
    clock.check()
    while piece := os.read(descriptor, _PIECE):
        made.update(piece)
        clock.check()
