"""A fleet's lock in Consul: a key held by a session, and writes that are done while it is held or not at all."""

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
    from collections.abc import Sequence

    from release_agent.consul.kv import Entry, KeyValueStore

_TRIES = 3


class FleetLock:
    """The lock of one fleet. The key's value says who holds it, or held it last."""

    def __init__(self, kv: KeyValueStore, key: str, app: str, environment: str) -> None:
        """``key`` is the lock's; app and environment name the fleet in errors."""
        self._kv = kv
        self._key = key
        self._fleet = (app, environment)
        self._holder: Holder | None = None
        self._session = ""
        self._locks = 0  # how often the key had been a lock when it became ours
        self._renewed = 0.0

    @property
    def fleet(self) -> tuple[str, str]:
        """App and environment."""
        return self._fleet

    def holder(self) -> Holder | None:
        """Return who holds it at this moment."""
        entry = self._kv.get(self._key)
        return _holder(entry) if entry and entry.session else None

    def acquire(self, holder: Holder) -> None:
        """Take it; raises Locked."""
        for _ in range(_TRIES):
            if self._took([self._locking(holder)]):
                self._holder = holder
                return
            other = self.holder()
            if other:
                raise locked(*self._fleet, other)
        raise RecordUnreachable(
            Code.RECORD_UNREACHABLE, f"Consul does not hand out the lock {self._key}, though nobody holds it", hint="try again"
        )

    def renew(self) -> None:
        """Keep it for another TTL. Where the session is gone and nobody had the lock since, take it again; raises LockLost."""
        if not self._holder:
            raise self._lost()
        if self._kv.renew_session(self._session):
            self._renewed = time.monotonic()
            return
        entry = self._kv.get(self._key)
        if entry is None or entry.locks != self._locks:
            raise self._lost()
        # Nobody had it when it was read; the first operation says that nobody had it since.
        unchanged = {"Verb": "check-index", "Key": self._key, "Index": entry.version}
        if not self._took([unchanged, self._locking(self._holder)]):
            raise self._lost()

    def write(self, operations: Sequence[dict[str, Any]]) -> None:
        """Do them, in transactions that are done only while the lock is held; raises LockLost."""
        for batch in batches(operations, MOST_OPERATIONS - 1):
            if time.monotonic() - self._renewed > TTL / 3:  # so many hosts that writing them takes a while
                self.renew()
            held = {"Verb": "check-session", "Key": self._key, "Session": self._session}
            try:
                self._kv.transact([held, *batch])
            except Conflict as conflict:
                raise self._lost() from conflict

    def release(self) -> None:
        """Let go of it; where Consul cannot be told, the session lapses."""
        session, self._session, self._holder = self._session, "", None
        if session:
            with suppress(RecordUnreachable):
                self._kv.close_session(session)

    def _took(self, operations: list[dict[str, Any]]) -> bool:
        session = self._kv.open_session(f"release-agent rollout {'/'.join(self._fleet)}")
        operations[-1]["Session"] = session
        try:
            entry = self._kv.transact(operations)[-1]
        except BaseException as error:
            with suppress(RecordUnreachable):
                self._kv.close_session(session)
            if isinstance(error, Conflict):
                return False
            raise
        self._session, self._locks, self._renewed = session, entry.locks, time.monotonic()
        return True

    def _locking(self, holder: Holder) -> dict[str, Any]:
        return {"Verb": "lock", "Key": self._key, "Value": encoded(json.dumps(asdict(holder)))}

    def _lost(self) -> Exception:
        return lock_lost(*self._fleet, self.holder())


def _holder(entry: Entry) -> Holder:
    try:
        return Holder.from_json(json.loads(entry.text))
    except OTHER_SHAPE:  # written by hand
        return Holder("?", "somebody", "?", "?")
