"""The journal: finished and open deployments, and the live release over time."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.errors import Cancelled, Code, Failed
from release_agent.journal.notes import Notes
from release_agent.members import known_member
from release_agent.model import (
    Action,
    Deployed,
    Kind,
    Outcome,
    Record,
    Request,
    Stage,
    Trigger,
    UnfinishedDeployment,
    release_number,
)

if TYPE_CHECKING:
    from collections.abc import Sequence

# A process that a restart started may seem to have started up to a
# second before the publication: /proc/stat gives the boot time in whole seconds.
_START_TOLERANCE = 1.0
_MOST_UNDONE = 3  # runs with the same aim that ended with their container
_UNDONE = ((Cancelled.outcome, Code.INTERRUPTED), (Failed.outcome, Code.SUPERVISOR_UNREACHABLE))
_HISTORY = "SELECT id, action, trigger, started_at, record, revision, release, commits, previous FROM deployment"


@dataclass(frozen=True)
class HookRun:
    """One run of a hook: its stage, its command, its end and its last output."""

    stage: str
    run: str
    ended: str
    output: str


class StateDatabase(Notes):
    """The journal of one root, in ``state.db``."""

    # Writing

    def begin(self, request: Request, started_at: str) -> None:
        """Write down the start of a deployment; ``started_at`` is RFC 3339."""
        asked = Record.of(request).to_json()
        self.write(
            "INSERT INTO deployment (id, action, trigger, revision, started_at, stage, record) VALUES (?,?,?,?,?,?,?)",
            (request.id, request.action, request.trigger, request.revision, started_at, Stage.PREPARING, json.dumps(asked)),
        )

    def phase(self, name: str, record: Record) -> None:
        """Note the phase of a deployment, and its record so far."""
        self._update(record, phase=name, record=json.dumps(record.to_json()))

    def stage(self, stage: Stage, record: Record) -> None:
        """Note, durable, that a deployment publishes or reverts: then recovery finishes a killed run instead of undoing it."""
        # The column `published` is for an older agent beside this one.
        self._update(record, stage=stage, published=1)

    def end(self, record: Record, kind: Kind | None) -> None:
        """Write down the end of a deployment; may be called again with more facts."""
        self._update(record, outcome=record.outcome, kind=kind, record=json.dumps(record.to_json()))

    def _update(self, known: Record, /, **columns: str | int | None) -> None:
        columns |= {"release": known.release, "revision": known.revision, "previous": known.previous}
        columns["commits"] = json.dumps(known.commits)
        assignments = ", ".join(f"{name} = ?" for name in columns)
        self.write(f"UPDATE deployment SET {assignments} WHERE id = ?", (*columns.values(), known.id))  # noqa: S608 - names

    def published(self, release: str, moment: float) -> None:
        """Note the live release from a moment on (seconds since 1970)."""
        self.write("INSERT INTO publication (moment, release) VALUES (?,?)", (moment, release))

    def hook(self, deployment: str, stage: str, run: str, ended: str, output: str) -> None:
        """Keep a hook's last output."""
        self.write(
            "INSERT INTO hook (deployment, stage, run, ended, output) VALUES (?,?,?,?,?)", (deployment, stage, run, ended, output)
        )

    # Deployments that have not ended; one of them may have been killed

    def unfinished(self) -> list[UnfinishedDeployment]:
        """Return the unfinished deployments, oldest first."""
        rows = self.read(
            "SELECT id, action, trigger, revision, release, commits, previous, stage, kind, record FROM deployment"
            " WHERE outcome IS NULL ORDER BY seq"
        )
        return [_unfinished(row) for row in rows]

    def running(self) -> tuple[str, str | None] | None:
        """Return the id and phase of the newest deployment that has not ended."""
        rows = self.read("SELECT id, phase FROM deployment WHERE outcome IS NULL ORDER BY seq DESC LIMIT 1")
        return (rows[0][0], rows[0][1]) if rows else None

    def stage_of(self, deployment: str) -> Stage | None:
        """Return the stage of a deployment."""
        rows = self.read("SELECT stage FROM deployment WHERE id = ?", (deployment,))
        return _stage(rows[0][0]) if rows else None

    # The live releases of the past, which decide the next steps

    def line(self) -> list[str]:
        """Return the line of releases for rollbacks: oldest first, the live one last.

        A deployment adds to its end, a rollback goes back along it. Failed releases are not on it, except one that stayed live
        until a deployment replaced it: its services may have become healthy after its own run.
        """
        line: list[str] = []
        query = "SELECT action, release, previous FROM deployment WHERE outcome IN (?, ?) AND release IS NOT NULL ORDER BY seq"
        for action, release, previous in self.read(query, (Outcome.DEPLOYED, Outcome.UNCHANGED)):
            if action == Action.ROLLBACK and release in line:
                del line[len(line) - line[::-1].index(release) :]
            else:
                line += [name for name in (previous, release) if name]
        return [name for name, _ in groupby(line)]

    def live_at(self, moment: float) -> str | None:
        """Return the release that was live at a time (seconds since 1970)."""
        query = "SELECT release FROM publication WHERE moment <= ? ORDER BY seq DESC LIMIT 1"
        rows = self.read(query, (moment + _START_TOLERANCE,))
        return rows[0][0] if rows else None

    def last_deployed(self) -> Deployed | None:
        """Return the newest run that made its release live; a run without changes does not count."""
        query = "SELECT release, action, trigger FROM deployment WHERE outcome = ? ORDER BY seq DESC LIMIT 1"
        rows = self.read(query, (Outcome.DEPLOYED,))
        return Deployed(*rows[0]) if rows else None

    def deployed_commits(self, tag: str) -> dict[str, str] | None:
        """Return the commits that a tag named when it was last published, or None if it was never published."""
        query = (
            "SELECT commits FROM deployment WHERE (stage <> ? OR outcome = ?) AND revision = ? AND action = ?"
            " AND (kind = ? OR kind IS NULL)"
            " ORDER BY seq DESC LIMIT 1"
        )
        rows = self.read(query, (Stage.PREPARING, Outcome.UNCHANGED, tag, Action.DEPLOY, Kind.TAG))
        with self.understanding():
            return dict(json.loads(rows[0][0])) if rows else None

    def was_tried(self, commits: dict[str, str]) -> bool:
        """Return whether these commits were deployed before, with any outcome.

        A run that ended with its container before publishing counts only as one of several: the deployment itself may
        kill its container.
        """
        rows = self.read("SELECT record FROM deployment WHERE action = ? AND commits = ?", (Action.DEPLOY, json.dumps(commits)))
        with self.understanding():
            return bool(rows) and not _may_try_again(rows)

    def may_roll_back_again(self, since: str) -> bool:
        """Return whether the monitor's rollbacks since a publication all ended with their container, and none did its work.

        Without a record, the rollback was fired and perhaps still starts.
        """
        rows = self.read(
            "SELECT record FROM deployment WHERE action = ? AND trigger = ? AND started_at > ?",
            (Action.ROLLBACK, Trigger.WATCH, since),
        )
        with self.understanding():
            return bool(rows) and _may_try_again(rows)

    def last_number(self) -> int:
        """Return the highest release number ever used, 0 for none."""
        rows = self.read("SELECT release FROM deployment WHERE release IS NOT NULL")
        with self.understanding():
            return max((release_number(row[0]) for row in rows), default=0)

    # History

    def history(self, limit: int = -1) -> list[dict[str, Any]]:
        """Return records as ``deploy --json`` prints them, with ``action``, ``trigger`` and ``started_at``, newest first."""
        with self.understanding():
            return [_history_entry(row) for row in self.read(_HISTORY + " ORDER BY seq DESC LIMIT ?", (limit,))]

    def entry(self, deployment: str) -> dict[str, Any] | None:
        """Return one deployment in the shape of history()."""
        rows = self.read(_HISTORY + " WHERE id = ?", (deployment,))
        with self.understanding():
            return _history_entry(rows[0]) if rows else None

    def hooks_of(self, deployment: str) -> list[HookRun]:
        """Return the runs of a deployment's hooks, in order."""
        rows = self.read("SELECT stage, run, ended, output FROM hook WHERE deployment = ? ORDER BY seq", (deployment,))
        return [HookRun(*row) for row in rows]

    def require_understood(self) -> None:
        """Raise Failed (journal-broken) if a row has data that no agent wrote; reads all rows."""
        self.history()
        with self.understanding():
            self.unfinished()
            self.line()
            self.frozen()

    def is_empty(self) -> bool:
        """Return whether the journal has no runs."""
        return not self.read("SELECT 1 FROM deployment LIMIT 1")


