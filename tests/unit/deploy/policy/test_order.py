"""The order in which services are replaced and stopped, and the services that a rollback does not touch."""

from __future__ import annotations

import pytest

from release_agent.config.sections import Restart, Service
from release_agent.deploy.policy.order import levels, pids_of, stops, untouched
from release_agent.health import Process

WEB, DB = frozenset({11, 12}), frozenset({21})


def named(**after: tuple[str, ...] | None) -> list[Service]:
    return [Service(name, Restart(), (), after=waits) for name, waits in after.items()]


def names(order: list[list[Service]]) -> list[str]:
    """Return the levels, each as the names of its services."""
    return [" ".join(service.name for service in level) for level in order]


@pytest.mark.parametrize(
    ("services", "order"),
    [
        pytest.param({}, [], id="no-services"),
        pytest.param({"db": None, "web": None, "worker": None}, ["db", "web", "worker"], id="one-after-the-other"),
        pytest.param({"web": (), "worker": (), "cron": ()}, ["web worker cron"], id="side-by-side"),
        pytest.param({"db": None, "web": ("db",), "worker": ("db",)}, ["db", "web worker"], id="both-after-one"),
        pytest.param({"db": (), "cache": (), "web": ("cache", "db")}, ["db cache", "web"], id="one-after-both"),
        pytest.param({"web": ("db",), "db": ()}, ["db", "web"], id="not-as-they-are-listed"),
        pytest.param({"a": (), "b": ("a",), "c": (), "d": None}, ["a c", "b d"], id="after-the-one-before-in-the-list"),
        pytest.param({"a": (), "b": (), "c": ("a",), "d": ("b", "c")}, ["a b", "c", "d"], id="after-the-last-of-several"),
    ],
)
def test_services_are_replaced_level_by_level(services: dict[str, tuple[str, ...] | None], order: list[str]) -> None:
    assert names(levels(named(**services))) == order


def test_services_of_the_release_that_is_left_are_stopped_in_the_reverse_order() -> None:
    left = named(db=None, web=None, mail=("db",), worker=("web",))

    assert names(stops(left, kept=())) == ["worker", "web mail", "db"]
    assert names(stops(left, kept=("web", "mail"))) == ["worker", "db"]


def test_the_processes_of_a_service_are_those_of_its_group() -> None:
    web = [Process("web", "web_0", "RUNNING", 11), Process("web", "web_1", "RUNNING", 12)]

    assert pids_of({"web": web, "db": [Process("db", "db", "RUNNING", 21)]}) == {"web": WEB, "db": DB}


@pytest.mark.parametrize(
    ("now", "touched", "left"),
    [
        pytest.param({"web": WEB, "db": DB}, (), {"web", "db"}, id="nothing-was-done"),
        pytest.param({"web": WEB, "db": DB}, {"db"}, {"web"}, id="one-was-signalled"),
        pytest.param({"web": {11, 13}, "db": DB}, (), {"db"}, id="supervisor-started-a-process-again"),
        pytest.param({"web": {11, 0}, "db": DB}, (), {"db"}, id="a-process-ended"),
        pytest.param({"db": DB, "new": {31}}, (), {"db"}, id="supervisor-forgot-one-and-learnt-of-another"),
    ],
)
def test_a_service_is_untouched_if_it_has_the_same_processes_and_nothing_was_done_to_it(
    now: dict[str, set[int]], touched: set[str], left: set[str]
) -> None:
    seen = {service: frozenset(pids) for service, pids in now.items()}

    assert untouched({"web": WEB, "db": DB}, seen, touched) == left
