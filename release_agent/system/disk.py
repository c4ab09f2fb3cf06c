"""Write files durably, and explain the failures of a disk."""

from __future__ import annotations

import errno
import fnmatch
import os
import shutil
import stat
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed
from release_agent.system.mounts import mount_points
from release_agent.system.user import user_to_be

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from types import TracebackType

_FULL = (errno.ENOSPC, errno.EDQUOT)
# A path is of another kind than expected; EINVAL: see require_regular().
_ANOTHER_KIND = (errno.EEXIST, errno.ENOTDIR, errno.EISDIR, errno.ELOOP, errno.EINVAL)
_SPACE_TO_SPARE = 1 << 20
_PIECE = 1 << 20  # bytes of one read
_PLAINLY = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC  # never wait for a pipe or a device


@contextmanager
def explained(place: Path) -> Iterator[None]:
    """Raise Failed (disk-full, build-failed) for an OSError."""
    try:
        yield
    except OSError as error:
        message = f"could not write {_written(error) or place}: {error.strerror}"
        if means_full(error):
            raise disk_full(message) from error
        raise Failed(Code.BUILD_FAILED, message, hint="check the directory and its owner") from error


def means_full(error: OSError) -> bool:
    """Return whether a failure means that the disk or a quota is full."""
    return error.errno in _FULL


def disk_full(message: str) -> Failed:
    """Make the error for a full disk."""
    return Failed(Code.DISK_FULL, message, hint="free disk space, or lower [app] keep and run `release-agent prune`")


def told(error: OSError) -> str:
    """Return a failure of a disk in words, with the path if it is known."""
    return f"{error.filename}: {error.strerror}" if error.filename else str(error.strerror)


def is_full(place: Path) -> bool:
    """Return whether the mount of a place has no block or no inode left for this user."""
    disk = os.statvfs(place)
    return not disk.f_bavail or bool(disk.f_files and not disk.f_favail)


def free_bytes(place: Path) -> int:
    """Return the free bytes on the disk of a path, which need not exist yet."""
    disk = _statvfs(place)
    return disk.f_bavail * disk.f_frsize


def check_space(place: Path, size: int, files: int, what: str = "the release") -> None:
    """Raise Failed (disk-full) unless ``size`` bytes and ``files`` files fit; ``what``: for the message."""
    disk, free = _statvfs(place), free_bytes(place)
    if size + _SPACE_TO_SPARE > free:
        message = f"{what} needs {_megabytes(size)}, and {_megabytes(free)} are free on {place}"
        raise disk_full(message)
    if disk.f_files and files > disk.f_favail:
        message = f"{what} needs {files} files, and {disk.f_favail} inodes are free on {place}"
        raise disk_full(message)


def _statvfs(place: Path) -> os.statvfs_result:
    # A dry run may come before the first deployment has made the root.
    return os.statvfs(next(there for there in (place, *place.parents) if there.exists()))


def _megabytes(size: int) -> str:
    return f"{size / (1 << 20):.1f} MiB"


def unusable(place: Path, error: OSError) -> Failed:
    """Make the error for a root that cannot be used."""
    message = f"cannot use {_written(error) or place}: {error.strerror}"
    return Failed(Code.ROOT_UNUSABLE, message, hint=_to_make_usable(place, error))


def _written(error: OSError) -> str | None:
    """Return the path of a failure; of two paths, as of rename(2), the second, because it is the one to write."""
    path: str | None = error.filename2 or error.filename
    return path


def _to_make_usable(place: Path, error: OSError) -> str:
    if error.errno == errno.EROFS:
        return f"make the mount of {place} writable"
    if error.errno in _ANOTHER_KIND:
        return f"restore {_written(error) or place}, or remove it; the agent makes it again"
    return (isinstance(error, PermissionError) and user_to_be(place)) or (
        "make [app] root a directory of the agent's user, all of it on one mount: install -d -o USER DIRECTORY"
    )


@contextmanager
def entered(place: Path) -> Iterator[None]:
    """Raise Failed (root-unusable) if this user may not enter a place, because hidden files must not count as missing."""
    try:
        yield
    except PermissionError as error:
        raise unusable(place, error) from error


