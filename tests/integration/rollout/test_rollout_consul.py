"""Rollouts with their hosts and their record in Consul."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING, Any

import pytest

from support.consul_process import ConsulProcess
from support.desk import Operator
from support.fleet import Fleet
from support.simulated_host import Manner
from support.simulated_rollouts import SimulatedRollouts
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Ran

OLD, NEW = "v1.0.0", "v1.1.0"


class _Listed(SimulatedRollouts):
    """Three simulated hosts in Consul's catalog, under a service of their own; the record is there, too."""

    def __init__(self, path: Path, consul: ConsulProcess) -> None:
        super().__init__(path, 3, consul={"CONSUL_HTTP_ADDR": consul.address})
        self.service = self.register()
        eventually(lambda: len(consul.get(f"/v1/catalog/service/{self.service}")) == 3, "they are in the catalog")

    @property
    def place(self) -> str:
        """Where in KV rollouts of these hosts are."""
        return f"release-agent/test/{self.service}/rollout"

    def find(self, *arguments: str) -> list[str]:
        """Return the command line of a rollout on the hosts that Consul knows."""
        return self.command("start", NEW, "--consul", self.service, *arguments)

    def check(self, number: int) -> str:
        """Return the path of a host's check."""
        return f"service:release-agent:{self.service}:host-{number}"


@pytest.fixture
def listed(tmp_path: Path, consul: ConsulProcess) -> Iterator[_Listed]:
    """Hosts in the session's Consul, which is left as it is."""
    made = _Listed(tmp_path, consul)
    yield made
    made.close()


@pytest.fixture
def own_consul() -> Iterator[ConsulProcess]:
    """A Consul of its own: it may be broken."""
    made = ConsulProcess()
    yield made
    made.close()


@pytest.fixture
def breakable(tmp_path: Path, own_consul: ConsulProcess) -> Iterator[_Listed]:
    """Hosts in a Consul that may be broken."""
    made = _Listed(tmp_path, own_consul)
    yield made
    made.close()


@pytest.fixture
def real(own_consul: ConsulProcess) -> Iterator[Fleet]:
    """Three real hosts whose agents report to Consul."""
    made = Fleet(3, CONSUL_HTTP_ADDR=own_consul.address)
    yield made
    made.close()


def test_real_hosts_come_from_the_catalog_and_the_record_is_seen_from_anywhere(real: Fleet, own_consul: ConsulProcess) -> None:
    operator = Operator(real, real.command("start", NEW, "--consul", "api", *real.access, "--bake", "0"))

    assert operator.end() == 0
    assert real.live() == [NEW] * 3
    status = real.rollout("status", operator.id).json
    assert (status["phase"], [host["stage"] for host in status["hosts"]]) == ("completed", ["done"] * 3)
    completed = own_consul.record("release-agent/test/api/rollout/completed")
    assert (completed["id"], completed["revision"]) == (operator.id, NEW)


def test_real_host_that_was_down_converges_when_it_boots_and_is_counted(real: Fleet) -> None:
    real.configure(2, revision='[revision]\nfollow = "rollout"')
    real.hosts[2].stop()
    operator = real.begin("--max-unreachable", "1")
    assert operator.end() == 42

    real.hosts[2].start(boot=True)

    eventually(lambda: real.hosts[2].serves() == NEW, "it runs what its fleet runs")
    hosts = eventually(lambda: _converged(real, operator.id), "it is counted")
    assert hosts["host-3"] == "converged"


def _converged(fleet: Fleet, identity: str) -> dict[str, str] | None:
    stages = fleet.stages(identity)
    return stages if "converged" in stages.values() else None


def test_filters_choose_hosts_and_none_is_an_error(listed: _Listed) -> None:
    done = listed.run(listed.find("--limit", "host-2", "--tag", "test", "--bake", "0"))
    none = listed.run(listed.find("--environment", "production"))

    assert (done.code, listed.live()) == (0, [OLD, NEW, OLD])
    assert (none.code, none.json["error"]["code"]) == (10, "fleet-empty")


