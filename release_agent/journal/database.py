"""The file ``state.db``: open, check, read and write it.

SQLite with its rollback journal, not WAL, for the reasons in docs/architecture.md.
Every commit is synced, because recovery reads the stage of a killed run from it.

Only the standard library is imported: supervisord loads this module.
"""

from __future__ import annotations

import errno
import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from release_agent.errors import Code, Failed
from release_agent.model import timestamp
from release_agent.system.disk import disk_full, is_full, require_directory
from release_agent.system.sqlite import (
    BESIDE,
    NewerLayoutError,
    closed_on_error,
    connect_reading,
    connect_writing,
    find_special,
    migrate,
    migrations_done,
    refuse_special,
    transaction,
)
from release_agent.system.user import user_to_be

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One string for each migration: see migrate(). An older agent may run beside this one, so its tables stay.
# deployment.published: an older agent reads it; this one reads the stage, which means the same.
_MIGRATIONS = (
    """
CREATE TABLE deployment (
    seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, action TEXT NOT NULL, trigger TEXT NOT NULL,
    revision TEXT, kind TEXT, release TEXT, commits TEXT NOT NULL DEFAULT '{}', previous TEXT,
    started_at TEXT NOT NULL, phase TEXT, stage TEXT NOT NULL, published INTEGER NOT NULL DEFAULT 0,
    outcome TEXT, record TEXT);
CREATE TABLE hook (
    seq INTEGER PRIMARY KEY, deployment TEXT NOT NULL, stage TEXT NOT NULL, run TEXT NOT NULL,
    ended TEXT NOT NULL, output TEXT NOT NULL);
CREATE TABLE publication (seq INTEGER PRIMARY KEY, moment REAL NOT NULL, release TEXT NOT NULL);
CREATE TABLE report (seq INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE answer (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, body TEXT NOT NULL);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL);
""",
)
_RESERVE = 128 * 1024  # bytes


