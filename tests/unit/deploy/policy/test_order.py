"""What a rollback may leave alone."""

from __future__ import annotations

import pytest

from release_agent.deploy.policy.order import pids_of, untouched
from release_agent.health import Process

WEB, DB = frozenset({11, 12}), frozenset({21})


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