def test_host_that_consul_finds_sick_between_waves_stops_the_rollout(listed: _Listed, consul: ConsulProcess) -> None:
    operator = Operator(listed, listed.find("--bake", "10m", "--revert"))
    operator.seen("bake.started")

    consul.put(f"/v1/agent/check/fail/{listed.check(1)}?note=out+of+memory", None)

    assert operator.end() == 41
    failed = operator.seen("host.finished", stage="failed")
    assert (failed["host"], failed["code"]) == ("host-1", "host-sick")
    assert "out of memory" in failed["why"]
    assert listed.live() == [OLD] * 3


def test_only_host_of_a_wave_that_turns_sick_stops_it_whatever_the_budget(listed: _Listed, consul: ConsulProcess) -> None:
    operator = Operator(listed, listed.find("--bake", "10m", "--max-failed", "1"))
    operator.seen("bake.started")
    consul.put(f"/v1/agent/check/fail/{listed.check(1)}", None)

    assert operator.end() == 40
    assert listed.fired(1) == []


def test_host_that_is_gone_by_the_end_of_a_bake_is_not_taken_for_well(listed: _Listed) -> None:
    listed.hold(0)
    operator = Operator(listed, listed.find("--bake", "1s", "--deadline", "20s"))
    listed.held(0)
    listed.hosts[0].manners = {"release.getStatus": Manner.RESET}  # what is asked of who was deployed to
    listed.let_go(0)

    assert operator.end() == 40
    assert operator.seen("host.finished", host="host-1", stage="unreachable")
    assert listed.fired(1) == []


def test_consul_that_is_unreachable_at_the_start_is_no_reason_to_write_somewhere_else(
    breakable: _Listed, own_consul: ConsulProcess
) -> None:
    own_consul.close()

    done = breakable.start()

    assert (done.code, done.json["error"]["code"]) == (40, "record-unreachable")
    assert breakable.live() == [OLD] * 3
    assert not (breakable.path / "operator").exists()


def test_consul_that_is_lost_in_the_middle_is_waited_for(breakable: _Listed, own_consul: ConsulProcess) -> None:
    breakable.hold(0)
    operator = breakable.begin()
    breakable.held(0)

    own_consul.hang()
    breakable.let_go(0)
    operator.seen("record.away")
    assert breakable.fired(1) == []
    own_consul.go_on()

    assert operator.end() == 0
    assert operator.events("record.back")
    assert breakable.live() == [NEW] * 3


def test_status_that_is_watched_waits_for_a_consul_that_is_lost(breakable: _Listed, own_consul: ConsulProcess) -> None:
    breakable.hold(0)
    operator = breakable.begin()
    breakable.held(0)
    watching = Operator(breakable, breakable.command("status", operator.id, "--watch"))
    eventually(watching.events, "the first state is shown")

    own_consul.hang()
    watching.seen("record.away")
    own_consul.go_on()
    watching.seen("record.back")
    breakable.let_go(0)

    assert (operator.end(), watching.end()) == (0, 0)
    assert watching.events()[-1]["phase"] == "completed"


def test_killed_operator_is_gone_on_with_from_another_machine(listed: _Listed) -> None:
    listed.hold(1)
    operator = listed.begin()
    listed.held(1)
    operator.send(signal.SIGKILL)
    listed.let_go(1)

    assert listed.start().code == 44  # until the lock's life ends
    resumed = eventually(lambda: _unless_locked(listed, "resume", operator.id), "the lock is free")

    assert resumed.code == 0
    assert listed.live() == [NEW] * 3
    assert [listed.fired(n) for n in range(3)] == [[operator.id]] * 3


def test_abort_given_while_the_operator_is_dead_is_obeyed_by_who_resumes(listed: _Listed) -> None:
    listed.hold(0)
    operator = listed.begin()
    listed.held(0)
    operator.send(signal.SIGKILL)

    ordered = listed.rollout("abort", operator.id)  # the lock of the dead operator is still held
    listed.let_go(0)
    resumed = eventually(lambda: _unless_locked(listed, "resume", operator.id), "the lock is free")

    assert "has not answered" in ordered.json["said"]
    assert (resumed.code, resumed.json["phase"]) == (40, "aborted")
    assert [listed.fired(n) for n in range(3)] == [[operator.id], [], []]


