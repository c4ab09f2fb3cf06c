"""The record of rollouts in a file of this user: any process of the user on this machine may continue a rollout."""

from __future__ import annotations

import json
import os
import sqlite3
from contextlib import contextmanager, suppress
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, LockLost, RecordUnreachable
from release_agent.model import Completed, Freeze, timestamp
from release_agent.rollout.model import Holder, Order, Phase, Rollout, who_am_i
from release_agent.rollout.record.file_lock import FileLock, FileLocks
from release_agent.rollout.record.port import SHOWN, locked, most_kept, refuse_if_frozen, unknown
from release_agent.system.sqlite import closed_on_error, connect_writing, migrate, refuse_special, transaction
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from release_agent.rollout.model import Host

_PATIENCE = 10.0  # seconds to wait for another's commit
# One string for each migration: see migrate().
_MIGRATIONS = (
    """
CREATE TABLE rollout (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, app TEXT NOT NULL, environment TEXT NOT NULL,
    plan TEXT NOT NULL);
CREATE TABLE host (rollout TEXT NOT NULL, name TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (rollout, name)) WITHOUT ROWID;
CREATE TABLE completed (app TEXT NOT NULL, environment TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (app, environment));
CREATE TABLE wish (rollout TEXT PRIMARY KEY, body TEXT NOT NULL);
""",
    """
CREATE TABLE waiting (seq INTEGER PRIMARY KEY, id TEXT NOT NULL UNIQUE, rollout TEXT NOT NULL, body TEXT NOT NULL);
INSERT INTO waiting (id, rollout, body) SELECT rollout, rollout, json_set(body, '$.id', rollout) FROM wish;
DROP TABLE wish
""",
    "CREATE TABLE frozen (app TEXT NOT NULL, environment TEXT NOT NULL, body TEXT NOT NULL, PRIMARY KEY (app, environment))",
)

# Errors from JSON that a person wrote.
_NO_ROLLOUT = (ValueError, LookupError, TypeError, AttributeError, OverflowError, RecursionError)


def default_path(environ: Mapping[str, str] = os.environ) -> Path:
    """Return ``release-agent/rollouts.db`` in ``$XDG_STATE_HOME``, or in ``~/.local/state``; raises RecordUnreachable."""
    given = environ.get(Variable.XDG_STATE_HOME, "")
    # The standard says to ignore relative paths.
    state = Path(given) if given.startswith("/") else _home() / ".local" / "state"
    return state / "release-agent" / "rollouts.db"


def _home() -> Path:
    try:
        return Path.home()
    except RuntimeError as error:
        raise RecordUnreachable(
            Code.RECORD_UNREACHABLE,
            f"this user ({os.getuid()}) has no home directory for the record of rollouts",
            hint=f"set {Variable.XDG_STATE_HOME} to a directory that this user may write, or use --consul",
        ) from error


