"""Consul's key-value store and its sessions, as the record of rollouts needs them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from release_agent.consul.client import ConsulError
from release_agent.errors import Code, RecordUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from release_agent.consul.client import ConsulClient

TTL = 15  # seconds that a session lives unless it is renewed; Consul may take twice as long to end it
MOST_OPERATIONS = 64  # Consul's limit for one transaction
MOST_BYTES = 400_000  # of the values of a transaction; Consul's limit is 512 KB of JSON
_CONFLICT = 409
_DENIED = "Permission denied"
T = TypeVar("T")


class Entry(NamedTuple):
    """A key: its text, the session that holds it as a lock, how often it was locked, and the index of its last change."""

    key: str
    text: str
    session: str | None
    locks: int
    version: int


class Conflict(Exception):
    """A transaction changed nothing, because the check of ``operation``, counted from 0, failed."""

    def __init__(self, operation: int, why: str) -> None:
        super().__init__(why)
        self.operation = operation


class Kv:
    """Keys, transactions and sessions; every method raises RecordUnreachable if Consul does not answer or refuses."""

    def __init__(self, client: ConsulClient) -> None:
        self._client = client

    def get(self, key: str) -> Entry | None:
        """Return a key, or None if it does not exist."""
        found = self._call(lambda consul: _entries([consul.kv.get(key)[1]]))
        return found[0] if found else None

    def tree(self, prefix: str) -> list[Entry]:
        """Return the keys under a prefix that the token may read; Consul does not say if there are others, get() does."""
        return self._call(lambda consul: _entries(consul.kv.get(prefix, recurse=True)[1] or ()))

    def folders(self, prefix: str) -> list[str]:
        """Return the part after ``prefix``, which ends with a slash, and before the next slash of every key under it."""
        found = self._call(lambda consul: consul.kv.get(prefix, keys=True, separator="/")[1])
        if not found:
            self.get(prefix)  # raises if the token may not read it; the list is empty in that case, too
        return [key.removeprefix(prefix).rstrip("/") for key in found or ()]

    def put(self, key: str, text: str) -> None:
        """Set a key, even if a session holds it."""
        if self._call(lambda consul: consul.kv.put(key, text)) is not True:  # py-consul does not raise for a 404
            raise _no_consul(key)

    def delete(self, entry: Entry) -> bool:
        """Remove a key; returns False if it has changed since it was read."""
        return bool(self._call(lambda consul: consul.kv.delete(entry.key, cas=entry.version)))

    def transact(self, operations: Sequence[dict[str, Any]]) -> list[Entry]:
        """Do all of the operations or none; returns the keys as they are afterwards. Raises Conflict."""
        body = json.dumps([{"KV": operation} for operation in operations])
        done = self._call(lambda consul: _Transacted.of(consul.http.put(_answered, "/v1/txn", data=body)))
        if done.error:
            index, why = done.error
            if _DENIED in why:
                raise _refused(operations[index]["Key"])
            raise Conflict(index, why)
        return done.entries

    def open_session(self, name: str) -> str:
        """Open a session of the local agent's node, which ends with the node or ``TTL`` after its renewal; returns its id."""
        # No lock delay, which protects a new holder from late writes of the old one: every write here is fenced by
        # the session instead, and the next holder need not wait.
        session = self._call(lambda consul: consul.session.create(name, behavior="release", ttl=TTL, lock_delay=0))
        if not isinstance(session, str):
            raise _no_consul(session)
        return session

    def renew_session(self, session: str) -> bool:
        """Extend a session by ``TTL``; returns False if it has ended."""
        import consul as library  # 120 ms, in the thread that talks to Consul

        try:
            self._client.call(lambda consul: consul.session.renew(session))
        except ConsulError as error:
            if isinstance(error.__cause__, library.NotFound):
                return False
            raise unreachable(error) from error
        return True

    def close_session(self, session: str) -> None:
        """End a session and release its locks."""
        self._call(lambda consul: consul.session.destroy(session))

    def _call(self, call: Callable[[Any], T]) -> T:
        try:
            return self._client.call(call)  # type: ignore[no-any-return]
        except ConsulError as error:
            raise unreachable(error) from error
        except (KeyError, IndexError, TypeError, AttributeError) as error:  # the answer has another shape
            raise _no_consul(error) from error


def written(key: str, body: Any) -> dict[str, Any]:
    """Make the operation that sets a key."""
    return {"Verb": "set", "Key": key, "Value": encoded(json.dumps(body))}


def encoded(text: str) -> str:
    """Encode a value for a transaction (base64)."""
    return base64.b64encode(text.encode()).decode()


def batches(operations: Sequence[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Split operations into transactions of at most ``most`` operations and MOST_BYTES."""
    batch: list[dict[str, Any]] = []
    size = 0
    for operation in operations:
        weight = len(operation.get("Value", ""))
        if batch and (len(batch) == most or size + weight > MOST_BYTES):
            yield batch
            batch, size = [], 0
        batch.append(operation)
        size += weight
    if batch:
        yield batch


def unreachable(error: ConsulError) -> RecordUnreachable:
    """Make the error for a Consul that does not answer or refuses the token."""
    return RecordUnreachable(
        Code.RECORD_UNREACHABLE,
        f"the record of rollouts in Consul cannot be used: {error}",
        hint="mend Consul, or the CONSUL_* variables (docs/consul.md has the rights that rollouts need); then go on: "
        "`release-agent rollout list`",
    )


def _refused(key: str) -> RecordUnreachable:
    return unreachable(ConsulError(f"Consul refused to write {key}; docs/consul.md has the policy that rollouts need"))


def _no_consul(what: object) -> RecordUnreachable:
    return unreachable(ConsulError(f"what answers is no Consul: {what!r:.80}"))


class _Transacted(NamedTuple):
    entries: list[Entry]
    error: tuple[int, str] | None

    @classmethod
    def of(cls, done: dict[str, Any]) -> _Transacted:
        first = next(iter(done["Errors"] or ()), None)
        entries = _entries([{**result["KV"], "Value": None} for result in done["Results"] or ()])
        return cls(entries, (first["OpIndex"], first["What"]) if first else None)


def _entries(found: Iterable[dict[str, Any] | None]) -> list[Entry]:
    return [
        Entry(
            one["Key"],
            (one.get("Value") or b"").decode(errors="replace"),
            one.get("Session"),
            one["LockIndex"],
            one["ModifyIndex"],
        )
        for one in found
        if one
    ]


def _answered(response: Any) -> Any:
    """Read the answer to a transaction; py-consul would raise for a conflict."""
    from consul.callback import CB

    return json.loads(response.body) if response.code == _CONFLICT else CB.json()(response)
