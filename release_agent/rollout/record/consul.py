"""The record of rollouts in Consul's KV store: every user with access to Consul can continue a rollout.

The keys are those of release_agent.consul.keys. The lock fences every write except an order.
"""

from __future__ import annotations

import json
from contextlib import contextmanager, suppress
from dataclasses import asdict
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

from release_agent.config.sections import DEFAULT_PREFIX
from release_agent.consul.keys import FleetKeys, RolloutKeys, rollouts
from release_agent.consul.kv import OTHER_SHAPE, KeyValueStore, written
from release_agent.errors import Code, LockLost, RecordUnreachable
from release_agent.model import Completed, Freeze, timestamp
from release_agent.rollout.model import Holder, Order, Phase, Rollout, who_am_i
from release_agent.rollout.record.consul_lock import FleetLocks, holder_of
from release_agent.rollout.record.port import SHOWN, most_kept, refuse_if_frozen, unknown

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from release_agent.consul.client import ConsulClient
    from release_agent.rollout.model import Host

T = TypeVar("T")
Fleet = tuple[str, str]  # app and environment


class _Plan(NamedTuple):
    rollout: Rollout  # without hosts
    size: int  # the number of its hosts


class ConsulRolloutStore:
    """The record in Consul; implements the port."""

    def __init__(self, client: ConsulClient, prefix: str = DEFAULT_PREFIX) -> None:
        """``client`` needs a time limit that is enough to read all hosts at once."""
        self._kv = KeyValueStore(client)
        self._prefix = prefix
        self._locks: FleetLocks | None = None
        self._id = ""  # the id of the rollout whose lock is held

    @property
    def arguments(self) -> list[str]:
        """The arguments with which a command finds this record."""
        return ["--consul", *(["--prefix", self._prefix] if self._prefix != DEFAULT_PREFIX else [])]

    def begin(self, rollout: Rollout) -> None:
        """Take the locks of its fleets and write down the whole plan; raises Locked, Refused (frozen)."""
        with self._taking(rollout, Holder(rollout.id, rollout.who, rollout.revision, rollout.started_at)) as locks:
            refuse_if_frozen(self, rollout.fleets, rollout.options)
            kept = {fleet: self._kept(fleet) for fleet in rollout.fleets}
            before = {identity: self._listed(identity) for identities in kept.values() for identity in identities}
            # Write the id first. If an operator is killed here, the next one finds and removes the hosts without a plan.
            locks.write([self._keeping(fleet, [*identities, rollout.id]) for fleet, identities in kept.items()])
            locks.write([self._host(rollout.id, host) for host in rollout.hosts.values()])
            sizes = {identity: plan.size for identity, plan in before.items() if plan} | {rollout.id: len(rollout.hosts)}
            newest = {fleet: _newest([*identities, rollout.id], sizes) for fleet, identities in kept.items()}
            old = [identity for identity, plan in before.items() if not self._is_kept(identity, plan, newest)]
            locks.write(
                [
                    self._planned(rollout, len(rollout.hosts)),
                    *(self._superseded(plan, rollout) for plan in before.values() if plan and not plan.rollout.has_ended),
                    *({"Verb": "delete-tree", "Key": self._keys(identity).folder} for identity in old),
                    *(self._keeping(fleet, identities) for fleet, identities in newest.items()),
                ]
            )

    def _is_kept(self, identity: str, plan: _Plan | None, newest: Mapping[Fleet, list[str]]) -> bool:
        """Return whether a rollout is still one of the newest of one of its fleets, ``newest`` or others."""
        others = [fleet for fleet in (plan.rollout.fleets if plan else ()) if fleet not in newest]
        try:
            return any(identity in kept for kept in newest.values()) or any(identity in self._kept(fleet) for fleet in others)
        except RecordUnreachable:  # the token may read only these fleets
            return True

    def take(self, identity: str) -> Rollout:
        """Take the locks to continue a rollout; raises Locked, NoTarget."""
        rollout = self._known(identity).rollout
        with self._taking(rollout, Holder(identity, who_am_i(), rollout.revision, timestamp())):
            return self.read(identity)  # as the last holder of the lock left it

    def read(self, identity: str) -> Rollout:
        """Return a rollout as it is now; raises NoTarget."""
        rollout, size = self._known(identity)
        folder = self._keys(identity).hosts
        hosts = [_understood(entry.key, entry.text, json.loads) for entry in self._kv.tree(folder)]
        if len(hosts) != size:  # a token that may read only the plan silently gets no hosts
            raise RecordUnreachable(
                Code.RECORD_UNREACHABLE,
                f"{len(hosts)} of {size} hosts of rollout {identity} can be read under {folder}",
                hint="give the token the policy for rollouts in docs/guides/consul.md",
            )
        return _understood(folder, hosts, lambda bodies: Rollout.from_json(rollout.to_json(), bodies))

    def all(self) -> list[Rollout]:
        """Return the rollouts of all fleets, newest first, without their hosts."""
        found: list[Rollout] = []
        for identity in sorted(self._kv.folders(rollouts(self._prefix)), reverse=True):
            plan = self._listed(identity)
            if plan:
                found.append(plan.rollout)
            if len(found) == SHOWN:
                break
        return found

    def newest(self, fleets: Sequence[Fleet]) -> str:
        """Return the last id of these fleets, in the order of ids."""
        return max((identity for fleet in fleets for identity in self._kept(fleet)), default="")

    def holder(self, app: str, environment: str) -> Holder | None:
        """Return the current holder of a fleet's lock."""
        return holder_of(self._kv, self._fleet(app, environment).lock)

    def running(self, rollout: Rollout) -> bool:
        """Return whether a process holds the locks for this rollout now."""
        holder = self.holder(*rollout.fleets[0])
        return holder is not None and holder.id == rollout.id

    def reported(self, rollout: Rollout, hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
        """Return the last deployments that hosts have reported."""
        known = [host for host in hosts if host.app]
        entries = {host.name: self._kv.get(self._fleet(host.app, rollout.environment).host(host.name)) for host in known}
        reports: dict[str, dict[str, Any]] = {}
        for name, entry in entries.items():
            with suppress(*OTHER_SHAPE):  # one host's odd report must not hide the rollout
                reports |= {name: dict(json.loads(entry.text).items())} if entry else {}
        return reports

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        """Write down hosts; raises LockLost."""
        self._held().write([self._host(self._id, host) for host in hosts])

    def save(self, rollout: Rollout) -> None:
        """Write down everything except the hosts; raises LockLost."""
        self._held().write([self._planned(rollout, len(rollout.hosts))])

    def follow(self, app: str, environment: str, completed: Completed | None) -> None:
        """Set the revision for a fleet; raises LockLost."""
        key = self._fleet(app, environment).completed
        self._held().write([written(key, asdict(completed)) if completed else {"Verb": "delete", "Key": key}])

    def completed(self, app: str, environment: str) -> Completed | None:
        """Return the fleet's last completed rollout."""
        key = self._fleet(app, environment).completed
        entry = self._kv.get(key)
        return _understood(key, entry.text, lambda text: Completed.from_json(json.loads(text))) if entry else None

    def freeze(self, app: str, environment: str, frozen: Freeze | None) -> None:
        """Freeze the rollouts of a fleet from now on; None: end the freeze."""
        key = self._fleet(app, environment).frozen
        self._kv.transact([written(key, frozen.to_json()) if frozen else {"Verb": "delete", "Key": key}])

    def frozen(self, app: str, environment: str) -> Freeze | None:
        """Return the current freeze of a fleet."""
        key = self._fleet(app, environment).frozen
        entry = self._kv.get(key)
        frozen = _understood(key, entry.text, lambda text: Freeze.from_json(json.loads(text))) if entry else None
        return None if frozen is None or frozen.is_over else frozen

    def renew(self) -> None:
        """Keep the locks for another TTL; raises LockLost."""
        self._held().renew()

    def order(self, identity: str, order: Order) -> None:
        """Queue an order for the rollout's operator; raises NoTarget."""
        self._known(identity)
        self._kv.put(self._keys(identity).order(order.id), json.dumps(asdict(order)))

    def waiting(self, identity: str) -> list[Order]:
        """Return the orders that no operator of the rollout has acknowledged, oldest first."""
        found: list[Order] = []
        # An order is written once. Its index tells the order of writes, and the clocks of two people do not.
        for entry in sorted(self._kv.tree(self._keys(identity).orders), key=lambda entry: entry.version):
            with suppress(*OTHER_SHAPE):  # such an order must not hide an abort
                found.append(Order.from_json({"id": identity, **json.loads(entry.text)}))
        return found

    def acknowledge(self, order: Order) -> None:
        """Remove an obeyed order; raises LockLost."""
        self._held().write([{"Verb": "delete", "Key": self._keys(self._id).order(order.id)}])

    def release(self) -> None:
        """Release the locks."""
        if self._locks:
            self._locks.release()
        self._locks, self._id = None, ""

    @contextmanager
    def _taking(self, rollout: Rollout, holder: Holder) -> Iterator[FleetLocks]:
        """Take the locks, and release them if the block fails."""
        locks = FleetLocks(self._kv, {self._fleet(*fleet).lock: fleet for fleet in rollout.fleets})
        locks.acquire(holder)
        self._locks, self._id = locks, rollout.id
        try:
            yield locks
        except BaseException:
            self.release()
            raise

    def _held(self) -> FleetLocks:
        if self._locks is None:
            raise LockLost(Code.LOCK_LOST, "the fleet's lock is not held", hint="report this bug")
        return self._locks

    # Keys and their values

    def _fleet(self, app: str, environment: str) -> FleetKeys:
        return FleetKeys(self._prefix, app, environment)

    def _keys(self, identity: str) -> RolloutKeys:
        return RolloutKeys(self._prefix, identity)

    def _kept(self, fleet: Fleet) -> list[str]:
        key = self._fleet(*fleet).kept
        entry = self._kv.get(key)
        return _understood(key, entry.text, lambda text: [str(one) for one in json.loads(text)]) if entry else []

    def _keeping(self, fleet: Fleet, identities: list[str]) -> dict[str, Any]:
        return written(self._fleet(*fleet).kept, identities)

    def _host(self, identity: str, host: Host) -> dict[str, Any]:
        return written(self._keys(identity).host(host.name), host.to_json())

    def _planned(self, rollout: Rollout, size: int) -> dict[str, Any]:
        return written(self._keys(rollout.id).plan, {**rollout.to_json(), "size": size})

    def _superseded(self, plan: _Plan, by: Rollout) -> dict[str, Any]:
        left = plan.rollout
        left.enter(Phase.SUPERSEDED, f"rollout {by.id} was started")
        return self._planned(left, plan.size)

    def _listed(self, identity: str) -> _Plan | None:
        entry = self._kv.get(self._keys(identity).plan)
        try:
            return _plan(entry.key, entry.text) if entry else None
        except RecordUnreachable as error:
            return _Plan(Rollout.unreadable(identity, error.message), 0)

    def _known(self, identity: str) -> _Plan:
        # The input of a person is not a path, and must not lead to another key.
        entry = self._kv.get(self._keys(identity).plan) if identity and "/" not in identity else None
        if entry is None:
            raise unknown(identity)
        return _plan(entry.key, entry.text)


def _plan(key: str, text: str) -> _Plan:
    body = _understood(key, text, json.loads)
    return _understood(key, body, lambda body: _Plan(Rollout.from_json(body, []), int(body["size"])))


def _newest(identities: Sequence[str], sizes: Mapping[str, int]) -> list[str]:
    """Return the kept rollouts of a fleet, oldest first; those without a size have no plan."""
    known = [identity for identity in identities if identity in sizes]
    return known[-most_kept([sizes[identity] for identity in reversed(known)]) :]


def _understood(key: str, value: object, make: Callable[[Any], T]) -> T:
    """Read a key's value, which may be anything if a person wrote it."""
    try:
        return make(value)
    except OTHER_SHAPE as error:
        raise RecordUnreachable(
            Code.RECORD_UNREACHABLE,
            f"cannot read the value of {key} in Consul: {error!r}",
            hint=f"look at the value: `consul kv get {key}`",
        ) from error
