"""What the operations are given, and what they return."""

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
    """What a rollout would do. ``changes``: by application; ``exceeded``: why it must not be started; empty: it may."""

    rollout: Rollout
    changes: dict[str, Any]
    exceeded: str = ""


@dataclass(frozen=True)
class Result:
    """How a rollout stands when its run is over; ``elsewhere``: another process runs it on."""

    rollout: Rollout
    exit: Exit
    elsewhere: bool = False


@dataclass(frozen=True)
class Standing:
    """A rollout as the record has it, and whether somebody runs it at this moment."""

    rollout: Rollout
    running: bool


@dataclass(frozen=True)
class Ordered(Standing):
    """A rollout when an order was given for it, and whether its operator has acknowledged the order."""

    obeyed: bool = False


def ended(rollout: Rollout) -> NoTarget:
    """Make the error for an operation that a rollout cannot take any more."""
    standing = "has ended" if rollout.has_ended else "is on its way back" if rollout.reverting else "is being aborted"
    return NoTarget(
        Code.ROLLOUT_ENDED,
        f"{rollout.id} {standing}: {rollout.phase}",
        hint=f"`release-agent rollout status {rollout.id}` shows it; start another, or revert this one",
    )
