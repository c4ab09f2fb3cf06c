"""Keep the outputs of build hooks, by a key of everything that they depend on: ``cache/KEY/`` has the files and a note.

One rename makes an entry, complete and durable. The agent uses an entry only if its content agrees with its note.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent.store.files import unused_name
from release_agent.system.disk import (
    check_space,
    is_open,
    opened_regular,
    read_regular,
    remove,
    require_directory,
    sync_directory,
    sync_mount,
)
from release_agent.system.trees import Held, directories, lay, on_the_way, require_own_parents, scan

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from release_agent.system.clock import Clock
    from release_agent.system.sharing import Sharing
    from release_agent.system.trees import Tree

_LONGEST = 256 << 20  # bytes of a note; it names each file
_FIRST_LINE = 4096  # bytes


class HookCache:
    """The outputs of build hooks, within a bound of bytes."""

    def __init__(self, directory: Path, incoming: Path, clock: Clock) -> None:
        """``directory``: only the agent may enter it. ``incoming``: entries are made in it."""
        self.directory = directory
        self._incoming = incoming
        self._clock = clock

    def is_empty(self) -> bool:
        """Return whether there are no outputs, or this user may not look."""
        return not is_open(self.directory) or not any(self.directory.iterdir())

    def take(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing) -> bool:
        """Restore the outputs of a key to their paths in a release; returns False if there are none.

        Raises OSError if they are damaged or do not fit, and Cancelled; it then removes all of them from the release.
        """
        entry = self.directory / key
        if not os.path.lexists(entry):
            return False
        ways = on_the_way(paths)
        there = {way for way in ways if os.path.lexists(directory / way)}
        try:
            tree = {path: held for path, held in _read(entry / "note").items() if path not in there}
            lay(tree, entry / "files", directory, sharing, self._clock)
            os.utime(entry / "note")
        except BaseException:
            for path in (*ways, *paths):
                if path not in there:
                    remove(directory / path)
            raise
        return True

    def keep(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing, most: int) -> int:
        """Cache the outputs of a hook from their paths in a release; the cache then has at most ``most`` bytes.

        Returns the number of other outputs removed for them. Raises OSError, Failed (disk-full),
        Cancelled; it then caches nothing.
        """
        for path in paths:
            require_own_parents(directory, path)
        tree = directories(directory, on_the_way(paths)) | self._scan(directory, paths, most)
        size = sum(entry.room for entry in tree.values())
        removed = self.prune(most - size)
        check_space(self.directory, size, len(tree), "a copy of the hook's outputs")
        fresh = unused_name(self._incoming, "cache")
        try:
            (fresh / "files").mkdir(parents=True)
            lay(tree, directory, fresh / "files", sharing, self._clock)
            (fresh / "note").write_text(_written(tree, size))
            sync_mount(self.directory)
            fresh.rename(self.directory / key)
            sync_directory(self.directory)
        except BaseException:
            remove(fresh)
            raise
        return removed

    def _scan(self, directory: Path, paths: Sequence[str], most: int) -> Tree:
        try:
            return scan(directory, paths, self._clock, most=most, never=os.fsencode(directory))
        except OSError as error:
            if error.errno == errno.EFBIG:
                why = f"{error.strerror}, and [release] cache_size allows no more"
                raise OSError(errno.EFBIG, why, error.filename) from error
            raise

    def forget(self, key: str) -> None:
        """Remove the outputs of a key; raises OSError."""
        require_directory(self.directory)
        trash = unused_name(self._incoming, "trash")
        with suppress(FileNotFoundError):
            (self.directory / key).rename(trash)
        remove(trash)

    def prune(self, most: int) -> int:
        """Remove the outputs unused for longest, and unreadable ones, until at most ``most`` bytes are left.

        Returns the number of removed outputs; raises OSError.
        """
        require_directory(self.directory)
        by_use = sorted(((_last_use(entry), entry) for entry in self.directory.iterdir()), reverse=True)
        removed = 0
        for _, entry in by_use:
            size = _size(entry)
            if size is None or size > most:
                self.forget(entry.name)
                removed += 1
            else:
                most -= size
        return removed


def _written(tree: Tree, size: int) -> str:
    """Return the text of a note: the size and the digest of the rest, then each file on its own line."""
    files = "\n".join(json.dumps([path, *entry]) for path, entry in tree.items())
    return "\n".join([json.dumps({"bytes": size, "sha256": _digest(files.encode())}), files])


def _read(note: Path) -> Tree:
    """Return the content of a note; raises OSError if it is broken."""
    head, _, files = read_regular(note, _LONGEST, follow=False).partition(b"\n")
    if _said(head, "sha256") != _digest(files):
        raise OSError(errno.EIO, "it is incomplete", str(note))
    return {path: Held(*entry) for path, *entry in map(json.loads, files.splitlines())}


def _size(entry: Path) -> int | None:
    """Return the bytes of an entry, from the first line of its note; None if the note is broken. Never wait for a pipe."""
    try:
        with opened_regular(str(entry / "note")) as note:
            size = _said(os.pread(note, _FIRST_LINE, 0).partition(b"\n")[0], "bytes")
    except OSError:
        return None
    return size if isinstance(size, int) and size >= 0 else None


def _said(head: bytes, name: str) -> object:
    """Return the value of a name in the first line of a note; None if the line is broken."""
    try:
        said: object = json.loads(head)[name]
    except (ValueError, TypeError, LookupError, RecursionError):
        return None
    return said


def _digest(files: bytes) -> str:
    return hashlib.sha256(files).hexdigest()


def _last_use(entry: Path) -> int:
    try:
        return (entry / "note").lstat().st_mtime_ns
    except OSError:
        return 0
