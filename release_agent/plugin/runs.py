"""Keep the runs that supervisord's plugin started, and notice the end of each."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from supervisor import events

from release_agent.plugin.watch import PidWatch

if TYPE_CHECKING:
    from release_agent.model import Request

_MOST_KEPT = 100
# Seconds for which a finished run keeps waking supervisord. Supervisord tries a deferred answer
# again only when something wakes it.
_LINGER = 0.1


@dataclass(frozen=True)
class Started:
    """A run: supervisor's object for its process, and the pid at its start (``since``: seconds since 1970)."""

    process: Any
    pid: int
    request: Request
    since: float

    @property
    def is_over(self) -> bool:
        """Return whether its process is reaped, so that the next start succeeds."""
        # It may have been reaped before its pid could be read.
        return bool(self.process.pid != self.pid or not self.pid)

    @property
    def holder(self) -> dict[str, Any]:
        """The run as the lock will name its holder, once the run has taken it."""
        request = self.request
        what = {"action": str(request.action), "revision": request.revision or request.release}
        return {"id": request.id, "pid": self.pid, "since": self.since, **what}

    @property
    def exit_code(self) -> int | None:
        """The exit code, if the run is over and the program was not started again."""
        return None if self.process.pid else self.process.exitstatus


class StartedRuns:
    """The runs of one supervisord, by id; kept on the supervisord object, because a reload makes a new plugin."""

    def __init__(self) -> None:
        self._runs: dict[str, Started] = {}
        self._watches: list[ExitWatch] = []
        # A reload closes every descriptor that it does not know, and the kernel uses the numbers
        # again. A watch that stayed in the loop would read another file's descriptor.
        events.subscribe(events.SupervisorStoppingEvent, self.let_go)

    def add(self, request: Request, process: Any) -> None:
        """Add a run whose process was just spawned, and wake supervisord when it ends."""
        run = Started(process, process.pid, request, time.time())
        self._runs[request.id] = run
        for oldest in list(self._runs)[:-_MOST_KEPT]:
            del self._runs[oldest]
        self._watches = [watch for watch in self._watches if watch.readable()]
        # Without a pidfd (the process has ended, or Linux is older than 5.3) supervisord notices at its next tick, within 1 s.
        with contextlib.suppress(Exception):
            self._watches.append(ExitWatch(os.pidfd_open(run.pid), run))

    def let_go(self, _event: object = None) -> None:
        """Remove all watches from supervisord's loop, which stops or reloads."""
        for watch in self._watches:
            watch.close()
        self._watches = []

    def running(self) -> Started | None:
        """Return the current run, or None; supervisord starts one at a time."""
        return next((run for run in reversed(self._runs.values()) if not run.is_over), None)

    def get(self, identity: str) -> Started | None:
        """Return a run, or None if this supervisord did not start it."""
        return self._runs.get(identity)


class ExitWatch(PidWatch):
    """Watches a run's process, and keeps supervisord's loop awake until the waiting clients are answered."""

    def __init__(self, descriptor: int, run: Started) -> None:
        """Join the loop; ``descriptor``: a pidfd, which this object closes."""
        super().__init__(descriptor)
        self._run = run
        self._until: float | None = None

    def handle_read_event(self) -> None:
        """Keep the loop awake: supervisord reaps the process in this turn, and answers the waiting clients in the next."""
        if self._run.is_over:
            now = time.monotonic()
            self._until = self._until or now + _LINGER
            if now >= self._until:
                self.close()
