"""The resident event listener: looks at the live release, renews Consul's check, sends queued reports.

One thread answers supervisor's protocol immediately. Another thread looks and reports,
so that no event waits for a slow probe or Consul.
"""

from __future__ import annotations

import queue
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from release_agent.consul.connection import ConsulError
from release_agent.errors import ReleaseError
from release_agent.health import Health, HealthState
from release_agent.monitor.watch import HealthWatch

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from release_agent.consul.registration import ConsulAgent
    from release_agent.health import Look
    from release_agent.journal.journal import StateDatabase
    from release_agent.model import Release
    from release_agent.monitor.ending import ContainerEnd, Lost
    from release_agent.monitor.listener import Wakeups
    from release_agent.monitor.watched import Watched
    from release_agent.system.logs import Log

_Shown = tuple["Release | None", Health]  # source of Consul's check: the live release and its health

_LATE = 8.0  # seconds without an event; supervisor sends one every five seconds


class Monitor:
    """Runs one round after the other: look, note, tell Consul, send queued reports. It logs a failed round and continues."""

    def __init__(
        self, watched: Watched, journal: Callable[[], StateDatabase], consul: ConsulAgent | None, log: Log, ending: ContainerEnd
    ) -> None:
        """``journal`` opens state.db to write, again in each round, because a run may have set a broken one aside."""
        self._watched = watched
        self._journal = journal
        self._consul = consul
        self._log = log
        self._ending = ending
        self._registered: str | None = None  # the live release in Consul's record; None: not reported
        self._said: tuple[str, str] = ("", "")
        self._shown: _Shown | None = None  # source of Consul's check; None: the last look set none
        self._run_seen = False  # whether the last look found a run, which renewed the check itself
        self._watch = HealthWatch(watched, log)
        self.services: Mapping[str, bool] = {}
        """The health of each service at the last look; empty if the look failed."""

    def run(self, wakeups: Wakeups) -> None:
        """Run a round at every event until the last."""
        while self._next(wakeups) is not None:
            self.round()

    def _next(self, wakeups: Wakeups) -> str | None:
        """Wait for the next event. A TTL may be shorter than that, so renew the check until the event is late."""
        if self._consul:
            pause = self._consul.ttl / 3
            for _ in range(int(_LATE / pause)):
                try:
                    return wakeups.get(timeout=pause)
                except queue.Empty:
                    if self._run_seen and not self._watched.busy():
                        return "the run has ended"
                    self._renew(self._consul)
        return wakeups.get()

    def _renew(self, consul: ConsulAgent) -> None:
        """Renew the check with the verdict of the last look, unless a run has changed something since."""
        if not self._shown or self._ending.begun:
            return
        with suppress(Exception):  # the next look reports the problem
            if not self._watched.busy() and self._watched.live() == self._shown[0]:
                consul.update(*self._shown)

    def round(self) -> None:
        """Look and report, unless a run does so. Once the container ends, do nothing: Consul keeps the reason."""
        if self._ending.begun:
            return
        shown, self._shown, self._run_seen = self._shown, None, False
        try:
            if self._watched.busy():
                self._run_seen = True
                self._ending.wait_for_run()
                self._registered = None  # the run registers its release, with its own TTL
                return
            live = self._watched.live()
            with self._renewing(live, shown):
                look, health = self._look(live)
            self.services = {name: service.well for name, service in look.services.items()} if look else {}
            # A run may have started during the probes; from then on it owns the check.
            if self._watched.busy():
                self._ending.wait_for_run()
            else:
                self._tell(live, look, health)
        except ReleaseError as error:
            self._log.warning("monitor.failed", why=error.message)
        except ConsulError as error:
            self._registered = None
            self._say("unreachable", str(error))
        except Exception as error:  # noqa: BLE001 - such as no free process: the next look may succeed
            self._log.warning("monitor.failed", why=f"{type(error).__name__}: {error}")

    @contextmanager
    def _renewing(self, live: Release | None, shown: _Shown | None) -> Iterator[None]:
        """Renew the check with the last verdict during a look, which may take longer than the TTL."""
        consul, over = self._consul, threading.Event()
        if not consul or not shown or shown[0] != live:
            yield
            return

        def renew() -> None:
            while not over.wait(consul.ttl / 3) and not self._watched.busy():
                with suppress(ConsulError):  # the end of the look reports the problem
                    consul.update(*shown)

        thread = threading.Thread(target=renew, daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join()  # otherwise the last verdict might come after the new one

    def _look(self, live: Release | None) -> tuple[Look | None, Health]:
        """Look once; returns no Look if no release is live or supervisor does not answer, which is no reason to roll back."""
        if live is None:
            return None, Health.of("no release is live")
        try:
            look = self._watched.look(live)
        except ReleaseError as error:
            return None, Health.of(error.message)
        return look, Health.of(*look.problems)

    def _tell(self, live: Release | None, look: Look | None, health: Health) -> None:
        try:
            self._note(live, look, health)
        except ReleaseError as error:  # a full disk must not take a healthy host out of Consul
            self._log.warning("journal.failed", why=error.message)
        losses = self._ending.consider(look)
        if live and losses:
            self._end(live, health, losses)
        else:
            self._report(live, health)

    def _end(self, live: Release, health: Health, losses: Sequence[Lost]) -> None:
        """Report the reason to Consul, best effort, then end the container."""
        try:
            self._report(live, Health.of(self._ending.announce(live, losses), *health.problems))
        finally:
            self._ending.end()

    def _report(self, live: Release | None, health: Health) -> None:
        if self._consul:
            self._show(self._consul, live, health)
            self._shown = (live, health)
            self._exchange(self._consul)
        self._say(health.state, health.why)

    def _note(self, live: Release | None, look: Look | None, health: Health) -> None:
        """Note the look, and roll back if needed, before the slow calls to Consul."""
        with self._journal() as journal:
            journal.found(health)
            if live and self._watch.consider(live, look, journal):
                self._ending.wait_for_run()

    def _exchange(self, consul: ConsulAgent) -> None:
        """Note the maintenance mode, which only a person ends. Send queued reports."""
        with self._journal() as journal:
            journal.maintained(consul.in_maintenance() or "")
            self._send(consul, journal)

    def _show(self, consul: ConsulAgent, live: Release | None, health: Health) -> None:
        """Keep the check alive. If Consul has lost the service, or another release is live, register it first."""
        name = live.name if live else ""
        if self._registered == name and consul.update(live, health):
            return
        consul.register(live, health, consul.ttl)
        self._registered = name if consul.update(live, health) else None

    def _send(self, consul: ConsulAgent, journal: StateDatabase) -> None:
        """Send queued reports in order, and remove each from the queue."""
        waiting = journal.reports()
        if waiting:
            consul.reachable()
        for seq, body in waiting:
            if self._watched.busy():
                return  # a run sends the queued reports, then its own
            why = consul.put(body)
            journal.forget_report(seq)
            if why:
                self._log.warning("report.replaced", why=why)
        if waiting:
            self._log.info("report.sent", reports=len(waiting))

    def _say(self, state: str, why: str) -> None:
        """Log changes, not every look."""
        if (state, why) != self._said:
            self._said = (state, why)
            say = self._log.info if state == HealthState.PASSING else self._log.warning
            say("health.changed", health=state, why=why)
