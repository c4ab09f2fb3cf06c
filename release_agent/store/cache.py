"""What build hooks made, by a key of all that it was made of: ``cache/KEY/``, its files and its note.

An entry appears by one rename, whole and durable. It holds what its note says, or it is not used.
"""

from __future__ import annotations

import errno
import json
import os
from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent.store.files import unused_name
from release_agent.system.disk import (
    check_space,
    disk_full,
    means_full,
    read_regular,
    remove,
    require_directory,
    sync_directory,
    sync_mount,
    told,
)
from release_agent.system.trees import Held, lay, require_own_parents, scan

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
        """``directory``: nobody but the agent may enter it. ``incoming``: where entries are made."""
        self.directory = directory
        self._incoming = incoming
        self._clock = clock

    def is_empty(self) -> bool:
        """Return whether there are none, or this user may not look."""
        return not os.access(self.directory, os.R_OK | os.X_OK) or not any(self.directory.iterdir())

    def take(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing) -> bool:
        """Put the outputs of a key at their paths in a release; returns False if there are none.

        Raises OSError if they are not what was kept, Failed (disk-full), Cancelled; nothing is left of them then.
        """
        entry = self.directory / key
        if not os.path.lexists(entry):
            return False
        try:
            tree = _read(entry / "note")
            for path in paths:
                (directory / path).parent.mkdir(parents=True, exist_ok=True)
            lay(tree, entry / "files", directory, sharing, self._clock)
            os.utime(entry / "note")
        except BaseException as error:
            for path in paths:
                remove(directory / path)
            if isinstance(error, OSError) and means_full(error):
                message = f"what a build hook made does not fit: {told(error)}"
                raise disk_full(message) from error
            raise
        return True

    def keep(self, key: str, directory: Path, paths: Sequence[str], sharing: Sharing, most: int) -> None:
        """Keep what a hook made at its paths in a release, at most ``most`` bytes; raises OSError, Failed (disk-full), Cancelled.

        Nothing is left of it then.
        """
        for path in paths:
            require_own_parents(directory, path)
        tree = self._scan(directory, paths, most)
        size = sum(entry.room for entry in tree.values())
        check_space(self.directory, size, len(tree))
        fresh = unused_name(self._incoming, "cache")
        try:
            for path in paths:
                (fresh / "files" / path).parent.mkdir(parents=True, exist_ok=True)
            lay(tree, directory, fresh / "files", sharing, self._clock)
            (fresh / "note").write_text(_written(tree, size))
            sync_mount(self.directory)
            fresh.rename(self.directory / key)
            sync_directory(self.directory)
        except BaseException:
            remove(fresh)
            raise

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
        """Remove those that were not used for longest, and unreadable ones, until at most ``most`` bytes are left.

        Returns how many were removed; raises OSError.
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
    """Return the text of a note: how much there is on the first line, then each file on its own line."""
    head = json.dumps({"bytes": size, "files": len(tree)})
    return "\n".join([head, *(json.dumps([path, *entry]) for path, entry in tree.items())])


def _read(note: Path) -> Tree:
    """Return what a note says; raises OSError if it is broken."""
    try:
        head, *lines = read_regular(note, _LONGEST, follow=False).splitlines()
        tree = {path: Held(*entry) for path, *entry in map(json.loads, lines)}
        if json.loads(head)["files"] == len(tree):
            return tree
    except (ValueError, TypeError, KeyError, RecursionError) as error:
        raise OSError(errno.EIO, "it cannot be read", str(note)) from error
    raise OSError(errno.EIO, "it is not whole", str(note))


def _size(entry: Path) -> int | None:
    """Return what the first line of an entry's note says; None of a broken one, or of a pipe, which is never waited for."""
    try:
        note = os.open(entry / "note", os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC)
        try:
            return int(json.loads(os.pread(note, _FIRST_LINE, 0).splitlines()[0])["bytes"])
        finally:
            os.close(note)
    except (OSError, ValueError, TypeError, LookupError, RecursionError):
        return None


def _last_use(entry: Path) -> int:
    try:
        return (entry / "note").lstat().st_mtime_ns
    except OSError:
        return 0
