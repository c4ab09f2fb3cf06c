"""Hold the listening sockets of fcgi-programs during the replacement of their processes, so that requests wait.

Supervisord closes a group's socket with the last process that has it. While the plugin refers to the socket, it stays
open, and the kernel queues new connections.
"""

from __future__ import annotations

import contextlib
import os
from typing import TYPE_CHECKING, Any

from supervisor import events

from release_agent.plugin.watch import PidWatch

if TYPE_CHECKING:
    from collections.abc import Callable


class HeldSockets:
    """The sockets that one supervisord holds for a run; none outlives the run, its group, or a reload."""

    def __init__(self) -> None:
        self._held: dict[str, Any] = {}
        self._watch: PidWatch | None = None
        self._run = 0
        events.subscribe(events.ProcessGroupRemovedEvent, self._on_removed)
        events.subscribe(events.SupervisorStoppingEvent, self._on_stopping)
        events.subscribe(events.Tick5Event, self._on_tick)

    @property
    def names(self) -> list[str]:
        """Return the groups with a held socket."""
        return sorted(self._held)

    def hold(self, name: str, group: Any, run: int) -> bool:
        """Hold the socket of a group until let_go(), at most while the run (a pid) lives; returns False if it has none."""
        manager = getattr(group, "socket_manager", None)
        if manager is None:
            return False
        self._held[name] = manager.get_socket()
        if run != self._run or self._watch is None or not self._watch.readable():
            self._follow(run)
        return True

    def let_go(self, name: str) -> None:
        """Release a group's socket: its processes have it, or supervisord closes it."""
        self._held.pop(name, None)

    def _follow(self, run: int) -> None:
        self._unwatch()
        self._run = run
        with contextlib.suppress(Exception):  # without a pidfd the next tick notices the end
            self._watch = _RunWatch(os.pidfd_open(run), self._let_all_go)

    def _let_all_go(self) -> None:
        self._held.clear()
        self._unwatch()

    def _unwatch(self) -> None:
        watch, self._watch = self._watch, None
        if watch:
            watch.close()

    def _on_removed(self, event: Any) -> None:
        with contextlib.suppress(Exception):
            self.let_go(event.group)

    def _on_stopping(self, _event: object) -> None:
        with contextlib.suppress(Exception):
            self._let_all_go()

    def _on_tick(self, _event: object) -> None:
        with contextlib.suppress(Exception):
            if self._held and not os.path.exists(f"/proc/{self._run}"):  # noqa: PTH110 - a pid
                self._let_all_go()


class _RunWatch(PidWatch):
    """Releases all sockets when the run has ended."""

    def __init__(self, descriptor: int, let_go: Callable[[], None]) -> None:
        super().__init__(descriptor)
        self._let_go = let_go

    def handle_read_event(self) -> None:
        """Release all sockets, and leave the loop."""
        self.close()
        self._let_go()
