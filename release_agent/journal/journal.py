"""``state.db``: what was done, what is being done, what Consul has not been told yet.

SQLite with its rollback journal, not WAL: a reader as another user (supervisor's
root beside an agent that is not) then leaves no file behind. Every commit is
synced: recovery reads from here how far a killed run got.

Only the standard library is imported: this module is read from inside supervisord.
"""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from typing import TYPE_CHECKING, Any, Self

from release_agent.errors import Code, Failed
from release_agent.model import Action, Kind, Open, Outcome, Record, Release, Request, Stage, State, timestamp

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

_VERSION = 1
# A process that was started by a restart may seem to have started up to a
# second before the publication: /proc/stat gives the boot time in whole seconds.
_START_TOLERANCE = 1.0
_SCHEMA = """
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
"""
_PIN, _HEALTH, _MAINTENANCE = "pin", "health", "maintenance"
_KEPT_ANSWERS = 20
_PRIMARY = 0xFF  # of an extended result code of SQLite
_HISTORY = "SELECT id, trigger, started_at, record, revision, release, commits, previous FROM deployment"


@dataclass(frozen=True)
class HookRun:
    """How a hook went: its stage, its command, how it ended and its last output."""

    stage: str
    run: str
    ended: str
    output: str


class StateDatabase:
    """The journal. Reading needs no lock; whoever writes holds the root's lock."""

    def __init__(self, path: Path, *, write: bool = False, patience: float = 10.0) -> None:
        """Open it; made where it is missing and ``write`` is asked for. Raises Failed (journal-broken).

        ``patience``: seconds to wait for another's commit.
        """
        self._path = path
        with _explained(path):
            if not write and not path.exists():
                self._open_empty()
                return
            if path.exists() and not path.is_file():
                message = "it is no file"  # a pipe would be waited for
                raise sqlite3.DatabaseError(message)
            mode = "rwc" if write else "ro"
            self._db = sqlite3.connect(
                f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, timeout=patience
            )
            self._db.execute("PRAGMA synchronous = FULL")
            if not write:
                self._roll_back_hot(patience)
            self._settle(write=write)

    def _roll_back_hot(self, patience: float) -> None:
        """A writer that was killed left its rollback journal: whoever may write puts the file right by reading it once."""
        try:
            self._db.execute("SELECT count(*) FROM sqlite_master").fetchone()
        except sqlite3.OperationalError as error:
            if error.sqlite_errorcode & _PRIMARY != sqlite3.SQLITE_READONLY:
                raise
            mender = sqlite3.connect(f"{self._path.absolute().as_uri()}?mode=rw", uri=True, timeout=patience)
            mender.execute("SELECT count(*) FROM sqlite_master").fetchone()
            mender.close()

    def _settle(self, *, write: bool) -> None:
        version = self._db.execute("PRAGMA user_version").fetchone()[0]
        if version == 0 and not write:
            self._open_empty()  # it is being made at this moment
        elif version == 0:
            self._path.chmod(0o640)  # hooks' output is kept in it
            self._db.executescript(f"BEGIN; {_SCHEMA} PRAGMA user_version = {_VERSION}; COMMIT;")
        elif version != _VERSION:
            message = f"made by another version of the agent (its layout is {version}, not {_VERSION})"
            raise sqlite3.DatabaseError(message)

    def _open_empty(self) -> None:
        self._db = sqlite3.connect(":memory:", isolation_level=None)
        self._db.executescript(_SCHEMA)

    def __enter__(self) -> Self:
        """Use it for a while."""
        return self

    def __exit__(self, *_: object) -> None:
        """Let go of the file."""
        self.close_database()

    def close_database(self) -> None:
        """Let go of the file."""
        self._db.close()

    # Writing

    def open(self, request: Request, started_at: str) -> None:
        """Begin a deployment."""
        self._write(
            "INSERT INTO deployment (id, action, trigger, revision, started_at, stage) VALUES (?,?,?,?,?,?)",
            (request.id, request.action, request.trigger, request.revision, started_at, Stage.PREPARING),
        )

    def phase(self, name: str, record: Record) -> None:
        """Note what a deployment does now, and what is known of it so far."""
        self._write(
            "UPDATE deployment SET phase = ?, record = ?, revision = ?, release = ?, commits = ?, previous = ? WHERE id = ?",
            (
                *(name, json.dumps(record.to_json()), record.revision, record.release, json.dumps(record.commits)),
                *(record.previous, record.id),
            ),
        )

    def stage(self, deployment: str, stage: Stage, record: Record) -> None:
        """Note, durably, that it publishes or reverts: from here on a killed run is finished instead of undone."""
        self._write(
            "UPDATE deployment SET stage = ?, release = ?, revision = ?, commits = ?, previous = ?, published = 1 WHERE id = ?",
            (stage, record.release, record.revision, json.dumps(record.commits), record.previous, deployment),
        )

    def published(self, release: str, moment: float) -> None:
        """Note what is live from a moment on (seconds since 1970)."""
        self._write("INSERT INTO publication (moment, release) VALUES (?,?)", (moment, release))

    def close(self, record: Record, kind: Kind | None) -> None:
        """End a deployment with its outcome."""
        self._write(
            "UPDATE deployment SET outcome = ?, release = ?, revision = ?, commits = ?, kind = ?, previous = ?, record = ?"
            " WHERE id = ?",
            (
                *(record.outcome, record.release, record.revision, json.dumps(record.commits), kind, record.previous),
                *(json.dumps(record.to_json()), record.id),
            ),
        )

    def hook(self, deployment: str, stage: str, run: str, ended: str, output: str) -> None:
        """Keep a hook's last output."""
        self._write(
            "INSERT INTO hook (deployment, stage, run, ended, output) VALUES (?,?,?,?,?)", (deployment, stage, run, ended, output)
        )

    def pin(self, revision: str | None) -> None:
        """Set what ``follow = "pin"`` takes, or nothing."""
        if revision is None:
            self._write("DELETE FROM setting WHERE name = ?", (_PIN,))
        else:
            self._write("INSERT OR REPLACE INTO setting VALUES (?,?)", (_PIN, revision))

    def found(self, health: str, problems: str) -> None:
        """Keep how what is live was last found: ``passing`` or ``critical``, why, and when."""
        body = {"health": health, "problems": problems, "at": timestamp()}
        self._write("INSERT OR REPLACE INTO setting VALUES (?,?)", (_HEALTH, json.dumps(body)))

    def maintained(self, reason: str) -> None:
        """Keep why a person took this host out of service in Consul; empty: nobody did."""
        self._write("INSERT OR REPLACE INTO setting VALUES (?,?)", (_MAINTENANCE, reason))

    def answer(self, request: str, body: dict[str, Any]) -> None:
        """Keep what a check found, for whoever asked; it is no part of the history."""
        self._write("INSERT INTO answer (id, body) VALUES (?,?)", (request, json.dumps(body)))
        self._write("DELETE FROM answer WHERE seq <= (SELECT max(seq) FROM answer) - ?", (_KEPT_ANSWERS,))

    def keep_report(self, body: dict[str, Any]) -> None:
        """Keep a report until it is sent."""
        self._write("INSERT INTO report (body) VALUES (?)", (json.dumps(body),))

    def forget_report(self, seq: int) -> None:
        """Forget a report that was sent."""
        self._write("DELETE FROM report WHERE seq = ?", (seq,))

    # Reading

    def unfinished(self) -> list[Open]:
        """Return the deployments that never ended, oldest first."""
        rows = self._read(
            "SELECT id, action, trigger, revision, release, commits, previous, stage, kind FROM deployment"
            " WHERE outcome IS NULL ORDER BY seq"
        )
        return [_open(row) for row in rows]

    def line(self) -> list[str]:
        """Return the releases one can go back along: oldest first, what is live last.

        A deployment adds to its end, a rollback goes back along it; failed ones never were on it.
        """
        line: list[str] = []
        query = "SELECT action, release FROM deployment WHERE outcome IN (?, ?) AND release IS NOT NULL ORDER BY seq"
        for action, release in self._read(query, (Outcome.DEPLOYED, Outcome.UNCHANGED)):
            if action == Action.ROLLBACK and release in line:
                del line[len(line) - line[::-1].index(release) :]
            elif not line or line[-1] != release:
                line.append(release)
        return line

    def live_at(self, moment: float) -> str | None:
        """Return the release that was live at a time (seconds since 1970)."""
        query = "SELECT release FROM publication WHERE moment <= ? ORDER BY seq DESC LIMIT 1"
        rows = self._read(query, (moment + _START_TOLERANCE,))
        return rows[0][0] if rows else None

    def deployed_commits(self, tag: str) -> dict[str, str] | None:
        """Return the commits that a tag named when it was last published, or None where it never was."""
        query = (
            "SELECT commits FROM deployment WHERE (published OR outcome = ?) AND revision = ? AND action = ?"
            " AND (kind = ? OR kind IS NULL)"
            " ORDER BY seq DESC LIMIT 1"
        )
        rows = self._read(query, (Outcome.UNCHANGED, tag, Action.DEPLOY, Kind.TAG))
        return json.loads(rows[0][0]) if rows else None

    def was_tried(self, commits: dict[str, str]) -> bool:
        """Whether these commits were deployed before, however that ended."""
        query = "SELECT 1 FROM deployment WHERE action = ? AND commits = ? LIMIT 1"
        return bool(self._read(query, (Action.DEPLOY, json.dumps(commits))))

    def last_publication(self) -> tuple[str, str] | None:
        """Return the release and the action of the newest run that ended with its release live."""
        query = "SELECT release, action FROM deployment WHERE outcome = ? ORDER BY seq DESC LIMIT 1"
        rows = self._read(query, (Outcome.DEPLOYED,))
        return (rows[0][0], rows[0][1]) if rows else None

    def last_trigger(self) -> str:
        """Return what fired the newest run that ended with its release live; empty where none did."""
        rows = self._read("SELECT trigger FROM deployment WHERE outcome = ? ORDER BY seq DESC LIMIT 1", (Outcome.DEPLOYED,))
        return str(rows[0][0]) if rows else ""

    def last_number(self) -> int:
        """Return the highest release number ever given, 0 for none."""
        rows = self._read("SELECT release FROM deployment WHERE release IS NOT NULL")
        return max((int(row[0].split("-")[0]) for row in rows), default=0)

    def pinned(self) -> str | None:
        """Return what ``pin`` set."""
        rows = self._read("SELECT value FROM setting WHERE name = ?", (_PIN,))
        return rows[0][0] if rows else None

    def running(self) -> tuple[str, str | None] | None:
        """Return the id and phase of the newest deployment that has not ended; it may have been killed."""
        rows = self._read("SELECT id, phase FROM deployment WHERE outcome IS NULL ORDER BY seq DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else None

    def stage_of(self, deployment: str) -> Stage | None:
        """Return how far an open deployment got."""
        rows = self._read("SELECT stage FROM deployment WHERE id = ?", (deployment,))
        return Stage(rows[0][0]) if rows else None

    def history(self, limit: int = -1) -> list[dict[str, Any]]:
        """Return records as ``deploy --json`` prints them, with ``trigger`` and ``started_at``, newest first."""
        rows = self._read(_HISTORY + " ORDER BY seq DESC LIMIT ?", (limit,))
        return [_history_entry(row) for row in rows]

    def action_of(self, deployment: str) -> str:
        """Return what a deployment did."""
        rows = self._read("SELECT action FROM deployment WHERE id = ?", (deployment,))
        return str(rows[0][0]) if rows else ""

    def hooks_of(self, deployment: str) -> list[HookRun]:
        """Return how a deployment's hooks went, in order."""
        rows = self._read("SELECT stage, run, ended, output FROM hook WHERE deployment = ? ORDER BY seq", (deployment,))
        return [HookRun(*row) for row in rows]

    def reports(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the reports not sent yet, oldest first."""
        return [(seq, json.loads(body)) for seq, body in self._read("SELECT seq, body FROM report ORDER BY seq")]

    def last_found(self) -> dict[str, str] | None:
        """Return ``{"health", "problems", "at"}`` as found() kept it."""
        rows = self._read("SELECT value FROM setting WHERE name = ?", (_HEALTH,))
        return json.loads(rows[0][0]) if rows else None

    def maintenance(self) -> str:
        """Return why a person took this host out of service in Consul; empty: nobody did."""
        rows = self._read("SELECT value FROM setting WHERE name = ?", (_MAINTENANCE,))
        return str(rows[0][0]) if rows else ""

    def answer_to(self, request: str) -> dict[str, Any] | None:
        """Return what a check found."""
        rows = self._read("SELECT body FROM answer WHERE id = ?", (request,))
        return json.loads(rows[0][0]) if rows else None

    def entry(self, deployment: str) -> dict[str, Any] | None:
        """Return one deployment as history() shapes it."""
        rows = self._read(_HISTORY + " WHERE id = ?", (deployment,))
        return _history_entry(rows[0]) if rows else None

    def totals(self) -> list[tuple[str, str, str, int]]:
        """Return how many runs ended, by action, outcome and trigger."""
        return self._read("SELECT action, outcome, trigger, count(*) FROM deployment WHERE outcome IS NOT NULL GROUP BY 1, 2, 3")

    def phase_times(self, bounds: Sequence[float]) -> list[tuple[str, float, list[int]]]:
        """Return each phase's seconds in all, and how many took up to each of the bounds, and any time."""
        seconds = "json_extract(phase.value, '$.seconds')"
        within = "".join(f", total({seconds} <= {float(bound)})" for bound in bounds)
        rows = self._read(
            f"SELECT json_extract(phase.value, '$.name'), sum({seconds}) {within}, count(*)"  # noqa: S608 - numbers
            " FROM deployment, json_each(record, '$.phases') AS phase WHERE outcome IS NOT NULL GROUP BY 1"
        )
        return [(name, total, [int(count) for count in counts]) for name, total, *counts in rows]

    def last_ended(self) -> tuple[str, float] | None:
        """Return when the newest run that has ended began, and how many seconds it took."""
        rows = self._read(
            "SELECT started_at, json_extract(record, '$.seconds') FROM deployment"
            " WHERE outcome IS NOT NULL ORDER BY seq DESC LIMIT 1"
        )
        return (rows[0][0], float(rows[0][1] or 0)) if rows else None

    def is_empty(self) -> bool:
        """Whether nothing was ever journaled here."""
        return not self._read("SELECT 1 FROM deployment LIMIT 1")

    # Rebuilding

    def rebuild(self, releases: Sequence[Release], current: str | None) -> None:
        """Fill an empty journal from what lies on disk, whole or not at all.

        What is live was deployed after what it replaced, and so on back. Others
        of a lower number came before all of these; those of a higher one were
        live too, and what is live was gone back to.
        """
        known = {release.name: release for release in releases if release.published_at and release.state is not State.BUILT}
        live = known.get(current or "")
        chain: list[Release] = []
        link = live
        while link and link not in chain:
            chain.insert(0, link)
            link = known.get(link.previous or "")
        others = [release for release in known.values() if release not in chain]
        higher = [release for release in others if live and release.number > live.number]
        lower = [release for release in others if release not in higher]
        with _explained(self._path):
            self._db.execute("BEGIN")
        for release in [*lower, *chain, *higher]:
            self._insert_rebuilt(release, Action.DEPLOY)
        if live and higher and live.state is State.HEALTHY:
            self._insert_rebuilt(live, Action.ROLLBACK)
        with _explained(self._path):
            self._db.execute("COMMIT")

    def _insert_rebuilt(self, release: Release, action: Action) -> None:
        healthy = release.state is State.HEALTHY
        outcome = str(Outcome.DEPLOYED) if healthy else "rolled-back"
        suffix = "" if action is Action.DEPLOY else "-live"
        request = Request(f"rebuilt-{release.name}{suffix}", action, release.revision, trigger="rebuilt")
        record = Record(request.id, outcome, release.name, release.revision, release.commits, release.previous)
        self.open(request, release.published_at or release.created_at)
        self.stage(request.id, Stage.PUBLISHING, record)
        self.close(record, release.kind)
        moment = datetime.fromisoformat(release.published_at or release.created_at)
        self.published(release.name, moment.timestamp())

    def _write(self, query: str, values: tuple[object, ...]) -> None:
        with _explained(self._path):
            self._db.execute(query, values)

    def _read(self, query: str, values: tuple[object, ...] = ()) -> list[Any]:
        with _explained(self._path):
            return self._db.execute(query, values).fetchall()


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


def _open(row: tuple[Any, ...]) -> Open:
    identity, action, trigger, revision, release, commits, previous, stage, kind = row
    request = Request(identity, Action(action), revision or "", release or "", trigger=trigger)
    record = Record(identity, None, release, revision, json.loads(commits), previous)
    return Open(request, Stage(stage), record, Kind(kind) if kind else None)


def _history_entry(row: tuple[Any, ...]) -> dict[str, Any]:
    identity, trigger, started_at, record, revision, release, commits, previous = row
    entry = (
        json.loads(record)
        if record
        else Record(identity, None, release, revision or None, json.loads(commits), previous).to_json()
    )
    return {**entry, "trigger": trigger, "started_at": started_at}


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    try:
        yield
    except (sqlite3.Error, OSError) as error:
        if getattr(error, "sqlite_errorcode", None) == sqlite3.SQLITE_FULL:
            raise Failed(Code.DISK_FULL, f"no room for the journal {path}", hint="make room, or lower [app] keep") from error
        raise Failed(
            Code.JOURNAL_BROKEN,
            f"the journal {path} cannot be used: {error}",
            hint="run as the agent's user, who owns [app] root; if it is broken: `release-agent doctor --repair`",
        ) from error
