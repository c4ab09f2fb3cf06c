"""The picture on a terminal: what it consists of, whatever it shows."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Protocol

from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from release_agent.rollout.model import Host
    from release_agent.rollout.options import Options

TROUBLE = (HostStage.FAILED, HostStage.UNREACHABLE, HostStage.STUCK)


@dataclass(frozen=True)
class Row:
    """One host as a row: its name, its stage, what to say of it, and since when."""

    name: str
    host: Host
    stage: str
    began: float


class Picture(Protocol):
    """What is drawn, from top to bottom; a thread of its own reads it."""

    @property
    def widest(self) -> int:
        """The length of the longest name."""

    @property
    def settled(self) -> int:
        """How many hosts are through."""

    @property
    def total(self) -> int:
        """How many hosts there are."""

    def notes(self) -> list[str]:
        """Say what it does or waits for, why, for how long yet, and what comes then."""

    def rows(self, room: int) -> tuple[list[tuple[Row, str]], str]:
        """Return as many rows as there is room for, failures before all; and how many more there are."""

    def below(self, width: int) -> list[str]:
        """Return the lines below the rows."""

    def summary(self) -> str:
        """Say how far it is, and since when."""


def fitting(troubled: dict[str, Row], going: dict[str, Row], room: int, doing: str) -> tuple[list[Row], list[Row], str]:
    """Return as many rows of both as there is room for, the newest first, and how many more there are."""
    most = max(room - len(going), room // 2)  # however many failed, what goes on is seen
    failed = list(islice(reversed(troubled.values()), most))
    shown = list(islice(reversed(going.values()), room - len(failed)))
    hidden = [(len(going) - len(shown), doing), (len(troubled) - len(failed), "in trouble")]
    more = " and ".join(f"{count} more {what}" for count, what in hidden if count)
    return failed, shown, more and f"… and {more}"


def allowed(options: Options, stage: HostStage, hosts: int) -> str:
    """Return how many of so many hosts may be at a stage, in parentheses; empty if it has no budget."""
    budgets = {HostStage.FAILED: options.max_failed, HostStage.UNREACHABLE: options.max_unreachable}
    return f" ({budgets[stage].of(hosts)} allowed)" if stage in budgets else ""


def clock(seconds: float) -> str:
    """Return minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
