"""Decide which runs a freeze refuses."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code, Refused
from release_agent.model import ROLLOUT, Action, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.model import Freeze, Request


def refuse_if_frozen(frozen: Callable[[], Freeze | None], request: Request) -> None:
    """Raise Refused (frozen) for a requested deployment or rollback, unless the request ignores the freeze.

    Otherwise it does not call ``frozen``, so that an unreadable freeze keeps no host from serving.
    """
    there = None if request.despite_freeze or is_automatic(request) else frozen()
    if there is None:
        return
    raise Refused(
        Code.FROZEN,
        f"deployments are frozen {there.describe()}",
        hint="wait for the end, run `release-agent unfreeze`, or ignore the freeze with --despite-freeze",
    )


def is_automatic(request: Request) -> bool:
    """Return whether a run keeps the host serving: a boot, a rollback by the monitor, or the revert of a rollout."""
    if request.action is Action.ROLLBACK:
        return request.trigger == Trigger.WATCH or request.trigger.startswith(ROLLOUT)
    return request.trigger == Trigger.BOOT
