"""The file ``state.db``: opened, found missing or broken, read and written.

SQLite with its rollback journal, not WAL: a reader as another user (supervisor's
root beside an agent that is not) then leaves no file behind. Every commit is
synced: recovery reads from here how far a killed run got.

Only the standard library is imported: supervisord loads this module.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Self

from release_agent.errors import Code, Failed
from release_agent.model import timestamp
from release_agent.system.disk import disk_full
from release_agent.system.sqlite import closed_on_error, connect_reading, connect_writing, migrate, migrations_done, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# One string for each migration: see migrate(). An older agent may run beside this one, so what it reads and writes stays.
# deployment.published: an older agent reads it, and this one the stage, which says the same.
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


class Database:
    """An open ``state.db``. Use it as a context: its end closes the file.

    Reading needs no lock. Whoever writes holds the root's lock.
    """

    def __init__(self, path: Path, *, write: bool = False, patience: float = 10.0) -> None:
        """Open the file; with ``write`` it is made if it is missing. Raises Failed (journal-broken, disk-full).

        ``patience``: seconds to wait for another's commit.
        """
        self._path = path
        with _explained(path):
            self._db = _opened_to_write(path, patience) if write else _opened_to_read(path, patience)

    def __enter__(self) -> Self:
        """Return itself."""
        return self

    def __exit__(self, *_: object) -> None:
        """Close the file: no descriptor of it stays open."""
        self._db.close()

    def read(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        """Return all rows of a query; raises Failed."""
        with _explained(self._path):
            return self._db.execute(query, values).fetchall()

    def write(self, query: str, values: tuple[object, ...]) -> None:
        """Change rows, durably; raises Failed."""
        with _explained(self._path):
            self._db.execute(query, values)

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit all that is written in a block, or none of it if it raises; raises Failed."""
        with _explained(self._path), transaction(self._db):
            yield


def _opened_to_write(path: Path, patience: float) -> sqlite3.Connection:
    _refuse_special(path)
    db = connect_writing(path, patience)
    with closed_on_error(db):
        if migrations_done(db, _MIGRATIONS) == 0:
            path.chmod(0o640)  # hooks' output is kept in it
        migrate(db, _MIGRATIONS)
    return db


def _opened_to_read(path: Path, patience: float) -> sqlite3.Connection:
    """Open what there is; a file that is missing, or being made at this moment, is as good as an empty one."""
    if path.exists():
        _refuse_special(path)
        db = connect_reading(path, patience)
        with closed_on_error(db):
            if migrations_done(db, _MIGRATIONS):
                return db
        db.close()
    empty = sqlite3.connect(":memory:", isolation_level=None)
    migrate(empty, _MIGRATIONS)
    return empty


def _refuse_special(path: Path) -> None:
    if path.exists() and not path.is_file():
        message = "it is no file"  # a pipe would be waited for
        raise sqlite3.DatabaseError(message)


def is_broken(path: Path) -> bool:
    """Whether there is a file that SQLite cannot read, all of it."""
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
    """Move a broken database, and what belongs to it, out of the way; returns where it lies now."""
    aside = path.with_name(f"{path.name}.broken-{timestamp().replace(':', '')}")
    path.rename(aside)
    journal = path.with_name(path.name + "-journal")
    if journal.exists():
        os.replace(journal, f"{aside}-journal")  # noqa: PTH105 - a text path
    return aside


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            message = f"no room for the journal {path}"
            raise disk_full(message) from error
        raise Failed(
            Code.JOURNAL_BROKEN,
            f"the journal {path} cannot be used: {error}",
            hint="run as the agent's user, who owns [app] root; if it is broken: `release-agent doctor --repair`",
        ) from error
