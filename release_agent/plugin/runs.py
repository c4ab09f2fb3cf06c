"""Runs that were started from inside supervisord, and the moment at which each has ended."""

from __future__ import annotations

import contextlib
import os
import time
from dataclasses import dataclass
from typing import Any

from supervisor import events
from supervisor.medusa import asyncore_25 as asyncore

_MOST_KEPT = 100
# Supervisord looks at a deferred answer again only when something wakes it: how
# long a finished run goes on waking it, so that who waits hears of it.
_LINGER = 0.1


@dataclass(frozen=True)
class Started:
    """A run: its process, as supervisor has it, and the pid it had."""

    process: Any
    pid: int
    revision: str

    @property
    def is_over(self) -> bool:
        """Whether its process was reaped: the next start succeeds at once."""
        # It may have been reaped before there was a pid to keep.
        return bool(self.process.pid != self.pid or not self.pid)

    @property
    def exit_code(self) -> int | None:
        """The exit code, where it is over and nothing was started since."""
        return None if self.process.pid else self.process.exitstatus


class Awaited:
    """The runs of one supervisord, by id; kept on the supervisord object, for reloads make the plugin anew."""

    def __init__(self) -> None:
        """Nothing was started yet."""
        self._runs: dict[str, Started] = {}
        self._watches: list[ExitWatch] = []
        # A reload closes every descriptor it does not know, and their numbers are
        # used again: a watch that stayed in the loop would answer for a stranger.
        events.subscribe(events.SupervisorStoppingEvent, self.let_go)

    def add(self, identity: str, process: Any, revision: str) -> None:
        """Remember a run whose process was just spawned, and wake supervisord when that ends."""
        run = Started(process, process.pid, revision)
        self._runs[identity] = run
        for oldest in list(self._runs)[:-_MOST_KEPT]:
            del self._runs[oldest]
        self._watches = [watch for watch in self._watches if watch.readable()]
        # Where it has ended, or the kernel or Python's own build is older than 5.3: the next tick, within a second, will do.
        with contextlib.suppress(Exception):
            self._watches.append(ExitWatch(os.pidfd_open(run.pid), run))

    def let_go(self, _event: object = None) -> None:
        """Leave supervisord's loop: it stops, or reloads."""
        for watch in self._watches:
            watch.close()
        self._watches = []

    def get(self, identity: str) -> Started | None:
        """Return a run of this supervisord."""
        return self._runs.get(identity)


class ExitWatch:
    """A dispatcher in supervisord's own event loop: a pidfd, readable from the moment its process ends.

    Supervisord catches what handle_read_event raises, and calls handle_error. The others raise nothing: it would end with it.
    """

    def __init__(self, descriptor: int, run: Started) -> None:
        """Join the loop."""
        self._descriptor = descriptor
        self._file = os.fstat(descriptor)
        self._run = run
        self._until: float | None = None
        asyncore.socket_map[descriptor] = self

    def readable(self) -> bool:
        """Whether to go on waiting; not on a descriptor that somebody closed: the loop would never rest."""
        if self._descriptor >= 0 and not self._is_own(self._descriptor):
            self.close()
        return self._descriptor >= 0

    def writable(self) -> bool:
        """Nothing is ever written."""
        return False

    def handle_read_event(self) -> None:
        """Its process has ended: supervisord reaps it in this turn of the loop, and answers who waits in the next."""
        if self._run.is_over:
            now = time.monotonic()
            self._until = self._until or now + _LINGER
            if now >= self._until:
                self.close()

    def handle_write_event(self) -> None:
        """Nothing is ever written."""

    def handle_error(self) -> None:
        """Leave the loop rather than disturb it."""
        self.close()

    def close(self) -> None:
        """Leave the loop; a number that is a stranger's by now stays the stranger's."""
        descriptor, self._descriptor = self._descriptor, -1
        if asyncore.socket_map.get(descriptor) is self:
            del asyncore.socket_map[descriptor]
        if self._is_own(descriptor):
            with contextlib.suppress(Exception):
                os.close(descriptor)

    def _is_own(self, descriptor: int) -> bool:
        with contextlib.suppress(Exception):
            return os.path.samestat(os.fstat(descriptor), self._file)
        return False
