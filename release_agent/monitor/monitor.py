"""The resident event listener: looks at what is live, keeps Consul's check alive, sends what waits.

Supervisor's protocol is answered by one thread, at once, and looking and
talking is done by another: however long a probe or Consul takes, no event waits.
"""

from __future__ import annotations

import queue
import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Protocol

from release_agent.consul.client import ConsulError
from release_agent.consul.registration import ConsulAgent, Status
from release_agent.errors import ReleaseError
from release_agent.model import Action

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from typing import TextIO

    from release_agent.config.sections import Health
    from release_agent.deploy.ports import Log
    from release_agent.journal.journal import StateDatabase
    from release_agent.model import Look, Release, Target

WATCH, POLL = "watch", "poll"
_OK = "RESULT 2\nOK"


class Watched(Protocol):
    """What is watched."""

    def busy(self) -> bool:
        """Whether a run holds the lock: then Consul's check is that run's."""

    def live(self) -> Release | None:
        """Return what is live."""

    def look(self, live: Release) -> Look:
        """Look once at its services and probes."""

    def health(self, live: Release) -> Health:
        """Return how long a release may be sick, and is watched."""

    def target(self) -> Target:
        """Resolve what a bare deploy would take."""

    def fire(self, method: str, trigger: str) -> str | None:
        """Fire a deployment or a rollback through supervisor; returns why it was refused, or None."""


def listen(events: TextIO, answers: TextIO, on_event: Callable[[str], None]) -> None:
    """Answer supervisor's event listener protocol until it closes; ``on_event`` must not block.

    Nothing but the protocol may be written to ``answers``.
    """
    while True:
        answers.write("READY\n")
        answers.flush()
        header = events.readline()
        if not header:
            return
        fields = dict(pair.split(":", 1) for pair in header.split())
        events.read(int(fields["len"]))
        on_event(fields["eventname"])
        answers.write(_OK)
        answers.flush()


class Wakeups:
    """Events for the thread that looks; many that came meanwhile are one."""

    def __init__(self) -> None:
        """Nothing has happened."""
        self._queue: queue.Queue[str | None] = queue.Queue(maxsize=1)

    def put(self, event: str | None) -> None:
        """Note an event; None is the last one."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            if event is None:
                self._queue.put(event)

    def get(self) -> str | None:
        """Wait for the next event."""
        return self._queue.get()


@dataclass(frozen=True)
class Found:
    """What a look found: what is live, Consul's status, whether it can never mend itself, whether a probe fails."""

    live: Release | None
    status: Status
    hopeless: bool = False
    failing: bool = False


class Monitor:
    """One round after the other: look, note, tell Consul, send what waits. A round that fails is logged, not the end."""

    def __init__(
        self, watched: Watched, journal: Callable[[], StateDatabase], consul: ConsulAgent | None, log: Log, ttl: float
    ) -> None:
        """``journal`` opens state.db to write: a new connection a round, since a run may have set a broken one aside."""
        self._watched = watched
        self._journal = journal
        self._consul = consul
        self._log = log
        self._ttl = ttl
        self._registered: str | None = None  # which release Consul was told is live; None: it is to be told
        self._said: tuple[str, str] = ("", "")
        self._bake = Bake(watched, log)
        self.services: Mapping[str, bool] = {}
        """Which service was well when last looked at; empty where nothing could be looked at."""

    def run(self, wakeups: Wakeups) -> None:
        """Go round at every event until the last."""
        while wakeups.get() is not None:
            self.round()

    def round(self) -> None:
        """Look and tell, unless a run is doing so."""
        try:
            if self._watched.busy():
                self._registered = None  # the run registers what it makes live; with its own idea of the TTL
                return
            found = self._look()
            # A run may have begun while probes were asked: from then on the check is its own.
            if not self._watched.busy():
                self._tell(found)
        except ReleaseError as error:
            self._log.warning("monitor.failed", why=error.message)
        except ConsulError as error:
            self._registered = None
            self._say("unreachable", str(error))
        except Exception as error:  # noqa: BLE001 - no more processes, say: the next look may do
            self._log.warning("monitor.failed", why=f"{type(error).__name__}: {error}")

    def _look(self) -> Found:
        live = self._watched.live()
        if live is None:
            self.services = {}
            return Found(None, Status("critical", "no release is live"))
        try:
            look = self._watched.look(live)
        except ReleaseError as error:  # supervisor does not answer: that is nothing to take back
            self.services = {}
            return Found(live, Status("critical", error.message))
        self.services = look.services
        problems = "; ".join(look.problems)
        well = f"{live.revision} ({live.name}) is live and healthy"
        return Found(live, Status("critical", problems) if problems else Status("passing", well), look.hopeless, look.failing)

    def _tell(self, found: Found) -> None:
        wrong = found.status.output if found.status.state == "critical" else ""
        try:
            self._note(found, wrong)
        except ReleaseError as error:  # a full disk takes no well host out of Consul
            self._log.warning("journal.failed", why=error.message)
        if self._consul:
            self._show(self._consul, found)
            self._exchange(self._consul)
        self._say(found.status.state, wrong)

    def _note(self, found: Found, wrong: str) -> None:
        """Write down what was found, and take back what has to be: Consul may take its time, or not answer."""
        with self._journal() as journal:
            journal.found(found.status.state, wrong)
            self._bake.consider(found, journal)

    def _exchange(self, consul: ConsulAgent) -> None:
        """Note a person's mode, which is respected: nothing here ends it. Send what waits."""
        with self._journal() as journal:
            journal.maintained(consul.in_maintenance() or "")
            self._send(consul, journal)

    def _show(self, consul: ConsulAgent, found: Found) -> None:
        """Keep the check alive; register first, and again where Consul forgot."""
        live = found.live.name if found.live else ""
        if self._registered == live and consul.update(found.status):
            return
        consul.register(found.live, found.status, self._ttl)
        self._registered = live if consul.update(found.status) else None

    def _send(self, consul: ConsulAgent, journal: StateDatabase) -> None:
        """Send what waits, in order; each is forgotten once it is sent."""
        waiting = journal.reports()
        if waiting:
            consul.reachable()
        for seq, body in waiting:
            if self._watched.busy():
                return  # a run sends what waits itself, and its own after it
            consul.put(body)
            journal.forget_report(seq)
        if waiting:
            self._log.info("report.sent", reports=len(waiting))

    def _say(self, state: str, why: str) -> None:
        """Log what has changed, not every look."""
        if (state, why) != self._said:
            self._said = (state, why)
            say = self._log.info if state == "passing" else self._log.warning
            say("health.changed", health=state, why=why)


