"""SQLite files of the agent: migrations, transactions, and nothing left open."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from release_agent.system.sqlite import closed_on_error, connect_reading, connect_writing, migrate, migrations_done, transaction

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FIRST = "CREATE TABLE a (name TEXT); INSERT INTO a VALUES ('first')"
SECOND = "ALTER TABLE a ADD COLUMN size INTEGER; UPDATE a SET size = 2"
THIRD = "CREATE TABLE b (name TEXT); INSERT INTO a VALUES ('third', 3)"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the file is."""
    return tmp_path / "some ?odd%20name.db"


@pytest.fixture
def db(path: Path) -> Iterator[sqlite3.Connection]:
    """A file that is written."""
    with closing(connect_writing(path, 1.0)) as db:
        yield db


def rows(db: sqlite3.Connection) -> list[tuple[object, ...]]:
    return db.execute("SELECT * FROM a").fetchall()


def test_a_new_file_gets_all_migrations(db: sqlite3.Connection, path: Path) -> None:
    assert migrations_done(db, [FIRST]) == 0
    migrate(db, [FIRST, SECOND, THIRD])

    assert rows(db) == [("first", 2), ("third", 3)]
    assert migrations_done(db, [FIRST, SECOND, THIRD]) == 3
    assert path.exists()


def test_an_older_agents_file_gets_what_it_lacks_and_keeps_what_it_has(db: sqlite3.Connection) -> None:
    migrate(db, [FIRST])
    db.execute("INSERT INTO a VALUES ('mine')")

    migrate(db, [FIRST, SECOND])
    migrate(db, [FIRST, SECOND])

    assert rows(db) == [("first", 2), ("mine", 2)]


def test_a_newer_agents_file_is_refused_and_left_as_it_is(db: sqlite3.Connection) -> None:
    migrate(db, [FIRST, SECOND])

    with pytest.raises(sqlite3.DatabaseError, match=r"newer version of release-agent \(its layout is 2, not 1\)"):
        migrate(db, [FIRST])

    assert rows(db) == [("first", 2)]


def test_a_migration_that_fails_leaves_the_file_as_it_was(db: sqlite3.Connection) -> None:
    migrate(db, [FIRST])

    with pytest.raises(sqlite3.OperationalError):
        migrate(db, [FIRST, SECOND, "INSERT INTO nowhere VALUES (1)"])

    assert rows(db) == [("first",)]
    assert migrations_done(db, [FIRST]) == 1


def test_a_file_that_another_process_migrates_at_this_moment_is_migrated_once(db: sqlite3.Connection, path: Path) -> None:
    with closing(connect_writing(path, 30.0, any_thread=True)) as other:
        db.execute("BEGIN IMMEDIATE")
        second = threading.Thread(target=migrate, args=(other, [FIRST]))
        second.start()
        for statement in (*FIRST.split(";"), "PRAGMA user_version = 1", "COMMIT"):
            db.execute(statement)
        second.join()

    assert rows(db) == [("first",)]


def test_a_transaction_is_done_whole_or_not_at_all(db: sqlite3.Connection) -> None:
    migrate(db, [FIRST])
    with pytest.raises(KeyError), transaction(db):
        _delete_and_fail(db)

    with transaction(db):
        db.execute("INSERT INTO a VALUES ('second')")

    assert rows(db) == [("first",), ("second",)]


def _delete_and_fail(db: sqlite3.Connection) -> None:
    db.execute("DELETE FROM a")
    raise KeyError


def test_a_reader_makes_no_file_and_cannot_write(path: Path) -> None:
    with pytest.raises(sqlite3.OperationalError):
        connect_reading(path, 1.0)
    assert not path.exists()
    with closing(connect_writing(path, 1.0)) as db:
        migrate(db, [FIRST])

    with closing(connect_reading(path, 1.0)) as db, pytest.raises(sqlite3.OperationalError, match="readonly"):
        db.execute("DELETE FROM a")


def test_a_connection_is_closed_if_what_is_done_first_with_it_fails(db: sqlite3.Connection) -> None:
    with pytest.raises(KeyError), closed_on_error(db):
        raise KeyError

    with pytest.raises(sqlite3.ProgrammingError, match="closed"):
        rows(db)
