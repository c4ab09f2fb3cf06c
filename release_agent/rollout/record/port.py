"""Where a rollout is written down, so that it can be gone on with by somebody else."""

from __future__ import annotations

from itertools import accumulate
from typing import TYPE_CHECKING, Any, Protocol

from release_agent.errors import Code, Locked, LockLost, NoTarget, Refused

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.model import Completed, Freeze
    from release_agent.rollout.model import Holder, Host, Order, Rollout
    from release_agent.rollout.options import Options

_KEPT = 20  # rollouts of one fleet, the newest of them
_KEPT_ANYHOW = 2  # however large: the newest, and the one before
_KEPT_HOSTS = 20_000  # of all of them: each is a key
SHOWN = 50  # by all()


class RolloutStore(Protocol):
    """The rollouts of fleets. A plan has one writer, who holds the locks of its fleets; every host has a key of its own.

    A rollout holds the locks of all of its fleets, or none of them.

    All methods may block for some seconds (they are called in a thread, one at a time), and raise
    RecordUnreachable where what keeps the record does not answer, or does not let this user in.
    """

    def begin(self, rollout: Rollout) -> None:
        """Take the lock of each of its fleets and write down the whole plan, hosts too.

        Raises Locked (44), naming who holds one, and Refused (frozen). Rollouts of a fleet of these that were left without
        an end are marked as superseded by this one. A rollout that is old in each of its fleets is forgotten, see most_kept().
        """

    def take(self, identity: str) -> Rollout:
        """Take the lock to go on with a rollout, and return it as it was left, ended or not; raises Locked, NoTarget."""

    def read(self, identity: str) -> Rollout:
        """Return a rollout as it is now; raises NoTarget where there is none of this id."""

    def all(self) -> list[Rollout]:
        """Return the rollouts of all fleets, newest first and at most 50, without their hosts."""

    def holder(self, app: str, environment: str) -> Holder | None:
        """Return who holds a fleet's lock at this moment."""

    def running(self, rollout: Rollout) -> bool:
        """Whether somebody holds the lock for this rollout at this moment."""

    def reported(self, rollout: Rollout, hosts: Sequence[Host]) -> dict[str, dict[str, Any]]:
        """Return the last deployment that hosts themselves have told of, by the host's name; those that did not are left out."""

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        """Write down hosts, durably; raises LockLost where the lock is not held any more."""

    def save(self, rollout: Rollout) -> None:
        """Write down all but the hosts; raises LockLost."""

    def follow(self, app: str, environment: str, completed: Completed | None) -> None:
        """Set what a fleet whose lock is held is to run from now on; None: nothing. Raises LockLost."""

    def completed(self, app: str, environment: str) -> Completed | None:
        """Return what the fleet's last completed rollout says."""

    def freeze(self, app: str, environment: str, frozen: Freeze | None) -> None:
        """Refuse rollouts of a fleet from now on; None: no more. Needs no lock."""

    def frozen(self, app: str, environment: str) -> Freeze | None:
        """Return the freeze that holds for a fleet at this moment."""

    def renew(self) -> None:
        """Keep the lock for some more time; take it again if it lapsed and nobody else had it since.

        Raises LockLost. Does nothing where the kernel keeps it.
        """

    def order(self, identity: str, order: Order) -> None:
        """Queue an order for the rollout's operator; raises NoTarget."""

    def waiting(self, identity: str) -> list[Order]:
        """Return the orders that no operator of the rollout has acknowledged, oldest first."""

    def acknowledge(self, order: Order) -> None:
        """Remove an order that was obeyed from the queue of the rollout whose lock is held; raises LockLost."""

    def release(self) -> None:
        """Let go of the lock. Never raises: if the store does not answer, the lock expires."""


def most_kept(sizes: Sequence[int]) -> int:
    """Return how many of a fleet's rollouts are kept; ``sizes``: the hosts of each, newest first."""
    totals = accumulate(sizes[:_KEPT])
    return sum(number < _KEPT_ANYHOW or total <= _KEPT_HOSTS for number, total in enumerate(totals))


def locked(app: str, environment: str, holder: Holder | None) -> Locked:
    """Make the error for a fleet whose lock somebody else holds; None: nobody knows who."""
    if holder is None:
        return Locked(Code.LOCKED, f"another rollout of {app} in {environment} is being run", hint="try again when it is done")
    return Locked(
        Code.LOCKED,
        f"rollout {holder.id} of {app} {holder.revision} in {environment} is being run by {holder.who}, since {holder.since}",
        hint=f"`release-agent rollout status {holder.id}` (--consul, if it was started so) shows how far it is",
    )


def refuse_if_frozen(record: RolloutStore, fleets: Sequence[tuple[str, str]], options: Options) -> None:
    """Raise Refused (frozen) if somebody has frozen one of the fleets, unless the rollout goes on in spite of it."""
    if options.despite_freeze:
        return
    for app, environment in fleets:
        frozen = record.frozen(app, environment)
        if frozen:
            raise Refused(
                Code.FROZEN,
                f"rollouts of {app} in {environment} are frozen {frozen.describe()}",
                hint=f"wait for the end, or end it: `release-agent rollout unfreeze {app} {environment}`; "
                "to start one in spite of it: --despite-freeze",
            )


def lock_lost(app: str, environment: str, holder: Holder | None) -> LockLost:
    """Make the error for a lock that was held; ``holder``: who has it now, if anybody."""
    now = f"{holder.who} holds it now, for rollout {holder.id}" if holder else "nobody holds it now"
    return LockLost(
        Code.LOCK_LOST,
        f"the lock of {app} in {environment} was lost: {now}",
        hint="nothing more was started; see `release-agent rollout list`, and go on with `release-agent rollout resume ID`",
    )


def unknown(identity: str) -> NoTarget:
    """Make the error for an id that the record does not have."""
    return NoTarget(
        Code.ROLLOUT_UNKNOWN,
        f"there is no rollout {identity}",
        hint="`release-agent rollout list` has them (with --consul or CONSUL_HTTP_ADDR: in Consul); old ones are forgotten",
    )
