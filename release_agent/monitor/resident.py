"""The resident monitor put together, each part in a thread of its own: what looks, what polls, what serves metrics."""

from __future__ import annotations

import threading
from concurrent.futures import Future
from typing import TYPE_CHECKING

from release_agent.errors import ReleaseError
from release_agent.journal import statistics
from release_agent.journal.journal import StateDatabase
from release_agent.monitor.ending import ContainerEnd
from release_agent.monitor.listener import Wakeups, listen
from release_agent.monitor.monitor import Monitor
from release_agent.monitor.poll import Poll
from release_agent.monitor.watched import LiveRelease
from release_agent.system.logs import Redactor, make_log
from release_agent.system.user import become_owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from release_agent.wiring import Parts

_RETRY = 2.0  # seconds until the configuration is read again
_SCRAPE_PATIENCE = 2.0  # seconds; Prometheus gives up after ten


def run(read: Callable[[], Parts], events: TextIO, answers: TextIO) -> None:
    """Answer supervisor's events and watch the live release, as the user who owns the root, until supervisor closes.

    ``read``: reads the configuration; while there is something wrong with it, events are answered and it is read again.
    """
    wakeups = Wakeups()
    wakeups.put("START")
    closed = _listening(events, answers, wakeups)
    parts = _once_right(read, closed)
    if parts:
        with parts.looking() as context:
            looking = _watch(parts, LiveRelease(parts, context), wakeups)
            closed.result()
            wakeups.put(None)  # a look that has begun is finished: it may hold what Consul has not yet been told
            looking.join()


def _listening(events: TextIO, answers: TextIO, wakeups: Wakeups) -> Future[None]:
    """Answer events in a thread of its own; the result is there when supervisor has closed."""
    closed: Future[None] = Future()

    def work() -> None:
        try:
            listen(events, answers, wakeups.put)
        except Exception as error:  # noqa: BLE001 - raised again where the result is awaited
            closed.set_exception(error)
        else:
            closed.set_result(None)

    _start(work)
    return closed


def _once_right(read: Callable[[], Parts], closed: Future[None]) -> Parts | None:
    """Return the parts as soon as nothing keeps them from being made, or None when supervisor has closed.

    To end instead would make supervisor start it again, a few times at once, and then never.
    """
    told = ""
    while True:
        try:
            parts = read()
            become_owner(parts.root().path)
            with parts.looking():
                return parts
        except ReleaseError as error:
            if error.message != told:
                make_log(Redactor()).warning("monitor.waiting", why=error.message, next=error.hint)
            told = error.message
        try:
            return closed.result(_RETRY)
        except TimeoutError:
            continue


def _watch(parts: Parts, watched: LiveRelease, wakeups: Wakeups) -> threading.Thread:
    """Start what looks, what polls and what serves metrics, each in a thread of its own; returns the one that looks."""
    root, log, config = parts.root(), parts.log, parts.config

    def journal() -> StateDatabase:
        # Not made where it is missing: that would hide that it was lost.
        return StateDatabase(root.database, write=root.database.exists())

    ending = ContainerEnd(config.monitor, parts.services(), parts.plugin(), log, _last_run_ended(journal))
    monitor = Monitor(watched, journal, parts.consul() if config.consul.enabled else None, log, ending)
    looking = _start(lambda: monitor.run(wakeups))
    interval = config.revision.poll
    if interval:
        _start(lambda: Poll(watched, journal, log).run(interval))
    if config.metrics.listen:
        _start(lambda: _serve_metrics(parts, monitor))
    return looking


def _last_run_ended(journal: Callable[[], StateDatabase]) -> float:
    """Return when the newest run ended (seconds since 1970); 0 if there was none, or the journal cannot be read."""
    try:
        with journal() as opened:
            return statistics.last_ended(opened) or 0.0
    except ReleaseError:
        return 0.0


def _start(work: Callable[[], None]) -> threading.Thread:
    """Start a thread that ends with the process."""
    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    return thread


def _serve_metrics(parts: Parts, monitor: Monitor) -> None:
    from release_agent.monitor.metrics import JournalCollector, serve  # 66 ms

    root = parts.root()

    def journal() -> StateDatabase:
        return StateDatabase(root.database, patience=_SCRAPE_PATIENCE)

    collector = JournalCollector(parts.config.app, journal, root.current, lambda: monitor.services)
    serve(parts.config.metrics.listen, collector, parts.log)
