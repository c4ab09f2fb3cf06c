"""The arguments and the results of the operations."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code, NoTarget
from release_agent.rollout.options import Options

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.errors import Exit
    from release_agent.rollout.model import InventoryHost, Rollout


@dataclass(frozen=True)
class StartRequest:
    """A rollout to plan: a revision and the hosts, in the order of the inventory.

    ``service``: of Consul's catalog, if the hosts come from it. ``dry_run``: the record is not used.
    ``whole``: the hosts are all of the inventory. ``reason``: kept and shown.
    ``promote_from``: the environment whose last completed rollout names the revision, in place of ``revision``.
    """

    revision: str
    hosts: Sequence[InventoryHost]
    options: Options = field(default_factory=Options)
    service: str = ""
    dry_run: bool = False
    whole: bool = True
    reason: str = ""
    promote_from: str = ""


@dataclass(frozen=True)
class RolloutPlan:
    """The plan of a rollout. ``changes``: by application; ``exceeded``: the reason why it must not start, or empty."""

    rollout: Rollout
    changes: dict[str, Any]
    exceeded: str = ""


@dataclass(frozen=True)
class Result:
    """The state of a rollout after its run; ``elsewhere``: another process continues it."""

    rollout: Rollout
    exit: Exit
    elsewhere: bool = False


@dataclass(frozen=True)
class Standing:
    """A rollout from the record, and whether an operator runs it now."""

    rollout: Rollout
    running: bool


@dataclass(frozen=True)
class Ordered(Standing):
    """A rollout at the time of an order, and whether its operator has acknowledged the order."""

    obeyed: bool = False


def ended(rollout: Rollout) -> NoTarget:
    """Make the error for an operation that comes too late for a rollout."""
    if rollout.has_ended:
        standing = f"has ended: {rollout.phase}"
    elif rollout.reverting:
        standing = f"is being reverted: {rollout.phase}"
    elif rollout.aborted:
        standing = f"is being aborted: {rollout.phase}"
    else:
        standing = f"is stopping: {rollout.stopping}"
    return NoTarget(
        Code.ROLLOUT_ENDED,
        f"{rollout.id} {standing}",
        hint=f"`release-agent rollout status {rollout.id}` shows it; start another, or revert this one",
    )
