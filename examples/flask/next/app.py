"""Notes that everybody may read and add."""

import contextlib
import pathlib
import sqlite3

from flask import Flask, request

HERE = pathlib.Path(__file__).parent
REVISION = (HERE / "revision").read_text()
DATABASE = HERE / "data" / "notes.db"  # `data` is a link to /srv/app/shared/data

app = Flask(__name__)


def database():
    """Connect to the database."""
    return contextlib.closing(sqlite3.connect(DATABASE))


@app.get("/health")
def health():
    """Return the revision, if the tables exist."""
    with database() as connection:
        connection.execute("SELECT id, text, author FROM note LIMIT 1")
    return REVISION


@app.get("/")
def notes():
    """Return all notes."""
    with database() as connection:
        rows = connection.execute("SELECT text, author FROM note ORDER BY id").fetchall()
    return {"revision": REVISION, "notes": [f"{text}, by {author}" for text, author in rows]}


@app.post("/")
def add():
    """Save a note."""
    with database() as connection, connection:
        connection.execute("INSERT INTO note (text, author) VALUES (:text, :author)", request.form)
    return "", 201
