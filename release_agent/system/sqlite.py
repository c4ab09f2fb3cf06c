"""SQLite files of the agent: opened, brought to a known layout, changed whole or not at all.

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

# What SQLite opens beside a file: its rollback journal; a write-ahead log, which no agent makes, if there is one.
BESIDE = ("-journal", "-wal")
_PRIMARY = 0xFF  # of an extended result code of SQLite


class NewerLayoutError(sqlite3.DatabaseError):
    """A newer agent has made the file: nothing is wrong with it."""


def refuse_special(path: Path) -> None:
    """Raise sqlite3.DatabaseError if the file, or one of SQLite's beside it, is a pipe, a device, a directory or a link."""
    if special := find_special(path):
        message = f"{special.name} is not a regular file"  # a pipe would be waited for
        raise sqlite3.DatabaseError(message)


def find_special(path: Path) -> Path | None:
    """Return the file, or the first of SQLite's beside it, that is something else than a regular file; None if there is none."""
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
            # A killed writer left its rollback journal. Reading the file once, with the right to write, undoes what it left.
            repairing = sqlite3.connect(_uri(path, "rw"), uri=True, timeout=patience)
            try:
                _look(repairing)
            finally:
                repairing.close()
    return db


def connect_writing(path: Path, patience: float, *, any_thread: bool = False) -> sqlite3.Connection:
    """Open a file to write, made if it is missing, and sync every commit to the disk; raises sqlite3.Error.

    ``patience``: seconds to wait for another's commit. ``any_thread``: others than this thread use it, one at a time.
    """
    db = sqlite3.connect(_uri(path, "rwc"), uri=True, isolation_level=None, timeout=patience, check_same_thread=not any_thread)
    with closed_on_error(db):
        db.execute("PRAGMA synchronous = FULL")
    return db


@contextmanager
def closed_on_error(db: sqlite3.Connection) -> Iterator[None]:
    """Close a connection if what is done first with it fails: its descriptor would stay open until it is collected."""
    try:
        yield
    except BaseException:
        db.close()
        raise


def migrations_done(db: sqlite3.Connection, migrations: Sequence[str]) -> int:
    """Return how many of the migrations a file has had, 0 for an empty file.

    ``PRAGMA user_version`` counts them. Raises NewerLayoutError for a file that has had more.
    """
    done = int(db.execute("PRAGMA user_version").fetchone()[0])
    if done > len(migrations):
        message = f"made by another version of release-agent (its layout is {done}, not {len(migrations)})"
        raise NewerLayoutError(message)
    return done


def migrate(db: sqlite3.Connection, migrations: Sequence[str]) -> None:
    """Do the migrations that a file has not had yet, all of them or none; raises sqlite3.Error.

    Each is SQL, and new ones go to the end. An agent that lacks the newest one refuses the file,
    so a change that an older agent can live with is no migration.
    """
    if migrations_done(db, migrations) == len(migrations):
        return
    with transaction(db):
        # Counted once more: another process may have done them in between.
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
        # A full disk or a failing one has rolled back already.
        if db.in_transaction:
            db.execute("ROLLBACK")
        raise


def _look(db: sqlite3.Connection) -> None:
    """Read from the file itself: it is not touched before."""
    db.execute("SELECT count(*) FROM sqlite_master").fetchone()


def _uri(path: Path, mode: str) -> str:
    return f"{path.absolute().as_uri()}?mode={mode}"
