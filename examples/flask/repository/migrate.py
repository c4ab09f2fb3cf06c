"""Apply all migrations that the database does not have, or none of them."""

import contextlib
import pathlib
import sqlite3

HERE = pathlib.Path(__file__).parent

with contextlib.closing(sqlite3.connect(HERE / "data" / "notes.db", isolation_level=None)) as connection:
    connection.execute("BEGIN IMMEDIATE")
    (applied,) = connection.execute("PRAGMA user_version").fetchone()
    for file in sorted(HERE.glob("migrations/*.sql"))[applied:]:
        connection.execute(file.read_text())  # each file has one statement
        applied += 1
        print(f"applied {file.name}")
    connection.execute(f"PRAGMA user_version = {applied}")
    connection.execute("COMMIT")
