"""What is seen of preflight on a terminal: how many hosts were asked, who is in trouble, and who is waited for."""

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

_NEXT = {"status": "then what the revision would change", "check": "then the plan"}


class PreflightProgress:
    """How far preflight is, as it is drawn. The hosts are read while another thread asks them: each read takes a copy."""

    def __init__(self, asking: Asking, options: Options, now: Callable[[], float]) -> None:
        """``asking`` changes while hosts are asked; ``now`` is a clock that only goes forward."""
        self._asking = asking
        self._options = options
        self._now = now
        self._began = now()
        self._since: dict[str, float] = {}  # by name, of the hosts that are waited for

    @property
    def widest(self) -> int:
        """The length of the longest name."""
        return self._asking.widest

    @property
    def settled(self) -> int:
        """How many hosts have answered the question."""
        return self._asking.asked

    @property
    def total(self) -> int:
        """How many hosts are asked it."""
        return self._asking.hosts

    def notes(self) -> list[str]:
        """Say what hosts are asked, and what comes then."""
        asking = self._asking
        return [f"{text.preflight(asking.what, asking.asked, asking.hosts)}; {_NEXT[asking.what]}"]

    def rows(self, room: int) -> tuple[list[tuple[Row, str]], str]:
        """Return as many rows as there is room for, failures before all, then who is waited for longest; and how many more."""
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
        """Say how many hosts are in trouble, and what the budgets allow."""
        stages = [host.stage for host in self._troubled()]
        words = [
            f"{stages.count(one)} {one}{allowed(self._options, one, self._asking.fleet)}" for one in TROUBLE if one in stages
        ]
        return [", ".join(words)] if words else []

    def summary(self) -> str:
        """Say since when it goes on."""
        return f"preflight  {clock(self._now() - self._began)} so far"
