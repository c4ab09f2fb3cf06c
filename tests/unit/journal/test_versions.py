"""Agents of other versions also read and write the journal."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Failed
from release_agent.journal import statistics
from release_agent.journal.journal import StateDatabase
from release_agent.model import Action, Deployed, Kind, Outcome, Record, Request, Stage
from support.runs import NOON, Runs

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

# As release-agent 0.1.0 wrote it, with the column "published" set at each publication.
OLD = """
BEGIN;
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
PRAGMA user_version = 1;
INSERT INTO deployment VALUES(1,'d-1','deploy','command','v1','tag','000001-aaaaaaaaaaaa','{"api": "c1"}',NULL,
    '2024-01-01T12:00:00.000000Z','health','publishing',1,'deployed',
    '{"id": "d-1", "outcome": "deployed", "release": "000001-aaaaaaaaaaaa", "revision": "v1", "commits": {"api": "c1"},
      "previous": null, "seconds": 1.5, "phases": [{"name": "build", "seconds": 1.25}], "error": null}');
INSERT INTO deployment VALUES(2,'d-2','deploy','command','v2','tag','000002-bbbbbbbbbbbb','{"api": "c2"}',NULL,
    '2024-01-01T12:00:00.000000Z',NULL,'reverting',1,'rolled-back',
    '{"id": "d-2", "outcome": "rolled-back", "release": "000002-bbbbbbbbbbbb", "revision": "v2", "commits": {"api": "c2"},
      "previous": null, "seconds": 1.5, "phases": [], "error": null}');
INSERT INTO deployment VALUES(3,'d-3','deploy','command','v3','tag','000003-cccccccccccc','{"api": "c3"}',NULL,
    '2024-01-01T12:00:00.000000Z',NULL,'preparing',0,'failed',
    '{"id": "d-3", "outcome": "failed", "release": "000003-cccccccccccc", "revision": "v3", "commits": {"api": "c3"},
      "previous": null, "seconds": 1.5, "phases": [], "error": null}');
INSERT INTO deployment VALUES(4,'d-4','deploy','command','v4',NULL,'000004-dddddddddddd','{"api": "c4"}',NULL,
    '2024-01-01T12:00:00.000000Z',NULL,'publishing',1,NULL,NULL);
