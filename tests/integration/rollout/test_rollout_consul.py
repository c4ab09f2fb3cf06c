"""Rollouts whose hosts and whose record are in Consul."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support.consul_process import ConsulProcess
from support.fleet import Fleet, Operator
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = "v1.0.0", "v1.1.0"


@pytest.fixture
def consul() -> Iterator[ConsulProcess]:
    """A Consul of its own: it may be broken."""
    made = ConsulProcess()
    yield made
    made.close()


@pytest.fixture
def fleet(consul: ConsulProcess) -> Iterator[Fleet]:
    """Three hosts in Consul's catalog, whose record is there, too."""
    made = Fleet(3, CONSUL_HTTP_ADDR=consul.address)
    yield made
    made.close()


def _begin(fleet: Fleet, *arguments: str) -> Operator:
    return Operator(fleet, [*fleet.command("start", NEW, "--consul", "api", *fleet.access()), *arguments])


def test_hosts_come_from_the_catalog_and_the_record_is_seen_from_anywhere(fleet: Fleet, consul: ConsulProcess) -> None:
    operator = _begin(fleet, "--bake", "0")

    assert operator.end() == 0
    assert fleet.serve() == [NEW] * 3
    status = fleet.rollout("status", operator.id).json
    assert (status["phase"], [host["stage"] for host in status["hosts"]]) == ("completed", ["done"] * 3)
    completed = consul.record("release-agent/test/api/rollout/completed")
    assert (completed["id"], completed["revision"]) == (operator.id, NEW)


def test_filters_choose_hosts_and_none_is_an_error(fleet: Fleet) -> None:
    done = fleet.rollout("start", NEW, "--consul", "api", *fleet.access(), "--limit", "host-2", "--tag", "test", "--bake", "0")
    none = fleet.rollout("start", NEW, "--consul", "api", *fleet.access(), "--environment", "production")

    assert (done.code, fleet.serve()) == (0, [OLD, NEW, OLD])
    assert (none.code, none.json["error"]["code"]) == (10, "fleet-empty")


def test_host_that_consul_finds_sick_between_waves_stops_the_rollout(fleet: Fleet, consul: ConsulProcess) -> None:
    operator = _begin(fleet, "--bake", "60s", "--revert")
    operator.seen("bake.started")

    consul.put("/v1/agent/check/fail/service:release-agent:api:host-1?note=out+of+memory", None)

    assert operator.end() == 41
    failed = operator.seen("host.finished", stage="failed")
    assert (failed["host"], failed["code"]) == ("host-1", "host-sick")
    assert "out of memory" in failed["why"]
    assert fleet.serve() == [OLD] * 3


def test_only_host_of_a_wave_that_turns_sick_stops_it_whatever_the_budget(fleet: Fleet, consul: ConsulProcess) -> None:
    operator = _begin(fleet, "--bake", "60s", "--max-failed", "1")
    operator.seen("bake.started")
    consul.put("/v1/agent/check/fail/service:release-agent:api:host-1", None)

    assert operator.end() == 40
    assert fleet.fired(1) == []


def test_host_that_is_gone_by_the_end_of_a_bake_is_not_taken_for_well(fleet: Fleet) -> None:
    operator = _begin(fleet, "--bake", "5s")
    operator.seen("bake.started")
    fleet.hosts[0].stop(signal.SIGKILL)

    assert operator.end() == 40
    assert operator.seen("host.finished", host="host-1", stage="unreachable")
    assert fleet.fired(1) == []


def test_consul_that_is_unreachable_at_the_start_is_no_reason_to_write_somewhere_else(
    fleet: Fleet, consul: ConsulProcess
) -> None:
    consul.close()

    done = fleet.start()

    assert (done.code, done.json["error"]["code"]) == (40, "record-unreachable")
    assert fleet.serve() == [OLD] * 3
    assert not (fleet.path / "operator").exists()


def test_consul_that_is_lost_in_the_middle_is_waited_for(fleet: Fleet, consul: ConsulProcess) -> None:
    gate = fleet.hosts[0].gate("held")
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{gate}' }}]")
    operator = fleet.begin()
    fleet.hosts[0].reached("held")

    consul.hang()
    fleet.hosts[0].open("held")
    operator.seen("record.away")
    assert fleet.fired(1) == []
    consul.go_on()

    assert operator.end() == 0
    assert operator.events("record.back")
    assert fleet.serve() == [NEW] * 3


def test_killed_operator_is_gone_on_with_from_another_machine(fleet: Fleet) -> None:
    gate = fleet.hosts[1].gate("held")
    fleet.configure(1, f"[hooks]\nbefore_publish = [{{ run = '{gate}' }}]")
    operator = fleet.begin()
    fleet.hosts[1].reached("held")
    operator.send(signal.SIGKILL)
    fleet.hosts[1].open("held")

    assert fleet.start().code == 44  # until the lock's life ends
    resumed = eventually(lambda: _unless_locked(fleet, "resume", operator.id), "the lock is free", 60)

    assert resumed.code == 0
    assert fleet.serve() == [NEW] * 3
    assert [fleet.fired(n) for n in range(3)] == [[operator.id]] * 3


def _unless_locked(fleet: Fleet, *arguments: str):  # noqa: ANN202 - Ran or None
    done = fleet.rollout(*arguments)
    return None if done.code == 44 else done


def test_operator_whose_lock_somebody_else_took_begins_no_further_host(fleet: Fleet, consul: ConsulProcess) -> None:
    gate = fleet.hosts[0].gate("held")
    fleet.configure(0, f"[hooks]\nbefore_publish = [{{ run = '{gate}' }}]")
    operator = fleet.begin()
    fleet.hosts[0].reached("held")
    lock = "/v1/kv/release-agent/test/api/rollout/lock"
    (entry,) = consul.get(lock)
    stranger = consul.put("/v1/session/create", {"LockDelay": "0s"})["ID"]

    consul.put(f"/v1/session/destroy/{entry['Session']}", None)
    assert consul.put(f"{lock}?acquire={stranger}", {"id": "another", "who": "eve", "revision": "v2", "since": "now"})

    assert operator.end() == 40
    fleet.hosts[0].open("held")
    (ended,) = operator.events("rollout.ended")
    assert "eve holds it now" in ended["why"]
    assert [fleet.fired(number) for number in (1, 2)] == [[], []]


def test_host_that_was_down_converges_when_it_boots_and_is_counted(fleet: Fleet) -> None:
    fleet.configure(2, revision='[revision]\nfollow = "rollout"')
    fleet.hosts[2].stop()
    operator = fleet.begin("--max-unreachable", "1")
    assert operator.end() == 42

    fleet.hosts[2].start(boot=True)

    eventually(lambda: fleet.hosts[2].serves() == NEW, "it runs what its fleet runs")
    hosts = eventually(lambda: _converged(fleet, operator.id), "it is counted")
    assert hosts["host-3"] == "converged"


def _converged(fleet: Fleet, identity: str) -> dict[str, str] | None:
    hosts = {host["name"]: host["stage"] for host in fleet.rollout("status", identity).json["hosts"]}
    return hosts if "converged" in hosts.values() else None