class Database:
    """An open ``state.db``, a context manager that closes the file.

    Reading needs no lock. A writer holds the root's lock.
    """

    def __init__(self, path: Path, *, write: bool = False, patience: float = 10.0) -> None:
        """Open the file; with ``write``, make a missing one. Raises Failed (journal-broken, disk-full).

        ``patience``: seconds to wait for another's commit.
        """
        self._path = path
        with _explained(path):
            self._db = _opened_to_write(path, patience) if write else _opened_to_read(path, patience)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file, with all its descriptors."""
        self._db.close()

    def read(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return all rows of a query; raises Failed."""
        with _explained(self._path):
            return self._db.execute(query, values).fetchall()

    @contextmanager
    def understanding(self) -> Iterator[None]:
        """Raise Failed (journal-broken) if the file contains data that no agent wrote."""
        with _explained(self._path):
            try:
                yield
            except (ValueError, KeyError, TypeError, AttributeError, RecursionError) as error:
                message = f"it contains data that no agent wrote: {error}"
                raise sqlite3.DataError(message) from error

    def write(self, query: str, values: tuple[object, ...]) -> None:
        """Change rows, durably; raises Failed."""
        with _explained(self._path):
            self._db.execute(query, values)

    def reserve(self) -> None:
        """Reserve space in the file, and in SQLite's own journal beside it, for the writes of a rollback on a full disk.

        Raises Failed (disk-full).
        """
        with _explained(self._path):
            free = self._db.execute("PRAGMA freelist_count").fetchone()[0] * self._db.execute("PRAGMA page_size").fetchone()[0]
            if free < _RESERVE:
                # The pages of deleted rows stay in the file for later rows.
                with transaction(self._db):
                    self._db.execute("INSERT OR REPLACE INTO setting VALUES ('reserve', zeroblob(?))", (_RESERVE * 2,))
                self._db.execute("DELETE FROM setting WHERE name = 'reserve'")
            _lengthen(self._path.with_name(f"{self._path.name}-journal"), _RESERVE)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all writes of a block, or none of them if it raises; raises Failed."""
        with _explained(self._path), transaction(self._db):
            yield


def _lengthen(file: Path, size: int) -> None:
    """Write zeros to the end of a file until it has ``size`` bytes; SQLite ignores everything after its own end."""
    with file.open("ab") as opened:
        missing = size - opened.tell()
        if missing > 0:
            opened.write(bytes(missing))
            opened.flush()
            os.fsync(opened.fileno())


def _opened_to_write(path: Path, patience: float) -> sqlite3.Connection:
    require_directory(path.parent)
    refuse_special(path)
    db = connect_writing(path, patience)
    with closed_on_error(db):
        # Its journal stays after each commit, so that the next one needs no inode: see reserve().
        db.execute("PRAGMA journal_mode = PERSIST")
        if migrations_done(db, _MIGRATIONS) == 0:
            path.chmod(0o640)  # it contains hooks' output
        migrate(db, _MIGRATIONS)
    return db


def _opened_to_read(path: Path, patience: float) -> sqlite3.Connection:
    """Open an existing file; a missing or unfinished one counts as empty."""
    if path.exists():
        refuse_special(path)
        db = connect_reading(path, patience)
        with closed_on_error(db):
            if migrations_done(db, _MIGRATIONS):
                return db
        db.close()
    empty = sqlite3.connect(":memory:", isolation_level=None)
    migrate(empty, _MIGRATIONS)
    return empty


def is_broken(path: Path) -> bool:
    """Return whether the path is not a file, or a file that SQLite cannot read completely."""
    if find_special(path):
        return True
    if not path.exists():
        return False
    try:
        db = sqlite3.connect(f"{path.absolute().as_uri()}?mode=ro", uri=True)
        try:
            return bool(db.execute("PRAGMA quick_check").fetchone()[0] != "ok")
        finally:
            db.close()
    except sqlite3.DatabaseError as error:
        return getattr(error, "sqlite_errorcode", 0) in (sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_CORRUPT)


def set_aside(path: Path) -> Path:
    """Move a broken database and its files away; returns the new path.

    Raises Failed (journal-broken).
    """
    aside = path.with_name(f"{path.name}.broken-{timestamp().replace(':', '')}")
    with _explained(path):
        for end in ("", *BESIDE):
            if os.path.lexists(f"{path}{end}"):
                path.with_name(f"{path.name}{end}").rename(f"{aside}{end}")
    return aside


def _is_closed(error: sqlite3.Error | OSError) -> bool:
    """Return whether this user may not use the file."""
    closed = (sqlite3.SQLITE_CANTOPEN, sqlite3.SQLITE_READONLY, sqlite3.SQLITE_PERM)
    return isinstance(error, PermissionError) or _primary(error) in closed


def _finds_no_room(error: sqlite3.Error | OSError, path: Path) -> bool:
    """Return whether the disk is full; SQLite then only reports that it cannot open the file."""
    code = _primary(error)
    if code == sqlite3.SQLITE_CANTOPEN:
        return path.parent.is_dir() and is_full(path.parent)
    return code == sqlite3.SQLITE_FULL or getattr(error, "errno", None) == errno.ENOSPC


def _primary(error: sqlite3.Error | OSError) -> int:
    return int(getattr(error, "sqlite_errorcode", 0)) & 0xFF


def _what_next(error: sqlite3.Error | OSError, path: Path) -> str:
    if isinstance(error, NewerLayoutError):
        return f"run the newer release-agent again, or move {path} away: the next run makes a new journal from the releases"
    return (_is_closed(error) and user_to_be(path)) or "if it is broken: `release-agent doctor --repair`"


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if _finds_no_room(error, path):
            message = f"no space for the journal {path}"
            raise disk_full(message) from error
        raise Failed(
            Code.JOURNAL_BROKEN,
            f"the journal {path} cannot be used: {error}",
            hint=_what_next(error, path),
        ) from error
