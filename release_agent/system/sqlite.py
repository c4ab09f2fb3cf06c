"""Open SQLite files of the agent, migrate them, and change them atomically.

Only the standard library is imported: supervisord loads this module.
"""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

# SQLite opens these beside a file: its rollback journal, and a write-ahead log if it exists; no agent makes one.
BESIDE = ("-journal", "-wal")
_PRIMARY = 0xFF  # of an extended result code of SQLite


class NewerLayoutError(sqlite3.DatabaseError):
    """The file is not broken, but a newer agent has made it."""


def refuse_special(path: Path) -> None:
    """Raise sqlite3.DatabaseError if the file, or SQLite's own file beside it, is a pipe, a device, a directory or a link."""
    if special := find_special(path):
        message = f"{special.name} is not a regular file"  # SQLite would wait for a pipe
        raise sqlite3.DatabaseError(message)


def find_special(path: Path) -> Path | None:
    """Return the first of the file and SQLite's files beside it that is not a regular file; None if there is none."""
    files = [path.with_name(f"{path.name}{end}") for end in ("", *BESIDE)]
    return next((file for file in files if os.path.lexists(file) and (file.is_symlink() or not file.is_file())), None)


def connect_reading(path: Path, patience: float) -> sqlite3.Connection:
    """Open an existing file to read; raises sqlite3.Error.

    ``patience``: seconds to wait for another's commit.
    """
    db = sqlite3.connect(_uri(path, "ro"), uri=True, isolation_level=None, timeout=patience)
    with closed_on_error(db):
        try:
            _look(db)
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_READONLY:
                raise
            # A killed writer left its rollback journal. One read with write access rolls it back.
            repairing = sqlite3.connect(_uri(path, "rw"), uri=True, timeout=patience)
            try:
                _look(repairing)
            finally:
                repairing.close()
    return db


def connect_writing(path: Path, patience: float, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open a file to write, or make it, and sync every commit to the disk; raises sqlite3.Error.

    ``patience``: seconds to wait for another's commit. ``any_thread``: other threads also use it, one at a time.
    """
    db = sqlite3.connect(_uri(path, "rwc"), uri=True, isolation_level=None, timeout=patience, check_same_thread=not any_thread)
    with closed_on_error(db):
        db.execute("PRAGMA synchronous = FULL")
    return db


@contextmanager
def closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    """Close a connection if its first use fails; otherwise its descriptor would stay open until garbage collection."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def migrations_done(db: sqlite3.Connection, migrations: Sequence[str]) -> int:
    """Return the number of migrations done in a file, 0 for an empty file.

    ``PRAGMA user_version`` counts them. Raises NewerLayoutError if more were done than this agent knows.
    """
    done = int(db.execute("PRAGMA user_version").fetchone()[0])
    if done > len(migrations):
        message = f"made by a newer version of release-agent (its layout is {done}, not {len(migrations)})"
        raise NewerLayoutError(message)
    return done


def migrate(db: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Run the missing migrations of a file, all of them or none; raises sqlite3.Error.

    Each migration is SQL, and new ones go to the end. An agent that lacks the newest one refuses the file.
    So do not make a migration of a change that an older agent can handle.
    """
    if migrations_done(db, migrations) == len(migrations):
        return
    with transaction(db):
        # Count again: another process may have done them in between.
        for migration in migrations[migrations_done(db, migrations) :]:
            for statement in migration.split(";"):
                db.execute(statement)
        db.execute(f"PRAGMA user_version = {len(migrations)}")


@contextmanager
def transaction(db: sqlite3.Connection) -> Iterator[None]:
    """Commit all changes of a block, or none of them if it raises."""
    db.execute("BEGIN IMMEDIATE")
    try:
        yield
        db.execute("COMMIT")
    except BaseException:
        # SQLite has already rolled back after a full or failing disk.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _look(db: sqlite3.Connection) -> None:
    """Read from the file now, because opening it does not."""
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"
