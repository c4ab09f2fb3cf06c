"""Show preflight on a terminal: the number of asked hosts, the hosts in trouble, and the slow ones."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.rollout.console import text
from release_agent.rollout.console.picture import TROUBLE, Row, allowed, clock, fitting
from release_agent.rollout.console.progress import flat

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.rollout.model import Host
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import Asking

_NEXT = {"status": "then the changes of the revision", "check": "then the plan"}


class PreflightProgress:
    """The picture of preflight. Another thread asks the hosts, so each read takes a copy."""

    def __init__(self, asking: Asking, options: Options, now: Callable[[], float]) -> None:
        """``asking`` changes during preflight; ``now``: a monotonic clock."""
        self._asking = asking
        self._options = options
        self._now = now
        self._began = now()
        self._since: dict[str, float] = {}  # start of the question, by name of a host without an answer

    @property
    def widest(self) -> int:
        """The length of the longest name."""
        return self._asking.widest

    @property
    def settled(self) -> int:
        """The number of hosts that have answered the question."""
        return self._asking.asked

    @property
    def total(self) -> int:
        """The number of hosts for the question."""
        return self._asking.hosts

    def notes(self) -> list[str]:
        """Describe the question to the hosts, and the next step."""
        asking = self._asking
        return [f"{text.preflight(asking.what, asking.asked, asking.hosts)}; {_NEXT[asking.what]}"]

    def rows(self, room: int) -> tuple[list[tuple[Row, str]], str]:
        """Return as many rows as fit, failures first, then the slowest hosts, and the number of the others."""
        now, waiting = self._now(), self._asking.waiting.copy()
        self._since = {name: self._since.get(name, now) for name in waiting}
        asked = {name: Row(flat(name), waiting[name], "asked", since) for name, since in reversed(self._since.items())}
        troubled = {host.name: Row(flat(host.name), host, host.stage, now) for host in self._troubled()}
        failed, going, more = fitting(troubled, asked, room, "asked")
        said = [(row, flat(text.cause(row.host))) for row in failed]
        return [*said, *((row, f"{now - row.began:.0f} s") for row in going)], more

    def _troubled(self) -> list[Host]:
        return [host for host in self._asking.troubled.copy().values() if host.stage in TROUBLE]

    def below(self, _width: int) -> list[str]:
        """Show the numbers of hosts in trouble, and the budgets."""
        stages = [host.stage for host in self._troubled()]
        words = [
            f"{stages.count(one)} {one}{allowed(self._options, one, self._asking.fleet)}" for one in TROUBLE if one in stages
        ]
        return [", ".join(words)] if words else []

    def summary(self) -> str:
        """Show the time so far."""
        return f"preflight  {clock(self._now() - self._began)} so far"
