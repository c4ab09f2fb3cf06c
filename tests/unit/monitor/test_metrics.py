"""Prometheus' own parser reads the metrics."""

from __future__ import annotations

import threading
import urllib.error
import urllib.request
from typing import TYPE_CHECKING

import pytest
from prometheus_client.parser import text_string_to_metric_families

from release_agent.journal.journal import StateDatabase
from release_agent.model import Action, Kind, Record, Release, Request, State
from release_agent.monitor.metrics import JournalCollector, kind_of_trigger, serve
from support.configuration import configuration
from support.servers import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

APP = configuration("").app
LIVE = Release("000007-abcdefabcdef", "v1.2.0", Kind.TAG, {"api": "c0ffee"}, "f", State.HEALTHY, "2024-01-01T12:00:00Z")


class Scraped:
    """Metrics served on a port of their own."""

    def __init__(self, database: Path) -> None:
        self.live: Release | None = LIVE
        self.services = {"web": True, "jobs": False}
        self.events: list[tuple[str, str]] = []
        self.listen = f"127.0.0.1:{free_port()}"
        self._collector = JournalCollector(APP, lambda: StateDatabase(database), lambda: self.live, lambda: self.services)

    def start(self) -> Scraped:
        threading.Thread(target=lambda: serve(self.listen, self._collector, self), daemon=True).start()
        return self

    def info(self, event: str, **told: object) -> None:
        self.events.append((event, str(told)))

    warning = error = info

    def text(self) -> str:
        with urllib.request.urlopen(f"http://{self.listen}/metrics", timeout=60) as page:
            return str(page.read().decode())

    def __call__(self) -> dict[tuple[str, ...], float]:
        """Scrape; return each sample's value by its name and its labels' values, by the labels' names."""
        eventually(lambda: self.events, "it listens")
        families = text_string_to_metric_families(self.text())
        return {
            (sample.name, *dict(sorted(sample.labels.items())).values()): sample.value
            for family in families
            for sample in family.samples
        }


@pytest.fixture
def scrape(journal: StateDatabase, tmp_path: Path) -> Scraped:  # noqa: ARG001 - its file
    """What the metrics of a journal are served as."""
    return Scraped(tmp_path / "state.db").start()


def _run(journal: StateDatabase, identity: str, outcome: str | None, trigger: str, **phases: float) -> None:
    journal.begin(Request(identity, Action.DEPLOY, trigger=trigger), "2024-01-01T12:00:00.000000Z")
    if outcome:
        journal.end(Record(identity, outcome, seconds=sum(phases.values()), phases=phases), Kind.TAG)


def test_runs_are_counted_by_outcome_and_trigger(
    journal: StateDatabase, scrape: Callable[[], dict[tuple[str, ...], float]]
) -> None:
    _run(journal, "1", "deployed", "rpc")
    _run(journal, "2", "deployed", "rpc")
    _run(journal, "3", "rolled-back", "poll")
    _run(journal, "4", None, "rpc")

    counted = {labels[1:]: value for labels, value in scrape().items() if labels[0] == "release_agent_deployments_total"}

    assert counted == {("deploy", "deployed", "rpc"): 2, ("deploy", "rolled-back", "poll"): 1}


def test_rollouts_and_callers_do_not_make_ever_more_labels(journal: StateDatabase, scrape: Scraped) -> None:
    _run(journal, "1", "deployed", "rollout-20240101T120000Z-abcdef")
    _run(journal, "2", "deployed", "rollout-20240102T120000Z-123456")
    _run(journal, "3", "deployed", "somebody's script")

    counted = {labels[1:]: value for labels, value in scrape().items() if labels[0] == "release_agent_deployments_total"}

    assert counted == {("deploy", "deployed", "rollout"): 2, ("deploy", "deployed", "other"): 1}
    assert kind_of_trigger("watch") == "watch"


def test_seconds_of_phases_are_a_histogram(journal: StateDatabase, scrape: Scraped) -> None:
    _run(journal, "1", "deployed", "rpc", build=0.5, health=3.0)
    _run(journal, "2", "deployed", "rpc", build=700.0)

    seen = scrape()

    buckets = {
        labels[1]: value for labels, value in seen.items() if labels[0].endswith("phase_seconds_bucket") and labels[2] == "build"
    }
    assert (buckets["0.1"], buckets["0.5"], buckets["600.0"], buckets["+Inf"]) == (0, 1, 1, 2)
    assert seen["release_agent_phase_seconds_sum", "build"] == 700.5
    assert seen["release_agent_phase_seconds_count", "health"] == 1


def test_what_is_live_and_how_each_service_is(scrape: Scraped) -> None:
    seen = scrape()

    assert seen["release_agent_service_healthy", "web"] == 1
    assert seen["release_agent_service_healthy", "jobs"] == 0
    labels = next(labels for labels in seen if labels[0] == "release_agent_release_info")
    assert set(labels[1:]) == {"api", "production", LIVE.name, "v1.2.0", "c0ffee"}

    scrape.live = None
    assert not [labels for labels in scrape() if labels[0] == "release_agent_release_info"]


def test_reports_that_wait_and_the_newest_runs_end(journal: StateDatabase, scrape: Scraped) -> None:
    assert not [labels for labels in scrape() if "timestamp" in labels[0]]
    journal.keep_report({"id": "1"})
    _run(journal, "1", "deployed", "rpc", build=2.5)

    seen = scrape()

    assert seen["release_agent_unsent_reports",] == 1
    assert seen["release_agent_last_deployment_timestamp_seconds",] == 1704110402.5  # 2024-01-01T12:00:02.5Z


def test_journal_that_cannot_be_read_is_503_with_the_reason(tmp_path: Path) -> None:
    (tmp_path / "state.db").write_text("no database" * 100)
    scrape = Scraped(tmp_path / "state.db").start()
    eventually(lambda: scrape.events, "it listens")

    with pytest.raises(urllib.error.HTTPError) as refused:
        scrape.text()

    assert refused.value.code == 503
    assert "state.db cannot be used" in refused.value.read().decode()
    assert [event for event, _ in scrape.events] == ["metrics.served", "metrics.failed"]


def test_address_that_nobody_can_listen_on_is_told(tmp_path: Path) -> None:
    scrape = Scraped(tmp_path / "state.db")
    scrape.listen = "192.0.2.1:9105"  # TEST-NET-1, RFC 5737

    scrape.start()

    eventually(lambda: scrape.events, "it is told")
    assert scrape.events == [("metrics.refused", str({"listen": scrape.listen, "why": "Cannot assign requested address"}))]


def test_ipv6(tmp_path: Path) -> None:
    scrape = Scraped(tmp_path / "state.db")
    scrape.listen = f"[::1]:{free_port()}"

    assert scrape.start()()["release_agent_service_healthy", "web"] == 1
