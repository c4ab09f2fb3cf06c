"""Orders to the operator of a rollout. Every function may block for some seconds, and raises RecordUnreachable."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.rollout.model import Order, Phase, who_am_i
from release_agent.rollout.operations.results import Standing, ended

if TYPE_CHECKING:
    from release_agent.rollout.record.port import RolloutStore


def order(record: RolloutStore, identity: str, verb: str) -> Standing:
    """Leave an order (``pause``, ``approve``, ``abort``) for the rollout's operator, now or after a resume; raises NoTarget."""
    rollout = record.read(identity)
    if rollout.has_ended or rollout.reverting:
        raise ended(rollout)
    record.order(identity, Order(verb, who_am_i()))
    return Standing(rollout, record.running(rollout))


def abort(record: RolloutStore, identity: str) -> Standing:
    """Begin no further host and leave the others as they are; raises NoTarget, Locked.

    The rollout's operator is ordered to. If nobody does, it has ended when this returns.
    """
    rollout = record.read(identity)
    if record.running(rollout):
        ordered = order(record, identity, "abort")
        if ordered.running:
            return ordered
    # Nobody runs it any more: the order would wait for the next resume.
    rollout = record.take(identity)
    try:
        if rollout.has_ended:
            raise ended(rollout)
        rollout.enter(Phase.ABORTED, f"aborted by {who_am_i()}")
        record.save(rollout)
    finally:
        record.release()
    return Standing(rollout, running=False)
