"""Orders to the operator of a rollout. Every function may block for some seconds, and raises RecordUnreachable."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from release_agent.rollout.model import Order, Phase, who_am_i
from release_agent.rollout.operations.results import Ordered, ended
from release_agent.rollout.policy.orders import ABORT

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.model import Rollout
    from release_agent.rollout.record.port import RolloutStore

_LOOK = 1.0  # seconds
_LOOKS = 5  # the operator of a rollout looks for orders once per second


def order(record: RolloutStore, identity: str, verb: str, sleep: Callable[[float], None] = time.sleep) -> Ordered:
    """Queue an order (``pause``, ``approve``, ``abort``) for the rollout's operator, and wait a while for the operator.

    The order also waits for an operator who resumes the rollout later. Raises NoTarget.
    """
    rollout = record.read(identity)
    if rollout.has_ended or rollout.reverting:
        raise ended(rollout)
    _refuse_if_aborted(rollout, verb)
    given = Order(verb, who_am_i())
    record.order(identity, given)
    running = record.running(rollout)
    obeyed = running and _is_obeyed(record, identity, given, sleep)
    if running:
        rollout = record.read(identity)
        if rollout.reverting or (rollout.has_ended and not obeyed):  # during a revert no order counts
            raise ended(rollout)
        _refuse_if_aborted(rollout, verb)  # an abort given at the same time takes precedence
        # Its operator acknowledges the order, and ignores it. An approval may also have counted before the stop.
        if rollout.stopping and verb != ABORT and not (verb == "approve" and rollout.approved):
            raise ended(rollout)
    return Ordered(rollout, running, obeyed)


def _refuse_if_aborted(rollout: Rollout, verb: str) -> None:
    if rollout.aborted and verb != ABORT:
        raise ended(rollout)


def _is_obeyed(record: RolloutStore, identity: str, given: Order, sleep: Callable[[float], None]) -> bool:
    for _ in range(_LOOKS):
        sleep(_LOOK)
        if given not in record.waiting(identity):
            return True
    return False


def abort(record: RolloutStore, identity: str, sleep: Callable[[float], None] = time.sleep) -> Ordered:
    """Start no more hosts and leave the others as they are; raises NoTarget, Locked.

    Without an operator, the rollout has ended when this returns. Otherwise its operator gets the order to end it.
    """
    rollout = record.read(identity)
    if record.running(rollout):
        ordered = order(record, identity, ABORT, sleep)
        if ordered.running:
            return ordered
    # The rollout has no operator any more, so the order would wait for the next resume.
    rollout = record.take(identity)
    try:
        if rollout.has_ended:
            raise ended(rollout)
        rollout.enter(Phase.ABORTED, f"ordered by {who_am_i()}")
        record.save(rollout)
    finally:
        record.release()
    return Ordered(rollout, running=False, obeyed=True)
