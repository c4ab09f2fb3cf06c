"""Report a run to Consul: the service, its health check and the host's record. Consul never decides the outcome of a run.

One thread talks to Consul. A run waits for Consul for at most BUDGET seconds in
total. Reports that are not sent by then stay in the journal.
"""

from __future__ import annotations

import queue
import threading
from typing import TYPE_CHECKING, Any, Protocol

from release_agent.consul.connection import ConsulError
from release_agent.consul.registration import UNWATCHED_TTL
from release_agent.errors import ReleaseError
from release_agent.health import Health, HealthState

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from release_agent.consul.registration import ConsulAgent
    from release_agent.model import Release
    from release_agent.system.clock import Clock
    from release_agent.system.logs import Log

_Shown = tuple["Release | None", Health]  # source of the check: the live release and its health

BUDGET = 5.0  # seconds
_FIRST_WAIT = 2.0  # seconds
_UNKEPT = -1  # number of a report that could not be written to the journal


class Spool(Protocol):
    """The queue of unsent reports, in the journal."""

    def keep_report(self, body: dict[str, Any]) -> None:
        """Add a report."""

    def forget_report(self, seq: int) -> None:
        """Remove a report that was sent."""

    def reports(self) -> list[tuple[int, dict[str, Any]]]:
        """Return the reports with their numbers, oldest first."""


class ConsulReporter:
    """The reports of one run, sent by one thread; call it only from the main thread."""

    def __init__(  # noqa: PLR0913 - made in one place
        self, agent: ConsulAgent, spool: Spool, clock: Clock, log: Log, *, watched: Callable[[], bool], ttl: float
    ) -> None:
        """``watched``: whether a ``monitor`` renews the check between runs; then its TTL is ``ttl`` seconds, otherwise a day."""
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
        """Set the check to ``warning``: the release is live and not proved yet."""
        self._tell("deploying", release, HealthState.WARNING)

    def draining(self, release: Release) -> None:
        """Set the check to ``critical``, which takes the host out of Consul's DNS before its processes stop."""
        self._tell("draining", release, HealthState.CRITICAL)

    def _tell(self, what: str, release: Release, state: HealthState) -> None:
        health = Health(state, (f"{what} {release.revision} as {release.name}",))
        ttl = self._ttl()
        error = self._ask(lambda: _show(self._agent, release, health, ttl), _FIRST_WAIT, (release, health))
        if error:
            self._log.warning("report.failed", what=what, why=error)

    def finish(self, told: dict[str, Any] | None, live: Release | None, health: Health | None) -> None:
        """Queue the report ``told``, send the queue in order, and set the check from ``health`` unless that is None."""
        shown = (live, health if live else Health(HealthState.CRITICAL, health.problems)) if health else None
        if told:
            told = {**told, "address": self._agent.address}
        try:
            if told:
                self._spool.keep_report(told)
            waiting = self._spool.reports()
        except ReleaseError as full:  # a full disk; the report can still be sent
            self._log.warning("journal.failed", why=full.message)
            waiting = [(_UNKEPT, told)] if told else []
        ttl, over = self._ttl(), threading.Event()
        noted: dict[int, str] = {}  # the warning for each sent report

        def send() -> None:
            self._prepare(shown, ttl)
            for seq, body in waiting:
                if over.is_set():
                    return  # this report would not be removed from the queue, and the next run would send it again
                noted[seq] = self._agent.put(body)

        error = self._ask(send, self._left, shown)
        over.set()
        sent = dict(noted)  # the thread may still be sending one
        for why in filter(None, sent.values()):
            self._log.warning("report.replaced", why=why)
        self._forget(sent)
        if error:
            self._log.warning("report.spooled", why=error, waiting=len(waiting) - len(sent))
        else:
            self._log.info("report.sent", reports=len(sent))

    def _forget(self, sent: Iterable[int]) -> None:
        """Remove a sent report from the queue; on a full disk the next run sends it again."""
        try:
            for seq in sent:
                self._spool.forget_report(seq)
        except ReleaseError as full:
            self._log.warning("journal.failed", why=full.message)

    def _prepare(self, shown: _Shown | None, ttl: float) -> None:
        self._agent.reachable()
        if shown:
            _show(self._agent, *shown, ttl)
        elif ttl < UNWATCHED_TTL:
            self._agent.require_own()

    def _ttl(self) -> float:
        return self._watched_ttl if self._is_watched() else UNWATCHED_TTL

    def _ask(self, task: Callable[[], None], most: float, shown: _Shown | None) -> str | None:
        """Run a task in the thread and wait for it, for ``most`` seconds and within the budget; returns the error, or None."""
        worker = self._started()
        began = self._clock.now()
        error = worker.do(task, shown, min(most, self._left))
        self._left = max(0.0, self._left - (self._clock.now() - began))
        return error


class NoReporter:
    """The reporter for ``[consul] enabled = false``: it does nothing."""

    def begin(self) -> None:
        """Do nothing."""

    def deploying(self, release: Release) -> None:
        """Do nothing."""

    def draining(self, release: Release) -> None:
        """Do nothing."""

    def finish(self, told: dict[str, Any] | None, live: Release | None, health: Health | None) -> None:
        """Do nothing."""


class _Worker:
    """The thread that talks to Consul: it runs tasks in order and, when idle, renews the check every ``interval`` seconds."""

    def __init__(self, agent: ConsulAgent, interval: float) -> None:
        self._agent = agent
        self._interval = interval
        self._tasks: queue.SimpleQueue[tuple[Callable[[], None], _Shown | None, queue.SimpleQueue[str | None]]]
        self._tasks = queue.SimpleQueue()
        self._shown: _Shown | None = None
        threading.Thread(target=self._work, daemon=True).start()

    def do(self, task: Callable[[], None], shown: _Shown | None, timeout: float) -> str | None:
        """Queue a task and wait for it, for ``timeout`` seconds; returns the error, or None."""
        answer: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._tasks.put((task, shown, answer))
        try:
            return answer.get(timeout=timeout)
        except queue.Empty:
            return f"no answer within {timeout:.1f} s"

    def _work(self) -> None:
        self._agent.warm_up()  # as long as the main thread waits for git

        while True:
            try:
                task, shown, answer = self._tasks.get(timeout=self._interval)
            except queue.Empty:
                self._renew()
                continue
            try:
                task()
                self._shown = shown or self._shown
                answer.put(None)
            except Exception as error:  # noqa: BLE001 - Consul never decides; the run logs the error
                answer.put(str(error) or type(error).__name__)

    def _renew(self) -> None:
        try:
            self._agent.require_own()
            if self._shown:
                self._agent.update(*self._shown)
            elif known := self._agent.health():
                self._agent.update(None, known)
        except Exception:  # noqa: BLE001 - Consul never decides
            return  # the next interval tries again, and the run's report shows the error


def _show(agent: ConsulAgent, release: Release | None, health: Health, ttl: float) -> None:
    agent.register(release, health, ttl)
    if not agent.update(release, health):
        message = "Consul does not know the check that was just registered"
        raise ConsulError(message)
