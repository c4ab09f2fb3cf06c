"""The parts of the picture on a terminal."""

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
    """One host as a row: its name, its stage, a remark, and its start."""

    name: str
    host: Host
    stage: str
    began: float


class Picture(Protocol):
    """The parts of the picture, from top to bottom; another thread reads them."""

    @property
    def widest(self) -> int:
        """The length of the longest name."""

    @property
    def settled(self) -> int:
        """The number of finished hosts."""

    @property
    def total(self) -> int:
        """The number of hosts."""

    def notes(self) -> list[str]:
        """Describe the current step or wait, its reason, its remaining time, and the next step."""

    def rows(self, room: int) -> tuple[list[tuple[Row, str]], str]:
        """Return as many rows as fit, failures first, and the number of the others."""

    def below(self, width: int) -> list[str]:
        """Return the lines below the rows."""

    def summary(self) -> str:
        """Describe the progress and the time so far."""


def fitting(troubled: dict[str, Row], going: dict[str, Row], room: int, doing: str) -> tuple[list[Row], list[Row], str]:
    """Return as many rows of both as fit, the newest first, and the number of the others."""
    most = max(room - len(going), room // 2)  # rows in flight stay visible beside many failures
    failed = list(islice(reversed(troubled.values()), most))
    shown = list(islice(reversed(going.values()), room - len(failed)))
    hidden = [(len(going) - len(shown), doing), (len(troubled) - len(failed), "in trouble")]
    more = " and ".join(f"{count} more {what}" for count, what in hidden if count)
    return failed, shown, more and f"… and {more}"


def allowed(options: Options, stage: HostStage, hosts: int) -> str:
    """Return the allowed number of hosts at a stage, in parentheses; empty without a budget."""
    budgets = {HostStage.FAILED: options.max_failed, HostStage.UNREACHABLE: options.max_unreachable}
    return f" ({budgets[stage].of(hosts)} allowed)" if stage in budgets else ""


def clock(seconds: float) -> str:
    """Return minutes and seconds, with hours if there are any."""
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"