def _unless_locked(fleet: _Listed, verb: str, identity: str) -> Ran | None:
    done = fleet.rollout(verb, identity)
    return None if done.code == 44 else done


def test_operator_whose_lock_somebody_else_took_begins_no_further_host(listed: _Listed, consul: ConsulProcess) -> None:
    listed.hold(0)
    operator = listed.begin()
    listed.held(0)
    lock = f"/v1/kv/{listed.place}/lock"
    entries: list[dict[str, Any]] = consul.get(lock)
    stranger = consul.put("/v1/session/create", {"LockDelay": "0s"})["ID"]

    consul.put(f"/v1/session/destroy/{entries[0]['Session']}", None)
    assert consul.put(f"{lock}?acquire={stranger}", {"id": "another", "who": "eve", "revision": "v2", "since": "now"})

    assert operator.end() == 40
    listed.let_go(0)
    (ended,) = operator.events("rollout.ended")
    assert "eve holds it now" in ended["why"]
    assert [listed.fired(number) for number in (1, 2)] == [[], []]


def test_fleet_that_is_frozen_in_consul_is_deployed_to_from_no_machine(listed: _Listed, consul: ConsulProcess) -> None:
    frozen = listed.rollout("freeze", listed.service, "test", "the database moves", "--until", "2h")
    assert consul.record(f"{listed.place}/frozen")["why"] == "the database moves", frozen

    refused = listed.run(listed.find("--bake", "0"))
    assert (refused.code, refused.json["error"]["code"]) == (12, "frozen")
    assert listed.live() == [OLD] * 3

    listed.rollout("unfreeze", listed.service, "test")
    assert listed.run(listed.find("--bake", "0")).code == 0


def test_commands_in_messages_find_a_record_under_another_prefix(listed: _Listed) -> None:
    place = ("--prefix", "another/place")
    listed.hold(0)
    operator = Operator(listed, listed.find("--bake", "0", *place))
    listed.held(0)

    frozen = listed.rollout("freeze", listed.service, "test", "the database moves", *place)
    pause = f"release-agent rollout pause {operator.id} --consul --prefix another/place"
    assert frozen.json["said"].endswith(f"to pause it: {pause}"), frozen
    assert listed.run(pause.split()).code == 0
    operator.seen("rollout.paused")

    unfreeze = f"release-agent rollout unfreeze {listed.service} test --consul --prefix another/place"
    refused = listed.rollout("resume", operator.id, *place)
    assert (refused.code, f"run `{unfreeze}`" in refused.json["error"]["hint"]) == (12, True), refused
    assert "are not frozen any more" in listed.run(unfreeze.split()).out
    listed.let_go(0)
    assert listed.rollout("resume", operator.id, *place).code == 0
    assert operator.end() == 0


def test_freeze_that_somebody_wrote_by_hand_into_consul_can_be_ended(listed: _Listed, consul: ConsulProcess) -> None:
    consul.put(f"/v1/kv/{listed.place}/frozen", ["until Monday"])

    assert listed.run(listed.find("--bake", "0")).json["error"]["code"] == "record-unreachable"
    assert listed.live() == [OLD] * 3
    assert listed.rollout("unfreeze", listed.service, "test").code == 0
    assert listed.run(listed.find("--bake", "0")).code == 0


def test_fleet_does_not_follow_a_canary_unless_that_is_asked_for(listed: _Listed, consul: ConsulProcess) -> None:
    keys = f"/v1/kv/{listed.place}/?keys"

    canary = listed.run(listed.find("--bake", "0", "--limit", "host-1"))

    assert (canary.code, canary.json["whole"]) == (0, False)
    assert f"{listed.place}/completed" not in consul.get(keys)
    assert listed.run(listed.find("--bake", "0", "--exclude", "host-3", "--follow")).code == 0
    assert f"{listed.place}/completed" in consul.get(keys)
