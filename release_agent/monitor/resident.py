"""The resident monitor put together, each part in a thread of its own: what looks, what polls, what serves metrics."""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

from release_agent.journal.journal import StateDatabase
from release_agent.monitor.listener import Wakeups, listen
from release_agent.monitor.monitor import Monitor
from release_agent.monitor.poll import Poll
from release_agent.monitor.watched import LiveRelease
from release_agent.system.user import become_owner

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO

    from release_agent.wiring import Parts

_SCRAPE_PATIENCE = 2.0  # seconds; Prometheus gives up after ten


def run(parts: Parts, events: TextIO, answers: TextIO) -> None:
    """Answer supervisor's events and watch the live release, as the user who owns the root, until supervisor closes."""
    root, log, config = parts.root(), parts.log, parts.config
    become_owner(root.path)

    def journal() -> StateDatabase:
        # Not made where it is missing: that would hide that it was lost.
        return StateDatabase(root.database, write=root.database.exists())

    with parts.looking() as context:
        watched = LiveRelease(parts, context)
        monitor = Monitor(watched, journal, parts.consul() if config.consul.enabled else None, log, config.consul.ttl)
        wakeups = Wakeups()
        wakeups.put("START")
        _start(lambda: monitor.run(wakeups))
        interval = config.revision.poll
        if interval:
            _start(lambda: Poll(watched, journal, log).run(interval))
        if config.metrics.listen:
            _start(lambda: _serve_metrics(parts, monitor))
        listen(events, answers, wakeups.put)


def _start(work: Callable[[], None]) -> None:
    """Start a thread that ends with the process."""
    threading.Thread(target=work, daemon=True).start()


def _serve_metrics(parts: Parts, monitor: Monitor) -> None:
    from release_agent.monitor.metrics import JournalCollector, serve  # 66 ms

    root = parts.root()

    def journal() -> StateDatabase:
        return StateDatabase(root.database, patience=_SCRAPE_PATIENCE)

    collector = JournalCollector(parts.config.app, journal, root.current, lambda: monitor.services)
    serve(parts.config.metrics.listen, collector, parts.log)
