"""Agents of other versions read the record of rollouts."""

from __future__ import annotations

import json
from dataclasses import asdict
from typing import Any

import pytest

from release_agent.model import Completed
from release_agent.rollout.model import Application, Holder, Host, HostStage, Order, Phase, Rollout
from release_agent.rollout.options import Options
from support.rollouts import a_rollout, a_system

REPLACED = {"id": "rollout-1", "revision": "v1.3.0", "commits": {"api": "b" * 40}}


def kept(rollout: Rollout) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    """The plan and the hosts, as JSON carries them."""
    body: tuple[dict[str, Any], list[dict[str, Any]]] = json.loads(
        json.dumps((rollout.to_json(), [host.to_json() for host in rollout.hosts.values()]))
    )
    return body


def test_a_rollout_is_read_as_it_was_written() -> None:
    rollout = a_rollout()
    rollout.phase, rollout.applications[0].replaced = Phase.PAUSED, Completed(**REPLACED)  # type: ignore[arg-type]

    assert Rollout.from_json(*kept(rollout)) == rollout
    system = a_system("rollout-1", "api", "web")
    system.hosts["host-1"].app = ""  # it never answered
    assert Rollout.from_json(*kept(system)) == system


def test_a_newer_agents_rollout_is_read_without_what_it_added() -> None:
    rollout = a_rollout()
    rollout.applications[0].replaced = Completed(**REPLACED)  # type: ignore[arg-type]
    plan, hosts = kept(rollout)
    plan |= {"page": "https://…", "size": 3}
    plan["applications"][0] |= {"by": "ada", "replaced": REPLACED | {"by": "ada"}}
    plan["options"] |= {"strategy": "rolling"}
    hosts = [host | {"rack": "r1"} for host in hosts]

    assert Rollout.from_json(plan, hosts) == rollout


def test_an_older_agents_rollout_may_lack_what_was_added_since() -> None:
    rollout = a_rollout()
    plan, hosts = kept(rollout)
    required = ("id", "environment", "revision", "who", "started_at")
    body = {name: plan[name] for name in required} | {"app": "api", "commits": {"api": "c" * 40}}
    options = {"waves": "1,50%", "parallel": 5}

    read = Rollout.from_json(body | {"options": options}, [{"name": "a", "url": "http://a"}])

    assert (read.id, read.phase, read.applications, read.service) == (rollout.id, Phase.RUNNING, rollout.applications, "")
    assert (read.options.parallel, read.options.max_failed) == (5, Options().max_failed)
    assert [str(wave) for wave in read.options.waves] == ["1", "50%"]
    assert read.hosts == {"a": Host("a", "http://a", app="api")}
    assert read.commits_of(read.hosts["a"]) == {"api": "c" * 40}
    assert hosts, "the others are of today"


def test_an_older_agent_reads_a_rollout_of_one_application_as_its_own() -> None:
    plan, _ = kept(a_rollout())

    assert (plan["app"], plan["commits"], plan["replaced"]) == ("api", {"api": "c" * 40}, None)
    assert not {"app", "commits", "replaced"} & set(kept(a_system("rollout-1", "api", "web"))[0])


def test_an_older_agents_rollout_has_what_its_fleet_was_to_run_before() -> None:
    plan, _ = kept(a_rollout())
    del plan["applications"]

    read = Rollout.from_json(plan | {"app": "api", "commits": {"api": "c" * 40}, "replaced": REPLACED}, [])

    assert read.applications == [Application("api", {"api": "c" * 40}, Completed(**REPLACED))]  # type: ignore[arg-type]


def test_a_phase_that_only_a_newer_agent_has_hides_no_rollout_and_is_not_gone_on_with() -> None:
    plan, hosts = kept(a_rollout())

    read = Rollout.from_json(plan | {"phase": "rehearsing"}, [hosts[0] | {"stage": "draining"}, *hosts[1:]])

    assert (read.phase, read.has_ended) == (Phase.UNKNOWN, True)
    assert [host.stage for host in read.hosts.values()] == [HostStage.UNREACHABLE, HostStage.PENDING, HostStage.PENDING]


HOLDER = Holder("rollout-1", "ada@desk", "v1.4.0", "2026-11-22T10:00:00.000000Z")
ORDER = Order("pause", "ada@desk", "2026-11-22T10:00:00.000000Z")


def test_a_newer_agents_holder_order_and_completed_rollout_are_read() -> None:
    more = {"since_version": "9.0"}

    assert Holder.from_json(asdict(HOLDER) | more) == HOLDER
    assert Order.from_json(asdict(ORDER) | more) == ORDER
    assert asdict(Completed.from_json(REPLACED | more)) == REPLACED


def test_an_order_without_a_time_is_one_of_now() -> None:
    assert Order.from_json({"verb": "pause", "who": "ada@desk"}).at.endswith("Z")


@pytest.mark.parametrize("body", [{}, [], None, 5, "id", {"id": "rollout-1"}])
@pytest.mark.parametrize("kind", [Holder, Order, Completed])
def test_what_is_none_of_them_is_an_error_that_stores_explain(kind: Any, body: object) -> None:
    with pytest.raises((TypeError, KeyError, AttributeError)):
        kind.from_json(body)
