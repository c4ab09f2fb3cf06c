"""Where a rollout is written down, so that it can be gone on with by somebody else."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.rollout.model import Completed, Host, Order, Rollout


class Record(Protocol):
    """One fleet's rollouts. The plan has one writer, who holds the fleet's lock; every host has a key of its own.

    All methods may block for some seconds (they are called in a thread), and raise
    RecordUnreachable where what keeps the record does not answer.
    """

    def begin(self, rollout: Rollout) -> None:
        """Take the lock of its app and environment and write down the whole plan, hosts too.

        Raises Locked (44), naming who holds it. A rollout of the same fleet that was left without an end is
        marked as superseded by this one.
        """

    def take(self, identity: str) -> Rollout:
        """Take the lock to go on with a rollout, and return it as it was left; raises Locked, NoTarget."""

    def read(self, identity: str) -> Rollout:
        """Return a rollout as it is now; raises NoTarget where there is none of this id."""

    def all(self) -> list[Rollout]:
        """Return every rollout, newest first, without its hosts."""

    def running(self, rollout: Rollout) -> bool:
        """Whether somebody holds the lock for this rollout at this moment."""

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        """Write down hosts, durably; raises LockLost where somebody else has the lock now."""

    def save(self, rollout: Rollout, completed: Completed | None = None) -> None:
        """Write down all but the hosts; raises LockLost. ``completed``: and, in the same step, what the fleet is to run."""

    def completed(self, app: str, environment: str) -> Completed | None:
        """Return what the fleet's last completed rollout says."""

    def renew(self) -> None:
        """Keep the lock for some more time; raises LockLost. Does nothing where the kernel keeps it."""

    def order(self, identity: str, order: Order) -> None:
        """Leave an order for whoever runs a rollout; raises NoTarget."""

    def take_order(self) -> Order | None:
        """Return an order that was left for the rollout whose lock is held, once."""

    def release(self) -> None:
        """Let go of the lock."""
