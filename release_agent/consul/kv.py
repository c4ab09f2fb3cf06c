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

TTL = 15  # seconds a session lives without being renewed; Consul may take as long again to notice
MOST_OPERATIONS = 64  # that Consul takes in one transaction
MOST_BYTES = 400_000  # of a transaction's values; Consul takes 512 KB of JSON
_CONFLICT = 409
_DENIED = "Permission denied"
T = TypeVar("T")


class Entry(NamedTuple):
    """A key: its text, who holds it as a lock, how often it was one, and when it last changed."""

    key: str
    text: str
    session: str | None
    locks: int
    version: int


class Conflict(Exception):
    """A transaction was not done: ``operation``, counted from 0, did not hold."""

    def __init__(self, operation: int, why: str) -> None:
        """Nothing of the transaction was done."""
        super().__init__(why)
        self.operation = operation


class Kv:
    """Keys, transactions and sessions; everything raises RecordUnreachable where Consul does not answer, or refuses."""

    def __init__(self, client: ConsulClient) -> None:
        """Nothing is connected to yet."""
        self._client = client

    def get(self, key: str) -> Entry | None:
        """Return a key; None where there is none."""
        found = self._call(lambda consul: _entries([consul.kv.get(key)[1]]))
        return found[0] if found else None

    def tree(self, prefix: str) -> list[Entry]:
        """Return all keys under a prefix. Those that the token may not read are left out without a word: ask get(), too."""
        return self._call(lambda consul: _entries(consul.kv.get(prefix, recurse=True)[1] or ()))

    def folders(self, prefix: str) -> list[str]:
        """Return the next part of every key under a prefix, which ends with a slash."""
        found = self._call(lambda consul: consul.kv.get(prefix, keys=True, separator="/")[1])
        if not found:
            self.get(prefix)  # whoever may not read it is told so here; the list is merely empty
        return [key.removeprefix(prefix).rstrip("/") for key in found or ()]

    def put(self, key: str, text: str) -> None:
        """Set a key, whoever holds whatever."""
        if self._call(lambda consul: consul.kv.put(key, text)) is not True:  # py-consul makes nothing of a 404
            raise _no_consul(key)

    def delete(self, entry: Entry) -> bool:
        """Remove a key; False where it has changed since it was read."""
        return bool(self._call(lambda consul: consul.kv.delete(entry.key, cas=entry.version)))

    def transact(self, operations: Sequence[dict[str, Any]]) -> list[Entry]:
        """Do all of them or none; returns the keys as they are then. Raises Conflict."""
        body = json.dumps([{"KV": operation} for operation in operations])
        done = self._call(lambda consul: _Transacted.of(consul.http.put(_answered, "/v1/txn", data=body)))
        if done.error:
            index, why = done.error
            if _DENIED in why:
                raise _refused(operations[index]["Key"])
            raise Conflict(index, why)
        return done.entries

    def open_session(self, name: str) -> str:
        """Make a session of the local agent's node; it ends with the node, or unrenewed."""
        # No lock delay: that would keep an old holder's writes from meeting a new one's. Every write here is
        # fenced by the session instead, and whoever comes next need not wait.
        session = self._call(lambda consul: consul.session.create(name, behavior="release", ttl=TTL, lock_delay=0))
        if not isinstance(session, str):
            raise _no_consul(session)
        return session

    def renew_session(self, session: str) -> bool:
        """Let it live for another TTL; False where there is none of this id any more."""
        import consul as library  # 120 ms, in the thread that talks

        try:
            self._client.call(lambda consul: consul.session.renew(session))
        except ConsulError as error:
            if isinstance(error.__cause__, library.NotFound):
                return False
            raise unreachable(error) from error
        return True

    def close_session(self, session: str) -> None:
        """End it, and let go of what it holds."""
        self._call(lambda consul: consul.session.destroy(session))

    def _call(self, call: Callable[[Any], T]) -> T:
        try:
            return self._client.call(call)  # type: ignore[no-any-return]
        except ConsulError as error:
            raise unreachable(error) from error
        except (KeyError, IndexError, TypeError, AttributeError) as error:  # of an answer
            raise _no_consul(error) from error


def written(key: str, body: Any) -> dict[str, Any]:
    """Make the operation that sets a key."""
    return {"Verb": "set", "Key": key, "Value": encoded(json.dumps(body))}


def encoded(text: str) -> str:
    """Write a value as transactions want it."""
    return base64.b64encode(text.encode()).decode()


def batches(operations: Sequence[dict[str, Any]], most: int) -> Iterator[list[dict[str, Any]]]:
    """Split operations into transactions of at most so many, and not too large."""
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
    """Make the error for a Consul that does not answer, or refuses the token."""
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
    """Read what a transaction answered: a conflict is an answer, too."""
    from consul.callback import CB

    return json.loads(response.body) if response.code == _CONFLICT else CB.json()(response)
