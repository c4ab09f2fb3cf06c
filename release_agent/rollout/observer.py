"""The interface of an observer of a running rollout."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    import asyncio

    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import Asking


class Observer(Protocol):
    """Follows a rollout, and answers for a person: a terminal, a log, a web page."""

    def preflight(self, asking: Asking, options: Options) -> None:
        """Show the progress of preflight from now on, until end(); it changes during the questions to hosts."""

    def begin(self, rollout: Rollout) -> None:
        """Show a rollout from now on; it changes during its run."""

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Show one transition; ``host`` has its new stage."""

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Ask for approval; ``approved`` is set when the answer came from elsewhere. None: no person can answer."""

    def end(self) -> None:
        """End the picture."""
