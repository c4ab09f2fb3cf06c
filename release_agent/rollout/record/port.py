"""The interface of the record of rollouts, by which another operator can continue a rollout."""

from __future__ import annotations

import shlex
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from release_agent.errors import Code, Locked, LockLost, NoTarget, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.model import Completed, Freeze
    from release_agent.rollout.model import Holder, Host, Order, Rollout
    from release_agent.rollout.options import Options

_KEPT = 20  # the newest rollouts of one fleet
_KEPT_ANYHOW = 2  # newest rollouts that are kept with any number of hosts
_KEPT_HOSTS = 20_000  # hosts of all kept rollouts of one fleet, because each host is a key
SHOWN = 50  # rollouts that all() returns at most


class RolloutStore(Protocol):
    """The rollouts of fleets. A plan has one writer, who holds the locks of its fleets; every host has a key of its own.

    A rollout holds the locks of all of its fleets, or none of them.

    All methods may block for some seconds; the caller calls them in a thread, one at a time. They raise
    RecordUnreachable if the store of the record does not answer or refuses this user.
    """

    @property
    def arguments(self) -> list[str]:
        """The arguments with which a command finds this record."""

    def begin(self, rollout: Rollout) -> None:
        """Take the lock of each of its fleets and write down the whole plan with its hosts.

        Raises Locked (44) with the holder, and Refused (frozen). Marks abandoned rollouts of these fleets as superseded
        by this one. Drops rollouts that are old in each of their fleets, see most_kept().
        """

    def take(self, identity: str) -> Rollout:
        """Take the lock to continue a rollout, and return the rollout, ended or not; raises Locked, NoTarget."""

    def read(self, identity: str) -> Rollout:
        """Return the current state of a rollout; raises NoTarget for an unknown id."""

    def all(self) -> list[Rollout]:
        """Return the rollouts of all fleets, newest first and at most 50, without their hosts.

        Those with a plan that nobody can read are Rollout.unreadable().
        """

    def newest(self, fleets: Sequence[tuple[str, str]]) -> str:
        """Return the last id in the order of ids, of these fleets or of more; empty without rollouts."""

    def holder(self, app: str, environment: str) -> Holder | None:
        """Return the current holder of a fleet's lock."""

    def running(self, rollout: Rollout) -> bool:
        """Return whether a process holds the lock for this rollout now."""

    def reported(self, rollout: Rollout, hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
        """Return the last deployments that hosts have reported, by the host's name."""

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        """Write down hosts, durable; raises LockLost if the lock is not held any more."""

    def save(self, rollout: Rollout) -> None:
        """Write down everything except the hosts; raises LockLost."""

    def follow(self, app: str, environment: str, completed: Completed | None) -> None:
        """Set the revision for a fleet whose lock is held; None: remove it. Raises LockLost."""

    def completed(self, app: str, environment: str) -> Completed | None:
        """Return the fleet's last completed rollout."""

    def freeze(self, app: str, environment: str, frozen: Freeze | None) -> None:
        """Freeze the rollouts of a fleet from now on; None: end the freeze. Needs no lock."""

    def frozen(self, app: str, environment: str) -> Freeze | None:
        """Return the current freeze of a fleet."""

    def renew(self) -> None:
        """Renew the lock; take it again if it expired and no other process had it since.

        Raises LockLost. Does nothing if the kernel keeps the lock.
        """

    def order(self, identity: str, order: Order) -> None:
        """Queue an order for the rollout's operator; raises NoTarget."""

    def waiting(self, identity: str) -> list[Order]:
        """Return the readable orders that no operator of the rollout has acknowledged, oldest first."""

    def acknowledge(self, order: Order) -> None:
        """Remove an obeyed order from the queue of the rollout whose lock is held; raises LockLost."""

    def release(self) -> None:
        """Release the lock. Never raises: if the store does not answer, the lock expires."""


def most_kept(sizes: Sequence[int]) -> int:
    """Return the number of a fleet's rollouts to keep; ``sizes``: the hosts of each, newest first."""
    totals = accumulate(sizes[:_KEPT])
    return sum(number < _KEPT_ANYHOW or total <= _KEPT_HOSTS for number, total in enumerate(totals))


def locked(app: str, environment: str, holder: Holder | None) -> Locked:
    """Make the error for a fleet whose lock another process holds; None: an unknown holder."""
    if holder is None:
        return Locked(Code.LOCKED, f"another rollout of {app} in {environment} is running", hint="try again when it has ended")
    return Locked(
        Code.LOCKED,
        f"rollout {holder.id} of {app} {holder.revision} in {environment} is running, by {holder.who}, since {holder.since}",
        hint=f"show its progress with `release-agent rollout status {holder.id}`; add --consul if it was started with Consul",
    )


def refuse_if_frozen(record: RolloutStore, fleets: Sequence[tuple[str, str]], options: Options) -> None:
    """Raise Refused (frozen) if one of the fleets is frozen, unless the rollout ignores the freeze."""
    if options.despite_freeze:
        return
    for app, environment in fleets:
        frozen = record.frozen(app, environment)
        if frozen:
            raise Refused(
                Code.FROZEN,
                f"rollouts of {app} in {environment} are frozen {frozen.describe()}",
                hint=f"wait for the end, run `{command_for(record, 'unfreeze', app, environment)}`, "
                "or ignore the freeze with --despite-freeze",
            )


def command_for(record: RolloutStore, *words: str) -> str:
    """Return the command line of a verb of ``rollout`` that needs only this record, and no host."""
    return shlex.join(["release-agent", "rollout", *words, *record.arguments])


def lock_lost(app: str, environment: str, holder: Holder | None) -> LockLost:
    """Make the error for a lost lock; ``holder``: the current one, if any."""
    now = f"{holder.who} holds it now, for rollout {holder.id}" if holder else "nobody holds it now"
    return LockLost(
        Code.LOCK_LOST,
        f"the lock of {app} in {environment} was lost: {now}",
        hint="look at `release-agent rollout list`, and continue with `release-agent rollout resume ID`",
    )


def unknown(identity: str) -> NoTarget:
    """Make the error for an unknown id."""
    return NoTarget(
        Code.ROLLOUT_UNKNOWN,
        f"there is no rollout {identity}",
        hint="`release-agent rollout list` lists the kept rollouts (with --consul or CONSUL_HTTP_ADDR those in Consul)",
    )