def read_regular(path: Path, most: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file of at most ``most`` bytes; raises OSError for anything else.

    Never waits for a pipe or a device; ``follow``: accept a link to a file.
    """
    return _held(os.open(path, _PLAINLY | (0 if follow else os.O_NOFOLLOW)), path, most)


def _held(descriptor: int, path: Path, most: int) -> bytes:
    """Return the content of an open regular file of at most ``most`` bytes, and close it."""
    try:
        require_regular(descriptor, path)
        held = bytearray()
        # Do not trust the size: files of /proc have none, and a file may grow during the read.
        while os.fstat(descriptor).st_size <= most >= len(held):
            piece = os.read(descriptor, min(_PIECE, most + 1 - len(held)))
            if not piece:
                return bytes(held)
            held += piece
        raise OSError(errno.EFBIG, f"it is larger than {most} bytes", str(path))
    finally:
        os.close(descriptor)


def regular_files(top: Path, directory: str, pattern: str, most: int, most_files: int) -> dict[str, bytes]:
    """Return the contents of a directory's files by name; ``pattern``: of their names. Follows no link below ``top``.

    Raises OSError for a file that is not regular, and for more than ``most`` bytes or ``most_files`` files together. Returns
    none if the directory is missing.
    """
    held: dict[str, bytes] = {}
    with ExitStack() as opened:
        place = None
        for name in (str(top), *(part for part in directory.split("/") if part != ".")):
            try:
                place = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=place)
            except FileNotFoundError:
                return {}
            opened.callback(os.close, place)
        names = sorted(fnmatch.filter(os.listdir(place), pattern))  # noqa: PTH208 - of a descriptor
        if len(names) > most_files:
            raise OSError(errno.EFBIG, f"there are more than {most_files} files", directory)
        for name in names:
            descriptor = os.open(name, _PLAINLY | os.O_NOFOLLOW, dir_fd=place)
            held[name] = _held(descriptor, Path(name), most - sum(map(len, held.values())))
    return held


@contextmanager
def opened_regular(path: str) -> Iterator[int]:
    """Open a regular file that is no link, to read; raises OSError for anything else, without waiting."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    try:
        require_regular(descriptor, path)
        yield descriptor
    finally:
        os.close(descriptor)


def remove(path: Path) -> None:
    """Remove a file, a link or a whole directory, whatever its modes; do nothing if it does not exist.

    Raises OSError, and removes nothing, if something is mounted in the directory: a mount is not the agent's to remove.
    """
    if path.is_symlink() or not path.is_dir():
        path.unlink(missing_ok=True)
        return
    require_nothing_mounted(path)
    shutil.rmtree(path, onerror=_make_removable)


def require_nothing_mounted(directory: Path) -> None:
    """Raise OSError if something is mounted in a directory."""
    place = os.path.realpath(directory)
    for mounted in mount_points():
        if f"{mounted}/".startswith(f"{place}/"):
            raise OSError(errno.EBUSY, "something is mounted there", mounted)


def _make_removable(
    function: Callable[[str], object], path: str, error: tuple[type[BaseException], BaseException, TracebackType]
) -> None:
    """Make a path writable and remove it: build hooks leave read-only directories, such as Go's module cache."""
    if not isinstance(error[1], PermissionError):
        raise error[1]
    for place in (Path(path).parent, Path(path)):
        if not place.is_symlink():
            place.chmod(place.stat().st_mode | stat.S_IRWXU)
    if function in (os.open, os.scandir):
        shutil.rmtree(path)
    else:
        function(path)


def require_regular(descriptor: int, path: Path | str) -> None:
    """Raise OSError unless an open file is a regular one."""
    kind = os.fstat(descriptor).st_mode
    if stat.S_ISDIR(kind):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), str(path))
    if not stat.S_ISREG(kind):
        raise OSError(errno.EINVAL, "it is not a regular file", str(path))


def is_directory(path: Path) -> bool:
    """Return whether a path is a directory, and not a link to one; raises OSError if it does not exist."""
    return stat.S_ISDIR(path.lstat().st_mode)


def is_open(directory: Path) -> bool:
    """Return whether this user may list a directory; False for anything else."""
    return directory.is_dir() and os.access(directory, os.R_OK | os.X_OK)


def require_directory(path: Path) -> None:
    """Raise OSError unless a path is a directory, and not a link to one."""
    if not is_directory(path):
        raise NotADirectoryError(errno.ENOTDIR, "it is a link, or not a directory", str(path))


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable."""
    _sync(directory, os.O_RDONLY | os.O_DIRECTORY)


def _sync(place: Path, flags: int) -> None:
    descriptor = os.open(place, flags | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_paths(directory: Path, paths: Iterable[str]) -> None:
    """Make files under a directory, and the names in all their parents, durable; a path may be a removed file. Raises OSError."""
    parents = {directory}
    for path in paths:
        place = directory / path
        parents.update(parent for parent in place.parents if parent.is_relative_to(directory))
        if place.is_file() and not place.is_symlink():
            _sync(place, os.O_RDONLY)
    for parent in parents:
        if parent.is_dir():
            sync_directory(parent)


def sync_mount(place: Path) -> None:
    """Make everything written to a mount durable by syncfs(2), which is far cheaper than an fsync per file."""
    import ctypes  # only a build needs this import

    descriptor = os.open(place, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if ctypes.CDLL(None, use_errno=True).syncfs(descriptor):
            number = ctypes.get_errno()
            message = f"the release could not be made durable: {os.strerror(number)}"
            raise disk_full(message) if number in _FULL else Failed(Code.BUILD_FAILED, message, hint="check the disk")
    finally:
        os.close(descriptor)