INSERT INTO hook VALUES(1,'d-1','build','make','exited with 0','done');
INSERT INTO publication VALUES(1,1704110400.0,'000001-aaaaaaaaaaaa');
INSERT INTO report VALUES(1,'{"id": "d-1"}');
INSERT INTO setting VALUES('pin','v1');
INSERT INTO setting VALUES('health','{"health": "passing", "problems": "", "at": "2024-01-01T12:00:00.000000Z"}');
COMMIT;
"""


@pytest.fixture
def old(tmp_path: Path) -> Path:
    """A file as an older agent left it."""
    path = tmp_path / "old.db"
    with closing(sqlite3.connect(path)) as db:
        db.executescript(OLD)
    return path


@pytest.mark.parametrize("write", [False, True])
def test_an_older_agents_file_is_read_as_it_is(old: Path, write: bool) -> None:
    with StateDatabase(old, write=write) as journal:
        assert journal.line() == ["000001-aaaaaaaaaaaa"]
        assert journal.last_deployed() == Deployed("000001-aaaaaaaaaaaa", "deploy", "command")
        (left,) = journal.unfinished()
        assert (left.request.id, left.stage, left.record.release) == ("d-4", Stage.PUBLISHING, "000004-dddddddddddd")
        assert [entry["outcome"] for entry in journal.history()] == [None, "failed", "rolled-back", "deployed"]
        assert journal.history()[3]["phases"] == [{"name": "build", "seconds": 1.25}]
        assert (journal.pinned(), (journal.last_found() or {})["health"]) == ("v1", "passing")
        assert journal.reports() == [(1, {"id": "d-1"})]
        assert journal.live_at(1704110401.0) == "000001-aaaaaaaaaaaa"


@pytest.mark.parametrize(("tag", "commits"), [("v1", {"api": "c1"}), ("v2", {"api": "c2"}), ("v3", None), ("v4", {"api": "c4"})])
def test_what_an_older_agents_tags_named_is_what_it_published(old: Path, tag: str, commits: dict[str, str] | None) -> None:
    with StateDatabase(old) as journal:
        assert journal.deployed_commits(tag) == commits


def test_an_older_agents_file_is_gone_on_with_and_it_can_read_it_still(old: Path) -> None:
    with StateDatabase(old, write=True) as journal:
        runs = Runs(journal)
        journal.begin(Request("d-5", revision="v5"), NOON)
        record = Record("d-5", None, "000005-eeeeeeeeeeee", "v5", {"api": "c5"})
        journal.stage(Stage.PUBLISHING, record)
        runs.end(record, Outcome.DEPLOYED)

    with closing(sqlite3.connect(old)) as db:
        assert db.execute("PRAGMA user_version").fetchone() == (1,)
        # The question by which it refuses a tag that was moved.
        assert db.execute("SELECT commits FROM deployment WHERE published AND revision = 'v5'").fetchone() == ('{"api": "c5"}',)


def test_a_new_file_has_the_tables_an_older_agent_knows(old: Path, tmp_path: Path) -> None:
    with StateDatabase(tmp_path / "new.db", write=True):
        pass

    assert _columns(tmp_path / "new.db") == _columns(old)


def _columns(path: Path) -> list[tuple[object, ...]]:
    query = 'SELECT t.name, c.name, c.type, c."notnull", c.dflt_value FROM sqlite_schema t, pragma_table_info(t.name) c'
    with closing(sqlite3.connect(path)) as db:
        return sorted(db.execute(query).fetchall(), key=repr)


@pytest.fixture
def newer(journal: StateDatabase, tmp_path: Path) -> Iterator[sqlite3.Connection]:
    """The file of ``journal``, into which a newer agent writes: it has a table and columns more."""
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as db:
        db.executescript(
            "CREATE TABLE wish (name TEXT); ALTER TABLE deployment ADD COLUMN host TEXT; ALTER TABLE setting ADD COLUMN at TEXT;"
        )
        journal.pin("v1")
        yield db


def test_a_newer_agents_record_has_what_this_one_knows_of_it(journal: StateDatabase, newer: sqlite3.Connection) -> None:
    record = Runs(journal).deploy("1")
    told = record.to_json() | {"rehearsed": True, "phases": [{"name": "build", "seconds": 2.0, "cpu": 1.5}]}
    newer.execute("UPDATE deployment SET record = ?", (json.dumps(told),))

    (entry,) = journal.history()

    known = record.to_json() | {"phases": [{"name": "build", "seconds": 2.0}]}
    assert entry == known | {"action": "deploy", "trigger": "command", "started_at": NOON} == journal.entry("d-1")
    assert statistics.phase_times(journal, [1.0]) == [("build", 2.0, [0, 1])]


def test_an_older_agents_record_is_told_in_todays_shape(journal: StateDatabase, newer: sqlite3.Connection) -> None:
    Runs(journal).deploy("1")
    newer.execute("UPDATE deployment SET record = ?", (json.dumps({"id": "d-1", "outcome": "deployed"}),))

    (entry,) = journal.history()

    assert entry == Record("d-1", "deployed").to_json() | {"action": "deploy", "trigger": "command", "started_at": NOON}


def test_a_newer_agents_unfinished_deployment_can_be_recovered(journal: StateDatabase, newer: sqlite3.Connection) -> None:
    Runs(journal).begin("1")
    newer.execute("UPDATE deployment SET action = 'rehearse', stage = 'rehearsing', kind = 'digest'")

    (left,) = journal.unfinished()

    # Finished if its release is live, and undone if it is not.
    assert (left.stage, journal.stage_of("d-1")) == (Stage.PUBLISHING, Stage.PUBLISHING)
    assert (left.request.action, left.kind) == (Action.DEPLOY, Kind.COMMIT)


def test_who_asked_is_kept_and_an_older_agent_goes_on_with_the_run(journal: StateDatabase, tmp_path: Path) -> None:
    journal.begin(Request("d-1", revision="v1", by="ada"), NOON)

    (left,) = journal.unfinished()
    assert (left.request.by, left.record.by, journal.history()[0]["by"]) == ("ada", "ada", "ada")

    # It does not know the member, and writes the record without it.
    told = {name: value for name, value in Record("d-1", "failed").to_json().items() if name != "by"}
    with closing(sqlite3.connect(tmp_path / "state.db", isolation_level=None)) as db:
        db.execute("UPDATE deployment SET outcome = 'failed', record = ?", (json.dumps(told),))
    assert journal.history()[0]["by"] == ""


def test_moment_of_the_last_run_that_no_agent_wrote_is_a_broken_journal(old: Path) -> None:
    with StateDatabase(old, write=True) as journal:
        assert statistics.last_ended(journal) is not None
        journal.write("UPDATE deployment SET started_at = 'noon'", ())
        with pytest.raises(Failed) as broken:
            statistics.last_ended(journal)

    assert broken.value.code == "journal-broken"