class FileRolloutStore:
    """The record in one SQLite file, with a lock file for each fleet beside it; implements the port."""

    def __init__(self, path: Path) -> None:
        """Open the file, or make it only for this user; raises RecordUnreachable."""
        self.path = path
        self._locks: FileLocks | None = None
        self._id = ""  # the id of the rollout whose lock is held
        with self._explained():
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            refuse_special(path)
            os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
            # The operator's thread for the record is not the thread that opened the file.
            self._db = connect_writing(path, _PATIENCE, any_thread=True)
            with closed_on_error(self._db):
                migrate(self._db, _MIGRATIONS)

    @property
    def arguments(self) -> list[str]:
        """None, because a command uses the file by default."""
        return []

    def begin(self, rollout: Rollout) -> None:
        """Take the locks of its fleets and write down the whole plan; raises Locked, Refused (frozen)."""
        with self._taking(rollout, Holder(rollout.id, rollout.who, rollout.revision, rollout.started_at)), transaction(self._db):
            refuse_if_frozen(self, rollout.fleets, rollout.options)
            for left in self._plans("WHERE environment = ?", (rollout.environment,)):
                if not left.has_ended and set(left.fleets) & set(rollout.fleets):
                    left.enter(Phase.SUPERSEDED, f"rollout {rollout.id} was started")
                    self._write_plan(left)
            values = (rollout.id, rollout.apps, rollout.environment, json.dumps(rollout.to_json()))
            self._db.execute("INSERT INTO rollout (id, app, environment, plan) VALUES (?,?,?,?)", values)
            self._write_hosts(list(rollout.hosts.values()))
            self._forget_old(rollout)

    def _forget_old(self, newest: Rollout) -> None:
        """Forget the rollouts that share a fleet with this one and are old in each of their own fleets."""
        plans = self._plans("WHERE environment = ? ORDER BY seq DESC", (newest.environment,))
        sizes = dict(self._db.execute("SELECT rollout, count(*) FROM host GROUP BY rollout").fetchall())
        kept: set[str] = set()
        for fleet in {fleet for plan in plans for fleet in plan.fleets}:
            of_fleet = [plan.id for plan in plans if fleet in plan.fleets]
            kept.update(of_fleet[: most_kept([sizes.get(identity, 0) for identity in of_fleet])])
        old = [(plan.id,) for plan in plans if plan.id not in kept and set(plan.fleets) & set(newest.fleets)]
        for table, column in (("host", "rollout"), ("waiting", "rollout"), ("rollout", "id")):
            self._db.executemany(f"DELETE FROM {table} WHERE {column} = ?", old)  # noqa: S608 - names from above

    def take(self, identity: str) -> Rollout:
        """Take the locks to continue a rollout; raises Locked, NoTarget."""
        rollout = self._known(identity)
        with self._taking(rollout, Holder(identity, who_am_i(), rollout.revision, timestamp())):
            return self.read(identity)

    def read(self, identity: str) -> Rollout:
        """Return a rollout as it is now; raises NoTarget."""
        rollout = self._known(identity)
        with self._explained():
            rows = self._db.execute("SELECT body FROM host WHERE rollout = ?", (identity,)).fetchall()
            return Rollout.from_json(rollout.to_json(), [json.loads(body) for (body,) in rows])

    def all(self) -> list[Rollout]:
        """Return the rollouts of all fleets, newest first, without their hosts."""
        with self._explained():
            return self._plans("ORDER BY id DESC LIMIT ?", (SHOWN,))

    def newest(self, _fleets: Sequence[tuple[str, str]]) -> str:
        """Return the last id of all fleets, in the order of ids."""
        with self._explained():
            return str(self._db.execute("SELECT coalesce(max(id), '') FROM rollout").fetchone()[0])

    def holder(self, app: str, environment: str) -> Holder | None:
        """Return the current holder of a fleet's lock."""
        with self._explained():
            return self._lock_of(app, environment).holder()

    def running(self, rollout: Rollout) -> bool:
        """Return whether a process holds the locks for this rollout now."""
        holder = self.holder(*rollout.fleets[0])
        return holder is not None and holder.id == rollout.id

    def reported(self, _rollout: Rollout, _hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
        """Return nothing: hosts do not know this file."""
        return {}

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        """Write down hosts; raises LockLost if the lock is not held."""
        self._held()
        with self._explained(), transaction(self._db):
            self._write_hosts(hosts)

    def save(self, rollout: Rollout) -> None:
        """Write down everything except the hosts; raises LockLost if the lock is not held."""
        self._held()
        with self._explained():
            self._write_plan(rollout)

    def follow(self, app: str, environment: str, completed: Completed | None) -> None:
        """Set the revision for a fleet; raises LockLost if the lock is not held."""
        self._held()
        fleet = (app, environment)
        with self._explained():
            if completed:
                values = (*fleet, json.dumps(asdict(completed)))
                self._db.execute("INSERT OR REPLACE INTO completed (app, environment, body) VALUES (?,?,?)", values)
            else:
                self._db.execute("DELETE FROM completed WHERE app = ? AND environment = ?", fleet)

    def completed(self, app: str, environment: str) -> Completed | None:
        """Return the fleet's last completed rollout."""
        query = "SELECT body FROM completed WHERE app = ? AND environment = ?"
        with self._explained():
            row = self._db.execute(query, (app, environment)).fetchone()
            return Completed.from_json(json.loads(row[0])) if row else None

    def freeze(self, app: str, environment: str, frozen: Freeze | None) -> None:
        """Freeze the rollouts of a fleet from now on; None: end the freeze."""
        fleet = (app, environment)
        with self._explained():
            if frozen:
                values = (*fleet, json.dumps(frozen.to_json()))
                self._db.execute("INSERT OR REPLACE INTO frozen (app, environment, body) VALUES (?,?,?)", values)
            else:
                self._db.execute("DELETE FROM frozen WHERE app = ? AND environment = ?", fleet)

    def frozen(self, app: str, environment: str) -> Freeze | None:
        """Return the current freeze of a fleet."""
        query = "SELECT body FROM frozen WHERE app = ? AND environment = ?"
        with self._explained():
            row = self._db.execute(query, (app, environment)).fetchone()
            frozen = Freeze.from_json(json.loads(row[0])) if row else None
        return None if frozen is None or frozen.is_over else frozen

    def renew(self) -> None:
        """Do nothing: the kernel keeps the lock as long as this process lives."""
        self._held()

    def order(self, identity: str, order: Order) -> None:
        """Queue an order for the rollout's operator; raises NoTarget."""
        self._known(identity)
        values = (order.id, identity, json.dumps(asdict(order)))
        with self._explained():
            self._db.execute("INSERT INTO waiting (id, rollout, body) VALUES (?,?,?)", values)

    def waiting(self, identity: str) -> list[Order]:
        """Return the orders that no operator of the rollout has acknowledged, oldest first."""
        with self._explained():
            rows = self._db.execute("SELECT body FROM waiting WHERE rollout = ? ORDER BY seq", (identity,)).fetchall()
        orders: list[Order] = []
        for (body,) in rows:
            with suppress(*_NO_ROLLOUT):  # such an order must not hide an abort
                orders.append(Order.from_json(json.loads(body)))
        return orders

    def acknowledge(self, order: Order) -> None:
        """Remove an obeyed order; raises LockLost if the lock is not held."""
        self._held()
        with self._explained():
            self._db.execute("DELETE FROM waiting WHERE rollout = ? AND id = ?", (self._id, order.id))

    def release(self) -> None:
        """Release the locks."""
        if self._locks:
            self._locks.release()
        self._locks, self._id = None, ""

    @contextmanager
    def _taking(self, rollout: Rollout, holder: Holder) -> Iterator[None]:
        """Take the locks, and release them if the block fails."""
        locks = FileLocks([self._lock_of(*fleet) for fleet in rollout.fleets])
        with self._explained():
            others = locks.acquire(holder)
            if others:
                raise locked(*others.fleet, others.holder())
            self._locks, self._id = locks, rollout.id
            try:
                yield
            except BaseException:
                self.release()
                raise

    def _held(self) -> None:
        if self._locks is None:
            raise LockLost(Code.LOCK_LOST, "the fleet's lock is not held", hint="report this bug")

    def _lock_of(self, app: str, environment: str) -> FileLock:
        return FileLock(self.path.parent, app, environment)

    # Rows

    def _write_plan(self, rollout: Rollout) -> None:
        self._db.execute("UPDATE rollout SET plan = ? WHERE id = ?", (json.dumps(rollout.to_json()), rollout.id))

    def _write_hosts(self, hosts: Sequence[Host]) -> None:
        rows = [(self._id, host.name, json.dumps(host.to_json())) for host in hosts]
        self._db.executemany("INSERT OR REPLACE INTO host (rollout, name, body) VALUES (?,?,?)", rows)

    def _plans(self, which: str, values: tuple[Any, ...]) -> list[Rollout]:
        rows = self._db.execute(f"SELECT id, plan FROM rollout {which}", values).fetchall()  # noqa: S608 - a clause from here
        return [_listed(identity, plan) for identity, plan in rows]

    def _known(self, identity: str) -> Rollout:
        with self._explained():
            row = self._db.execute("SELECT plan FROM rollout WHERE id = ?", (identity,)).fetchone()
            if row is None:
                raise unknown(identity)
            return Rollout.from_json(json.loads(row[0]), [])

    @contextmanager
    def _explained(self) -> Iterator[None]:
        try:
            yield
        except (sqlite3.Error, OSError, *_NO_ROLLOUT) as error:
            raise RecordUnreachable(
                Code.RECORD_UNREACHABLE,
                f"the record of rollouts {self.path} cannot be used: {error}",
                hint="let this user write the file, free disk space, remove it if it is not a file, or set XDG_STATE_HOME",
            ) from error


def _listed(identity: str, plan: str) -> Rollout:
    try:
        return Rollout.from_json(json.loads(plan), [])
    except _NO_ROLLOUT as error:
        return Rollout.unreadable(identity, f"cannot read its plan: {error!r:.200}")
