"""Fake the services under supervisor in memory: processes that take time on a clock that tests move."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from release_agent.errors import Code, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Sequence
    from signal import Signals

    from release_agent.config.sections import Service
    from release_agent.health import Process
    from support.clocks import FakeClock

NEVER = math.inf


@dataclass
class FakeServices:
    """Supervisor's processes. ``calls``: all calls, each with its time in ``moments``.

    ``stop_takes``: seconds until a stopped process has ended; ``slow_to_stop``: the same by full name, for some processes.
    ``start_ends``: the state of a started process by full name (default: RUNNING), which it reaches after ``start_takes``
    seconds. ``refused``: full names of processes that supervisor does not start.
    """

    clock: FakeClock
    all: list[Process]
    stop_takes: float = 0.1
    slow_to_stop: dict[str, float] = field(default_factory=dict)
    start_takes: float = 1.0
    start_ends: dict[str, str] = field(default_factory=dict)
    refused: Sequence[str] = ()
    calls: list[str] = field(default_factory=list)
    moments: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        """Start without a pending change of a process."""
        self._coming: dict[str, tuple[float, str]] = {}

    def check(self, services: Sequence[Service]) -> None:
        """Accept every service."""

    def alive(self) -> None:
        """Do nothing: supervisor answers."""

    def processes(self) -> dict[str, list[Process]]:
        groups: dict[str, list[Process]] = {}
        for process in map(self._now, self.all):
            groups.setdefault(process.service, []).append(process)
        return groups

    def look(self, process: Process) -> Process | None:
        return next((self._now(known) for known in self.all if known.full_name == process.full_name), None)

    def stop(self, process: Process) -> None:
        self._called("stop", process)
        self._becomes(process, "STOPPING", self.slow_to_stop.get(process.full_name, self.stop_takes), "STOPPED")

    def start(self, process: Process) -> None:
        self._called("start", process)
        if process.full_name in self.refused:
            raise Unhealthy(Code.RESTART_FAILED, f"supervisor could not start {process.full_name}", hint="see why")
        self._becomes(process, "STARTING", self.start_takes, self.start_ends.get(process.full_name, "RUNNING"))

    def signal(self, process: Process, signal: Signals) -> None:
        self._called(signal.name, process)

    def smallest_program(self, service: str) -> int:
        return len(self.processes().get(service, ()))

    def stop_seconds(self, service: str) -> float:
        return 5.0 if service else 0.0

    def start_seconds(self, service: str) -> float:
        return 1.0 if service else 0.0

    def remove(self, full_name: str) -> None:
        """Remove a process from supervisor."""
        self.all = [process for process in self.all if process.full_name != full_name]

    def _called(self, what: str, process: Process) -> None:
        self.calls.append(f"{what} {process.full_name}")
        self.moments.append(self.clock.spent)

    def _becomes(self, process: Process, at_once: str, after: float, then: str) -> None:
        self.all = [replace(p, state=at_once) if p.full_name == process.full_name else p for p in self.all]
        self._coming[process.full_name] = (self.clock.now() + after, then)

    def _now(self, process: Process) -> Process:
        moment, state = self._coming.get(process.full_name, (NEVER, process.state))
        return replace(process, state=state) if self.clock.now() >= moment else process


class NoSockets:
    """A supervisord that listens on no socket for its programs."""

    def hold_socket(self, _service: str) -> bool:
        return False
