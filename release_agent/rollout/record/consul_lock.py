"""Locks of fleets in Consul: keys held by one session, and writes that happen only while it holds all of them."""

from __future__ import annotations

import json
import time
from contextlib import suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

from release_agent.consul.kv import MOST_OPERATIONS, OTHER_SHAPE, TTL, Conflict, batches, encoded
from release_agent.errors import Code, RecordUnreachable
from release_agent.rollout.model import Holder
from release_agent.rollout.record.port import lock_lost, locked

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.consul.kv import KeyValueStore

_TRIES = 3


class FleetLocks:
    """The locks of the fleets of one rollout, all of them or none. A key's value names its current or last holder."""

    def __init__(self, kv: KeyValueStore, keys: Mapping[str, tuple[str, str]]) -> None:
        """``keys``: app and environment by the lock's key, in the common order of all processes."""
        self._kv = kv
        self._keys = keys
        self._holder: Holder | None = None
        self._session = ""
        self._locks: dict[str, int] = {}  # the lock count of each key when this process took the lock
        self._renewed = 0.0

    def acquire(self, holder: Holder) -> None:
        """Take the locks; raises Locked."""
        for _ in range(_TRIES):
            if self._took([], holder):
                self._holder = holder
                return
            for key, fleet in self._keys.items():
                other = holder_of(self._kv, key)
                if other:
                    raise locked(*fleet, other)
        raise RecordUnreachable(
            Code.RECORD_UNREACHABLE,
            f"Consul does not give the lock {', '.join(self._keys)}, although nobody holds it",
            hint="run the command again",
        )

    def renew(self) -> None:
        """Keep the locks for another TTL. If the session is gone and no lock was taken, take them again; raises LockLost."""
        if not self._holder:
            raise self._lost()
        if self._kv.renew_session(self._session):
            self._renewed = time.monotonic()
            return
        unchanged = []
        for key, locks in self._locks.items():
            entry = self._kv.get(key)
            if entry is None or entry.locks != locks:
                raise self._lost()
            # The lock was free at the read; this operation checks that it has been free since then.
            unchanged.append({"Verb": "check-index", "Key": key, "Index": entry.version})
        if not self._took(unchanged, self._holder):
            raise self._lost()

    def write(self, operations: Sequence[dict[str, Any]]) -> None:
        """Do the operations, in transactions that succeed only while the locks are held; raises LockLost."""
        for batch in batches(operations, MOST_OPERATIONS - len(self._keys)):
            if time.monotonic() - self._renewed > TTL / 3:  # the write of many hosts takes a while
                self.renew()
            held = [{"Verb": "check-session", "Key": key, "Session": self._session} for key in self._keys]
            try:
                self._kv.transact([*held, *batch])
            except Conflict as conflict:
                raise self._lost() from conflict

    def release(self) -> None:
        """Release the locks, best effort; otherwise the session expires on its own."""
        session, self._session, self._holder = self._session, "", None
        if session:
            with suppress(RecordUnreachable):
                self._kv.close_session(session)

    def _took(self, checks: list[dict[str, Any]], holder: Holder) -> bool:
        """Take all locks in one transaction, if the checks pass; returns False if it failed."""
        session = self._kv.open_session(f"release-agent rollout {' '.join(map('/'.join, self._keys.values()))}")
        value = encoded(json.dumps(asdict(holder)))
        locking = [{"Verb": "lock", "Key": key, "Value": value, "Session": session} for key in self._keys]
        try:
            entries = self._kv.transact([*checks, *locking])[-len(locking) :]
        except BaseException as error:
            with suppress(RecordUnreachable):
                self._kv.close_session(session)
            if isinstance(error, Conflict):
                return False
            raise
        self._session, self._locks, self._renewed = session, {entry.key: entry.locks for entry in entries}, time.monotonic()
        return True

    def _lost(self) -> Exception:
        held = {key: holder_of(self._kv, key) for key in self._keys}
        lost = [key for key, holder in held.items() if holder != self._holder] or list(held)
        key = next((key for key in lost if held[key]), lost[0])  # somebody else has it
        return lock_lost(*self._keys[key], held[key])


def holder_of(kv: KeyValueStore, key: str) -> Holder | None:
    """Return the current holder of a fleet's lock."""
    entry = kv.get(key)
    if not entry or not entry.session:
        return None
    try:
        return Holder.from_json(json.loads(entry.text))
    except OTHER_SHAPE:  # written by hand
        return Holder("?", "somebody", "?", "?")
