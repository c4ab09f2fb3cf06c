"""One rollout of three applications on six real hosts: a web front requires an API, and the API requires a registry."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support.desk import Operator
from support.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator


OLD, NEW = "v1.0.0", "v1.1.0"
APPS = ["web", "web", "api", "api", "registry", "registry"]
IN_TURN = ["host-5", "host-6", "host-3", "host-4", "host-1", "host-2"]


@pytest.fixture
def system() -> Iterator[Fleet]:
    """Two hosts of each application; fleet.toml names those first that are to be last."""
    made = Fleet(apps=APPS)
    yield made
    made.close()


def heard(operator: Operator, event: str) -> list[str]:
    """Return the hosts of an event, in order."""
    return [told["host"] for told in operator.events(event)]


def followed(system: Fleet) -> dict[str, str]:
    """Return what revision each fleet follows."""
    from release_agent.rollout.record.file import FileRolloutStore, default_path

    record = FileRolloutStore(default_path(system.environment))
    found = {app: record.completed(app, "test") for app in dict.fromkeys(APPS)}
    return {app: completed.revision for app, completed in found.items() if completed}


def test_one_revision_goes_to_the_whole_system_in_the_order_of_requires_and_back(system: Fleet) -> None:
    operator = system.begin("--waves", "100%", "--parallel", "1")

    assert operator.end() == 0
    assert system.live() == [NEW] * 6
    assert heard(operator, "host.started") == IN_TURN
    assert [event["apps"] for event in operator.events("wave.started")] == [["registry"], ["api"], ["web"]]
    assert followed(system) == dict.fromkeys(("registry", "api", "web"), NEW)
    reverted = system.rollout("revert", operator.id)
    assert reverted.code == 0
    assert system.live() == [OLD] * 6
    assert followed(system) == {}


def test_application_that_does_not_take_it_stops_the_system_and_those_that_require_it_are_not_begun(system: Fleet) -> None:
    system.refuse(2)

    operator = system.begin("--waves", "100%")

    assert operator.end() == 40
    assert system.live() == [OLD, OLD, OLD, NEW, NEW, NEW]
    assert sorted(heard(operator, "host.started")) == sorted(IN_TURN[:4])
    assert followed(system) == {}


def test_system_that_is_stopped_is_put_back_the_last_application_first(system: Fleet) -> None:
    system.refuse(2)

    operator = system.begin("--waves", "100%", "--revert")

    assert operator.end() == 41
    assert system.live() == [OLD] * 6
    back = heard(operator, "host.reverting")
    assert back[0] == "host-4"
    assert sorted(back[1:]) == ["host-5", "host-6"]
    told = [(event["event"], event["host"]) for event in operator.events() if event.get("stage") in ("reverting", "reverted")]
    assert told[:2] == [("host.reverting", "host-4"), ("host.finished", "host-4")]


def test_operator_killed_in_each_applications_turn_is_gone_on_with(system: Fleet) -> None:
    for number in (4, 2, 0):
        system.hold(number)
    operator = system.begin("--waves", "100%")
    identity = operator.id
    for number in (4, 2, 0):
        system.held(number)
        operator.send(signal.SIGKILL)
        system.let_go(number)
        operator = Operator(system, system.command("resume", identity))

    assert operator.end() == 0
    assert system.live() == [NEW] * 6
    assert all(system.fired(number) == [identity] for number in range(6))
    assert followed(system) == dict.fromkeys(("registry", "api", "web"), NEW)


def test_system_and_one_of_its_applications_are_not_rolled_out_at_once(system: Fleet) -> None:
    system.hold(4)
    operator = system.begin("--waves", "100%")
    system.held(4)
    refused = system.start("--limit", "service=web")
    assert (refused.code, operator.id in refused.json["error"]["message"]) == (44, True)
    system.let_go(4)
    assert operator.end() == 0

    system.release("v1.2.0")
    system.hold(2)
    of_one = system.begin("--limit", "service=api", "--waves", "100%", revision="v1.2.0")
    system.held(2)
    refused = system.start(revision="v1.2.0")
    assert (refused.code, of_one.id in refused.json["error"]["message"]) == (44, True)
    others = system.start("--limit", "service=web,service=registry", "--waves", "100%", revision="v1.2.0")
    system.let_go(2)

    assert (others.code, of_one.end()) == (0, 0)
    assert system.live() == ["v1.2.0"] * 6


def test_plan_and_status_say_of_which_application_a_wave_and_a_host_are(system: Fleet) -> None:
    system.refuse(0)
    plan = [word for word in system.start_command("--dry-run", revision=NEW) if word != "--json"]
    said = system.run(plan).out

    assert f"{NEW} for registry, api, web (test), 6 hosts" in said
    assert [line for line in said.splitlines() if line.startswith("wave ")] == [
        f"wave {number}: 1 host of {app}" for number, app in enumerate(("registry",) * 2 + ("api",) * 2 + ("web",) * 2, 1)
    ]
    told = system.start()
    assert told.code == 40
    status = system.rollout("status", told.json["id"])
    assert [application["name"] for application in status.json["applications"]] == ["registry", "api", "web"]
    assert [host["app"] for host in status.json["hosts"]] == APPS
    words = system.run([word for word in system.command("status", told.json["id"]) if word != "--json"]).out
    assert "  registry: 2 hosts: 2 done" in words
    assert "  host-1 [web]  failed" in words


def test_applications_of_which_none_requires_another_go_side_by_side_and_back() -> None:
    needs = ["registry"]
    system = Fleet(apps=["web", "worker", "registry"], requires={"web": needs, "worker": needs})
    try:
        system.hold(0)
        system.hold(1)
        operator = system.begin("--bake", "0")
        system.held(0)
        system.held(1)  # both at once
        assert system.live() == [OLD, OLD, NEW]
        system.let_go(0)
        system.let_go(1)
        assert operator.end() == 0
        assert [event["apps"] for event in operator.events("wave.started")] == [["registry"], ["web", "worker"]]

        assert system.live() == [NEW] * 3
        back = Operator(system, system.command("revert", operator.id))
        assert back.end() == 0
        assert system.live() == [OLD] * 3
        assert heard(back, "host.reverting")[2] == "host-3"
    finally:
        system.close()