def empty_journal() -> StateDatabase:
    """Make a journal in memory."""
    return StateDatabase(Path("/nonexistent/state.db"))


def _unfinished(row: tuple[Any, ...]) -> UnfinishedDeployment:
    """Make a deployment of a row of any agent's version."""
    identity, action, trigger, revision, release, commits, previous, stage, kind, told = row
    request = Request(identity, known_member(action, Action.DEPLOY), revision or "", release or "", trigger=trigger)
    last = Record.from_json(json.loads(told)) if told else Record(identity)
    request = replace(request, by=last.by)
    record = Record(identity, None, release, revision, _commits(commits), previous, signers=last.signers, by=last.by)
    return UnfinishedDeployment(request, _stage(stage), record, known_member(kind, Kind.COMMIT) if kind else None)


def _may_try_again(rows: Sequence[tuple[Any, ...]]) -> bool:
    """Return whether runs, given by their records, all ended with their container, and are few."""
    return all(_was_undone(told) for (told,) in rows) and len(rows) < _MOST_UNDONE


def _was_undone(told: str | None) -> bool:
    """Return whether a run was killed or lost its supervisor before publishing; a person has stopped any other cancelled run."""
    record = Record.from_json(json.loads(told)) if told else None
    return bool(record and record.error and (record.outcome, record.error.get("code")) in _UNDONE)


def _commits(text: str) -> dict[str, str]:
    """Read commits, or none if they are invalid, because recovery works without them."""
    try:
        read = json.loads(text)
    except (ValueError, TypeError, RecursionError):
        return {}
    return {str(name): str(commit) for name, commit in read.items()} if isinstance(read, dict) else {}


def _stage(stage: str) -> Stage:
    # For a stage that only a newer agent has: recovery then finishes the deployment if its release is live.
    return known_member(stage, Stage.PUBLISHING)


def _history_entry(row: tuple[Any, ...]) -> dict[str, Any]:
    identity, action, trigger, started_at, told, revision, release, commits, previous = row
    record = Record.from_json(json.loads(told)) if told else Record(identity)
    if record.outcome is None:  # the record has the facts from the start of its phase
        record = replace(record, release=release, revision=revision or None, commits=_commits(commits), previous=previous)
    return {**record.to_json(), "action": action, "trigger": trigger, "started_at": started_at}
