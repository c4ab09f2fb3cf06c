"""Consul: the service, its health check, the host's record. Never decides, never holds up.

All talking is done by one thread; a run waits for it five seconds at the most,
all its waits together. What was not sent by then stays in the journal.
"""

from __future__ import annotations

import queue
import threading
from importlib import import_module
from typing import TYPE_CHECKING, Any, Protocol

from release_agent.consul.client import ConsulError
from release_agent.consul.registration import Status
from release_agent.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.consul.registration import ConsulAgent
    from release_agent.model import Release
    from release_agent.system.clock import Clock
    from release_agent.system.logs import Log

BUDGET = 5.0
_FIRST_WAIT = 2.0
_UNKEPT = -1  # the number of a report that could not be kept
_UNWATCHED_TTL = 24 * 3600.0  # nobody but deployments keeps the check alive


class Spool(Protocol):
    """Where reports wait."""

    def keep_report(self, body: dict[str, Any]) -> None:
        """Keep one until it is sent."""

    def forget_report(self, seq: int) -> None:
        """Forget one that was sent."""

    def reports(self) -> list[tuple[int, dict[str, Any]]]:
        """Return those not sent yet, oldest first."""


class ConsulReporter:
    """Reports of one run, through one thread. Main thread only, but for what the thread itself does."""

    def __init__(  # noqa: PLR0913 - made in one place
        self, agent: ConsulAgent, spool: Spool, clock: Clock, log: Log, *, watched: Callable[[], bool], ttl: float
    ) -> None:
        """``watched``: whether a ``monitor`` keeps the check alive between runs; ``ttl`` is its time to live then."""
        self._agent = agent
        self._spool = spool
        self._clock = clock
        self._log = log
        self._is_watched = watched
        self._watched_ttl = ttl
        self._left = BUDGET
        self._worker: _Worker | None = None

    def begin(self) -> None:
        """Keep the health check alive while the lock is held."""
        self._started()

    def _started(self) -> _Worker:
        if self._worker is None:
            self._worker = _Worker(self._agent, self._watched_ttl / 3)
        return self._worker

    def deploying(self, release: Release) -> None:
        """Set the check to ``warning``: live, and not proved yet."""
        status = Status("warning", f"deploying {release.revision} as {release.name}")
        ttl = self._ttl()
        error = self._ask(lambda: _show(self._agent, release, status, ttl), _FIRST_WAIT, status)
        if error:
            self._log.warning("report.failed", what="deploying", why=error)

    def finish(self, told: dict[str, Any] | None, live: Release | None, wrong: str | None) -> None:
        """Write down the report, send all that waits in order, forget what was sent."""
        status = None
        if wrong is not None:
            what = f"{live.revision} ({live.name})" if live else "nothing"
            status = Status("critical", wrong) if wrong or not live else Status("passing", f"{what} is live and healthy")
        try:
            if told:
                self._spool.keep_report(told)
            waiting = self._spool.reports()
        except ReleaseError as full:  # a full disk; Consul may still be told
            self._log.warning("journal.failed", why=full.message)
            waiting = [(_UNKEPT, told)] if told else []
        ttl = self._ttl()
        sent: list[int] = []
        error = self._ask(lambda: self._send(waiting, sent, live, status, ttl), self._left, status)
        for seq in sent:
            self._spool.forget_report(seq)
        if error:
            self._log.warning("report.spooled", why=error, waiting=len(waiting) - len(sent))
        else:
            self._log.info("report.sent", reports=len(sent))

    def _send(
        self, waiting: list[tuple[int, dict[str, Any]]], sent: list[int], live: Release | None, status: Status | None, ttl: float
    ) -> None:
        self._agent.reachable()
        if status:
            _show(self._agent, live, status, ttl)
        for seq, body in waiting:
            self._agent.put(body)
            sent.append(seq)

    def _ttl(self) -> float:
        return self._watched_ttl if self._is_watched() else _UNWATCHED_TTL

    def _ask(self, task: Callable[[], None], most: float, status: Status | None) -> str | None:
        """Have the thread do something and wait for it within the budget; returns what went wrong."""
        worker = self._started()
        began = self._clock.now()
        error = worker.do(task, status, min(most, self._left))
        self._left = max(0.0, self._left - (self._clock.now() - began))
        return error


class NoReporter:
    """Where ``[consul] enabled = false``."""

    def begin(self) -> None:
        """Do nothing."""

    def deploying(self, release: Release) -> None:
        """Do nothing."""

    def finish(self, told: dict[str, Any] | None, live: Release | None, wrong: str | None) -> None:
        """Do nothing."""


class _Worker:
    """The thread that talks: tasks in order, and the check's renewal when there is nothing else to do."""

    def __init__(self, agent: ConsulAgent, interval: float) -> None:
        self._agent = agent
        self._interval = interval
        self._tasks: queue.SimpleQueue[tuple[Callable[[], None], queue.SimpleQueue[str | None]]] = queue.SimpleQueue()
        self._status: Status | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def do(self, task: Callable[[], None], status: Status | None, timeout: float) -> str | None:
        """Queue a task and wait for it; returns what went wrong, or None."""
        answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._status = status or self._status
        self._tasks.put((task, answer))
        try:
            return answer.get(timeout=timeout)
        except queue.Empty:
            return f"no answer within {timeout:.1f} s"

    def _work(self) -> None:
        import_module("consul")  # 120 ms, while the main thread waits for git

        while True:
            try:
                task, answer = self._tasks.get(timeout=self._interval)
            except queue.Empty:
                self._renew()
                continue
            try:
                task()
                answer.put(None)
            except Exception as error:  # noqa: BLE001 - Consul never decides; what it was is logged by the run
                answer.put(str(error) or type(error).__name__)

    def _renew(self) -> None:
        try:
            status = self._status or self._agent.status()
            if status:
                self._agent.update(status)
        except ConsulError:
            return  # tried again at the next interval, and the run's report will say so


def _show(agent: ConsulAgent, release: Release | None, status: Status, ttl: float) -> None:
    agent.register(release, status, ttl)
    if not agent.update(status):
        message = "Consul does not know the check it was just given"
        raise ConsulError(message)
