"""Decide which orders count, and in which order."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

    from release_agent.rollout.model import Order

ABORT = "abort"
_OVERRULED_BY_RESUME = ("pause", "resume")


def in_rank(orders: Iterable[Order]) -> list[Order]:
    """Return the orders with an abort first; the others stay in their order."""
    return sorted(orders, key=lambda order: order.verb != ABORT)


def overruled_by_resume(orders: Iterable[Order]) -> list[Order]:
    """Return the earlier orders that a resume overrules: pauses, and other resumes."""
    return [order for order in orders if order.verb in _OVERRULED_BY_RESUME]