class Bake:
    """``[health] watch``: for some time after a deployment, what turns sick is taken back, once."""

    def __init__(self, watched: Watched, log: Log) -> None:
        """Nothing is sick yet."""
        self._watched = watched
        self._log = log
        self._sick_since: float | None = None
        self._of: tuple[str, str | None] = ("", None)  # which publication that is said of
        self._taken_back: tuple[str, str | None] = ("", None)

    def consider(self, found: Found, journal: StateDatabase) -> None:
        """Fire a rollback where the live release was deployed a while ago and is given up, or sick for ``deadline``."""
        now = time.monotonic()
        if found.live is None:
            return
        publication = (found.live.name, found.live.published_at)
        if publication != self._of or not found.failing:
            # Sick is what a probe says, for this release: a service that a person stopped is none of it.
            self._of, self._sick_since = publication, None
        if found.failing and self._sick_since is None:
            self._sick_since = now
        if not (found.failing or found.hopeless):
            return
        health = self._watched.health(found.live)
        if not self._is_watched(found.live, health, journal):
            return
        if found.hopeless or (self._sick_since is not None and now - self._sick_since >= health.deadline):
            refused = self._watched.fire("rollback", WATCH)
            if refused:  # tried again at the next look
                self._log.warning("watch.refused", release=found.live.name, why=refused)
                return
            self._taken_back = publication
            self._log.warning("watch.fired", release=found.live.name, why=found.status.output)

    def _is_watched(self, live: Release, health: Health, journal: StateDatabase) -> bool:
        if health.watch is None or (live.name, live.published_at) == self._taken_back or not live.published_at:
            return False
        age = (datetime.now(UTC) - datetime.fromisoformat(live.published_at)).total_seconds()
        # What a rollback brought back is not taken back further.
        return age <= health.watch and journal.last_publication() == (live.name, Action.DEPLOY)


class Poll:
    """``[revision] poll``: deploys by itself when what it follows has moved; nothing is tried a second time."""

    def __init__(self, watched: Watched, journal: Callable[[], StateDatabase], log: Log) -> None:
        """Nothing was looked at yet."""
        self._watched = watched
        self._journal = journal
        self._log = log
        self._said = ""

    def look(self) -> None:
        """Fire a deployment where the commits that a bare deploy would take were never tried."""
        if self._watched.busy():
            return  # asked again at the next look
        try:
            target = self._watched.target()
            with self._journal() as journal:
                tried = journal.was_tried(target.commits)
        except (ReleaseError, OSError) as error:  # a full /tmp, say: the next look may do
            self._say(str(error))
            return
        if tried:
            return
        refused = self._watched.fire("deploy", POLL)
        if refused:
            self._say(refused)
        else:
            self._log.info("poll.fired", revision=target.revision)

    def _say(self, why: str) -> None:
        """Log what keeps it from deploying, once."""
        if why != self._said:
            self._said = why
            self._log.warning("poll.refused", why=why)

    def run(self, interval: float) -> None:
        """Look every ``interval`` seconds, for ever."""
        pause = threading.Event()
        while not pause.wait(interval):
            self.look()


def start(work: Callable[[], None]) -> None:
    """Start a thread that ends with the process."""
    threading.Thread(target=work, daemon=True).start()
