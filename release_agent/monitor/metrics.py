"""The metrics for Prometheus, counted in the journal at every scrape, so that a restart loses none."""

from __future__ import annotations

import socket
import threading
from socketserver import ThreadingMixIn
from typing import TYPE_CHECKING
from wsgiref.simple_server import WSGIRequestHandler, WSGIServer, make_server

from prometheus_client import CollectorRegistry, make_wsgi_app
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, InfoMetricFamily

from release_agent import __version__
from release_agent.errors import ReleaseError
from release_agent.journal import statistics
from release_agent.model import ROLLOUT, Trigger

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from wsgiref.types import StartResponse, WSGIApplication, WSGIEnvironment

    from prometheus_client.core import Metric

    from release_agent.config.sections import App
    from release_agent.journal.journal import StateDatabase
    from release_agent.model import Release
    from release_agent.system.logs import Log

_BUCKETS = (0.1, 0.5, 1.0, 5.0, 10.0, 30.0, 60.0, 300.0, 600.0)  # seconds: from a swap to an npm build
_RETRY = 5.0


class JournalCollector:
    """The metrics of one container, read again at each scrape."""

    def __init__(
        self,
        app: App,
        journal: Callable[[], StateDatabase],
        live: Callable[[], Release | None],
        services: Callable[[], Mapping[str, bool]],
    ) -> None:
        """``journal`` opens state.db to read; ``services`` returns the health of each service at the last look."""
        self._app = app
        self._journal = journal
        self._live = live
        self._services = services

    def collect(self) -> Iterator[Metric]:
        """Yield each metric; raises ReleaseError if the journal cannot be read."""
        with self._journal() as journal:
            yield _agent()
            yield self._release()
            yield self._health()
            yield _deployments(journal)
            yield _phases(journal)
            yield _last(journal)
            yield GaugeMetricFamily(
                "release_agent_unsent_reports", "Reports that wait to be sent to Consul.", value=len(journal.reports())
            )

    def _release(self) -> Metric:
        info = InfoMetricFamily("release_agent_release", "The live release; absent if no release is live.")
        live = self._live()
        if live:
            labels = {"app": self._app.name, "environment": self._app.environment, "release": live.name}
            labels |= {"revision": live.revision, "commit": ",".join(live.commits.values())}
            info.add_metric([], labels)
        return info

    def _health(self) -> Metric:
        gauge = GaugeMetricFamily(
            "release_agent_service_healthy", "1: healthy at the last look; 0: unhealthy.", labels=["service"]
        )
        for service, well in self._services().items():
            gauge.add_metric([service], int(well))
        return gauge


def _agent() -> Metric:
    return InfoMetricFamily("release_agent", "The agent itself.", value={"version": __version__})


def _deployments(journal: StateDatabase) -> Metric:
    counter = CounterMetricFamily("release_agent_deployments", "Runs that have ended.", labels=["action", "outcome", "trigger"])
    counts: dict[tuple[str, str, str], int] = {}
    for action, outcome, trigger, count in statistics.totals(journal):
        labels = (action, outcome, kind_of_trigger(trigger))
        counts[labels] = counts.get(labels, 0) + count
    for labels, count in counts.items():
        counter.add_metric(labels, count)
    return counter


def kind_of_trigger(trigger: str) -> str:
    """Return a trigger as one of few labels; rollouts have ids, and callers have names."""
    if trigger.startswith(ROLLOUT):
        return "rollout"
    return trigger if trigger in set(Trigger) else "other"


def _phases(journal: StateDatabase) -> Metric:
    histogram = HistogramMetricFamily("release_agent_phase_seconds", "How long phases of runs took.", labels=["phase"])
    for phase, seconds, within in statistics.phase_times(journal, _BUCKETS):
        buckets = zip((*map(str, _BUCKETS), "+Inf"), within, strict=True)
        histogram.add_metric([phase], [(bound, count) for bound, count in buckets], seconds)
    return histogram


def _last(journal: StateDatabase) -> Metric:
    gauge = GaugeMetricFamily(
        "release_agent_last_deployment_timestamp_seconds", "End of the newest run; absent before the first run."
    )
    ended_at = statistics.last_ended(journal)
    if ended_at is not None:
        gauge.add_metric([], ended_at)
    return gauge


class _Server(ThreadingMixIn, WSGIServer):
    """A server with one thread per scrape, so that a silent client delays no other."""

    daemon_threads = True


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Quiet(WSGIRequestHandler):
    timeout = 10.0  # seconds until a silent client is dropped

    def log_message(self, *_: object) -> None:
        """Log nothing: a scrape is not an event."""


def serve(listen: str, collector: JournalCollector, log: Log) -> None:
    """Serve ``/metrics`` on "host:port" forever; try a taken address again, and log it once."""
    page = _page(collector, log)
    pause, told = threading.Event(), ""
    while True:
        try:
            server = _bound(listen, page)
        except OSError as error:
            why = error.strerror or str(error)
            if why != told:
                log.warning("metrics.refused", listen=listen, why=why)
            told = why
            pause.wait(_RETRY)
        else:
            log.info("metrics.served", listen=listen)
            server.serve_forever()


def _page(collector: JournalCollector, log: Log) -> WSGIApplication:
    registry = CollectorRegistry(auto_describe=False)
    registry.register(collector)
    metrics = make_wsgi_app(registry)

    def answer(environ: WSGIEnvironment, start: StartResponse) -> Iterable[bytes]:
        try:
            body: Iterable[bytes] = metrics(environ, start)
        except ReleaseError as error:
            log.warning("metrics.failed", why=error.message)
            start("503 Service Unavailable", [("Content-Type", "text/plain; charset=utf-8")])
            body = [f"{error.message}\n".encode()]
        return body

    return answer


def _bound(listen: str, page: WSGIApplication) -> WSGIServer:
    host, _, port = listen.rpartition(":")
    kind = _Server6 if host.startswith("[") else _Server
    return make_server(host.strip("[]"), int(port), page, server_class=kind, handler_class=_Quiet)
