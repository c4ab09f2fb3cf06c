"""Count the requests to end a container."""

from __future__ import annotations

from release_agent.config.sections import MonitorSettings
from release_agent.monitor.ending import ContainerEnd
from support.contexts import Unheard


class Container:
    """A supervisord that counts the requests to end it, and may refuse them; its services printed one line."""

    def __init__(self) -> None:
        self.asked = 0
        self.refuses: str | None = None

    def shut_down(self) -> str | None:
        self.asked += 1
        return self.refuses

    def last_words(self, service: str, since: float) -> tuple[str, list[str]]:
        return "exit status 3", [f"{service} since {since}"]


def never_ending() -> ContainerEnd:
    """Return an ending that never ends a container, as without ``[monitor]``."""
    return ContainerEnd(MonitorSettings(exit_when="never", exit_after=30.0), Container(), Container(), Unheard())
