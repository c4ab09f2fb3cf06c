"""Consul's key-value store and its sessions, as the record of rollouts needs them."""

from __future__ import annotations

import base64
import json
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from release_agent.consul.connection import ConsulError
from release_agent.errors import Code, RecordUnreachable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from release_agent.consul.client import ConsulClient

TTL = 15  # seconds that a session lives unless it is renewed; Consul may take twice as long to end it
MOST_OPERATIONS = 64  # Consul's limit for one transaction
MOST_BYTES = 400_000  # bytes of the values of a transaction; Consul's limit is 512 KB of JSON
_DENIED = "Permission denied"
T = TypeVar("T")
# Errors from reading an unexpected answer of Consul, or an unexpected value of a key.
OTHER_SHAPE = (KeyError, IndexError, TypeError, AttributeError, ValueError, OverflowError, RecursionError)


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


class KeyValueStore:
    """Keys, transactions and sessions; every method raises RecordUnreachable if Consul does not answer or refuses."""

    def __init__(self, client: ConsulClient) -> None:
        self._client = client

    def get(self, key: str) -> Entry | None:
        """Return a key, or None if it does not exist."""
        return self._understood(lambda: read_entry(self._client, key))

    def tree(self, prefix: str) -> list[Entry]:
        """Return the keys under a prefix that the token may read. Consul hides the other keys; get() raises for them."""
        return self._understood(lambda: _entries(self._client.get_indexed(_path(prefix), recurse=1) or ()))

    def folders(self, prefix: str) -> list[str]:
        """Return the names directly below ``prefix``, which ends with a slash: of keys, and of folders."""
        found = self._understood(lambda: _texts(self._client.get_indexed(_path(prefix), keys=1, separator="/") or []))
        if not found:
            self.get(prefix)  # raises if the token may not read it; the list would only be empty
        return [key.removeprefix(prefix).rstrip("/") for key in found]

    def put(self, key: str, text: str) -> None:
        """Set a key, even if a session holds it."""
        if self._understood(lambda: self._client.put(_path(key), text)) is not True:
            raise _no_consul(key)

    def transact(self, operations: Sequence[dict[str, Any]]) -> list[Entry]:
        """Do all of the operations or none; returns the keys afterwards. Raises Conflict."""
        body = [{"KV": operation} for operation in operations]
        done = self._understood(lambda: _Transacted.of(self._client.put("/v1/txn", body)))
        if done.error:
            index, why = done.error
            if _DENIED in why:
                raise _refused(operations[index]["Key"])
            raise Conflict(index, why)
        return done.entries

    def open_session(self, name: str) -> str:
        """Open a session of the local agent's node, which ends with the node or ``TTL`` after its renewal; returns its id."""
        # Without a lock delay, the next holder need not wait. Consul's delay protects a new holder from late writes of the
        # old one, but here the session fences every write.
        wanted = {"Name": name, "Behavior": "release", "TTL": f"{TTL}s", "LockDelay": "0s"}
        session = self._understood(lambda: self._client.put("/v1/session/create", wanted)["ID"])
        if not isinstance(session, str):
            raise _no_consul(session)
        return session

    def renew_session(self, session: str) -> bool:
        """Extend a session by ``TTL``; returns False if it has ended."""
        return self._understood(lambda: self._client.put(f"/v1/session/renew/{session}")) is not None

    def close_session(self, session: str) -> None:
        """End a session and release its locks."""
        self._understood(lambda: self._client.put(f"/v1/session/destroy/{session}"))

    def _understood(self, ask: Callable[[], T]) -> T:
        try:
            return ask()
        except ConsulError as error:
            raise unreachable(error) from error
        except OTHER_SHAPE as error:
            raise _no_consul(error) from error


def read_entry(client: ConsulClient, key: str) -> Entry | None:
    """Return a key, or None if it does not exist; raises ConsulError, and KeyError and the like for another shape."""
    found = _entries(client.get_indexed(_path(key)) or ())
    return found[0] if found else None


def _path(key: str) -> str:
    return f"/v1/kv/{key}"


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
        hint="fix Consul, or the CONSUL_* variables (docs/guides/consul.md has the rights that rollouts need); then run "
        "`release-agent rollout list`",
    )


def _refused(key: str) -> RecordUnreachable:
    return unreachable(ConsulError(f"Consul refused to write {key}; docs/guides/consul.md has the policy that rollouts need"))


def _no_consul(what: object) -> RecordUnreachable:
    return unreachable(ConsulError(f"the answer is not from Consul: {what!r:.80}"))


class _Transacted(NamedTuple):
    entries: list[Entry]
    error: tuple[int, str] | None

    @classmethod
    def of(cls, done: dict[str, Any]) -> _Transacted:
        first = next(iter(done["Errors"] or ()), None)
        if first and not isinstance(first["OpIndex"], int):
            message = f"{first!r:.80} names no operation"
            raise TypeError(message)
        entries = _entries([{**result["KV"], "Value": None} for result in done["Results"] or ()])
        return cls(entries, (first["OpIndex"], str(first["What"])) if first else None)


def _entries(found: Iterable[dict[str, Any] | None]) -> list[Entry]:
    return [_entry(one) for one in found if one]


def _entry(one: dict[str, Any]) -> Entry:
    """Make an entry of Consul's answer about a key; raises one of OTHER_SHAPE."""
    session, numbers = one.get("Session"), (one["LockIndex"], one["ModifyIndex"])
    _texts([one["Key"], session or ""])
    if not all(isinstance(number, int) for number in numbers):
        message = f"{numbers} must be two whole numbers"
        raise TypeError(message)
    return Entry(one["Key"], base64.b64decode(one.get("Value") or "").decode(errors="replace"), session, *numbers)


def _texts(found: list[Any]) -> list[str]:
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        message = f"{found!r:.80} must be a list of strings"
        raise TypeError(message)
    return found
