"""Assemble the resident monitor: the parts that look, poll and serve metrics, each in its own thread."""

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

    ``read``: reads the configuration. While the configuration is wrong, answer events and read it again.
    """
    wakeups = Wakeups()
    wakeups.put("START")
    closed = _listening(events, answers, wakeups)
    parts = _once_right(read, closed)
    if parts:
        with parts.looking() as context:
            looking = _watch(parts, LiveRelease(parts, context), wakeups)
            closed.result()
            wakeups.put(None)  # finish the current look, which may have reports for Consul
            looking.join()


def _listening(events: TextIO, answers: TextIO, wakeups: Wakeups) -> Future[None]:
    """Answer events in another thread; the result is ready when supervisor has closed stdin."""
    closed: Future[None] = Future()

    def work() -> None:
        try:
            listen(events, answers, wakeups.put)
        except Exception as error:  # noqa: BLE001 - the waiting thread raises it again
            closed.set_exception(error)
        else:
            closed.set_result(None)

    _start(work)
    return closed


def _once_right(read: Callable[[], Parts], closed: Future[None]) -> Parts | None:
    """Return the parts as soon as they can be made, or None when supervisor has closed stdin.

    If the monitor ended instead, supervisor would restart it a few times immediately, and then never.
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
    """Start the threads that look, poll and serve metrics; returns the thread that looks."""
    root, log, config = parts.root(), parts.log, parts.config

    def journal() -> StateDatabase:
        # A missing journal is not made here, because that would hide its loss.
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
    """Return the end of the newest run (seconds since 1970); 0 if there was none, or the journal cannot be read."""
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
