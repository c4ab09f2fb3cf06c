"""A revert, and the hosts that it does not touch, over simulated hosts."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support.desk import Operator
from support.simulated_host import Manner, commit_of
from support.waiting import eventually

if TYPE_CHECKING:
    from support.simulated_rollouts import SimulatedRollouts

OLD, NEW = "v1.0.0", "v1.1.0"


def test_what_was_changed_is_put_back_at_once_where_that_was_asked_for(fleet: SimulatedRollouts) -> None:
    fleet.hosts[1].deploy(NEW, True, "command")  # its own way: there is nothing to change, and nothing to put back
    fleet.refuse(3)

    done = fleet.start("--waves", "1,3", "--revert")

    assert done.code == 41
    assert fleet.live() == [OLD, NEW, OLD, OLD, OLD]
    assert done.json["phase"] == "reverted"
    assert fleet.fired(0) == [done.json["id"], f"{done.json['id']}-revert"]
    assert fleet.fired(1) == ["command"]
    # It went back by itself.
    assert fleet.fired(3) == [done.json["id"]]


def test_revert_names_the_host_that_could_not_be_put_back(fleet: SimulatedRollouts) -> None:
    # A host that never answers is tried for as long as the deadline, at most.
    operator = fleet.begin("--deadline", "8s")
    assert operator.end() == 0
    fleet.hosts[2].manner = Manner.RESET

    done = fleet.rollout("revert", operator.id)

    assert done.code == 40
    assert fleet.live() == [OLD, OLD, NEW, OLD, OLD]
    assert fleet.stages(operator.id) == {f"host-{n}": "stuck" if n == 3 else "reverted" for n in range(1, 6)}
    assert fleet.rollout("revert", "rollout-unknown").code == 22


def test_reverting_a_completed_rollout_takes_every_host_to_its_own_release(fleet: SimulatedRollouts) -> None:
    fleet.hosts[2].runs("v0.9.0")
    operator = fleet.begin()
    assert operator.end() == 0
    assert fleet.live() == [NEW] * 5

    assert fleet.rollout("revert", operator.id).code == 0
    assert fleet.live() == [OLD, OLD, "v0.9.0", OLD, OLD]


def test_revert_waits_for_what_is_being_deployed(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)
    operator = fleet.begin()
    fleet.held(0, operator.id)
    operator.send(signal.SIGKILL)

    reverting = Operator(fleet, fleet.command("revert", operator.id))
    reverting.seen("revert.started")
    assert fleet.is_busy(0)
    fleet.let_go(0)

    assert reverting.end() == 0
    assert fleet.live() == [OLD] * 5
    assert fleet.fired(0) == [operator.id, f"{operator.id}-revert"]


def test_revert_that_was_interrupted_goes_on_backwards(fleet: SimulatedRollouts) -> None:
    fleet.refuse(3)
    fleet.hold(3)
    operator = fleet.begin("--waves", "1,3", "--revert")
    operator.seen("host.finished", host="host-1", stage="done")
    fleet.hold(0)
    fleet.held(3)
    fleet.let_go(3)
    fleet.held(0, "-revert")
    assert operator.send(signal.SIGINT) == 14
    assert fleet.rollout("pause", operator.id).code == 22
    fleet.let_go(0)

    assert fleet.rollout("resume", operator.id).code == 41
    assert fleet.live() == [OLD] * 5
    assert fleet.rollout("status", operator.id).json["phase"] == "reverted"


def test_revert_of_a_completed_rollout_that_was_interrupted_goes_on_backwards(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin()
    assert operator.end() == 0
    fleet.hold(0)
    reverting = Operator(fleet, fleet.command("revert", operator.id))
    fleet.held(0, "-revert")

    assert reverting.send(signal.SIGINT) == 14
    assert fleet.rollout("status", operator.id).json["phase"] == "interrupted"
    fleet.let_go(0)

    assert fleet.rollout("resume", operator.id).code == 0
    assert fleet.live() == [OLD] * 5


def test_host_that_still_deploys_after_its_deadline_is_not_said_to_be_put_back(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)

    done = fleet.start("--waves", "100%", "--deadline", "2s", "--revert")

    assert done.code == 40
    stages = {host["host"]: (host["stage"], host["code"]) for host in done.json["hosts"]}
    assert stages["host-1"] == ("stuck", "host-late")
    fleet.let_go(0)
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD], "it goes on by itself"
    assert fleet.rollout("revert", done.json["id"]).code == 0
    assert fleet.live() == [OLD] * 5


def test_revert_leaves_alone_what_a_person_deployed_on_a_host_that_was_not_there(fleet: SimulatedRollouts) -> None:
    fleet.hosts[2].deploy(NEW, True, "command")
    fleet.hosts[2].manner = Manner.RESET
    operator = fleet.begin("--max-unreachable", "1")
    assert operator.end() == 42
    fleet.hosts[2].manner = Manner.ANSWER

    assert fleet.rollout("revert", operator.id).code == 0
    assert fleet.live() == [OLD, OLD, NEW, OLD, OLD]


def test_revert_leaves_alone_a_host_that_was_left_out_and_booted_to_the_release_before(fleet: SimulatedRollouts) -> None:
    fleet.hosts[2].runs("v0.9.0")
    fleet.hosts[2].manner = Manner.UNAUTHORISED
    fleet.refuse(1)
    fleet.hold(1)
    operator = fleet.begin("--waves", "1,100%", "--max-failed", "1", "--revert")
    fleet.held(1)
    fleet.hosts[2].manner = Manner.ANSWER
    fleet.hosts[2].deploy(OLD, True, "boot")  # it follows the rollout that completed last
    fleet.let_go(1)

    assert operator.end() == 41
    assert fleet.live() == [OLD] * 5
    assert fleet.fired(2) == ["boot"]


def test_revert_finds_its_deployment_behind_many_later_runs_that_changed_nothing(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin()
    assert operator.end() == 0
    for _ in range(25):
        fleet.hosts[1].deploy(NEW, True, "command")

    assert fleet.rollout("revert", operator.id).code == 0
    assert fleet.live() == [OLD] * 5


def test_revert_of_a_host_that_has_lost_its_history_claims_nothing_about_who_deployed(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin()
    assert operator.end() == 0
    fleet.hosts[1].runs(NEW)

    done = fleet.rollout("revert", operator.id)

    assert done.code == 40
    assert fleet.live() == [OLD, NEW, OLD, OLD, OLD]
    stuck = done.json["hosts"][1]
    assert (stuck["code"], stuck["why"]) == (
        "host-moved-on",
        "runs v1.1.0 now; its history does not show that this rollout deployed it",
    )


def test_revert_leaves_alone_what_a_later_rollout_brought(fleet: SimulatedRollouts) -> None:
    fleet.refuse(2)
    first = fleet.begin("--waves", "100%", "--max-failed", "1")
    assert first.end() == 42
    for host in fleet.hosts:
        host.commits |= {"v1.2.0": commit_of("v1.2.0")}
    assert fleet.start(revision="v1.2.0").code == 0

    done = fleet.rollout("revert", first.id)

    assert done.code == 40
    assert fleet.live() == ["v1.2.0"] * 5
    ended = {host["host"]: (host["stage"], host["code"]) for host in done.json["hosts"]}
    assert ended["host-1"] == ("stuck", "host-moved-on")
    assert ended["host-3"] == ("failed", "unhealthy")


def test_reverting_an_old_rollout_leaves_what_a_later_one_completed_with_the_same_commits(fleet: SimulatedRollouts) -> None:
    fleet.refuse(2)
    first = fleet.begin("--waves", "100%", "--max-failed", "1")
    assert first.end() == 42
    fleet.hosts[2].fails = {}
    later = fleet.start()
    assert later.code == 0

    done = fleet.rollout("revert", first.id)

    assert done.code == 40
    assert fleet.live() == [NEW] * 5
    ended = {host["host"]: (host["stage"], host["code"]) for host in done.json["hosts"]}
    assert ended["host-1"] == ("stuck", "host-moved-on")
    assert later.json["id"] in done.json["hosts"][0]["why"]


def test_revert_leaves_alone_the_same_commits_that_a_person_deployed_since(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin()
    assert operator.end() == 0
    fleet.hosts[1].rollback("", True, "command")
    fleet.hosts[1].deploy(NEW, True, "command")

    done = fleet.rollout("revert", operator.id)

    assert done.code == 40
    assert fleet.live() == [OLD, NEW, OLD, OLD, OLD]
    assert done.json["hosts"][1]["code"] == "host-moved-on"


@pytest.mark.parametrize("killed", [False, True], ids=["same operator", "next operator"])
def test_revert_that_waits_for_a_host_does_not_overwrite_what_a_person_deploys_there(
    fleet: SimulatedRollouts, killed: bool
) -> None:
    reverting = _waits_to_roll_back_host_2(fleet)
    fleet.hosts[1].deploy("v0.9.0", True, "command")
    if killed:
        reverting.send(signal.SIGKILL)
        reverting = Operator(fleet, fleet.command("resume", reverting.id))
    fleet.hosts[1].manners = {}

    assert reverting.end() == 40
    assert fleet.live() == [OLD, "v0.9.0", OLD, OLD, OLD]
    stuck = fleet.rollout("status", reverting.id).json["hosts"][1]
    assert (stuck["stage"], stuck["code"], stuck["why"][:15]) == ("stuck", "host-moved-on", "runs v0.9.0 now")


def test_host_that_a_person_rolls_back_while_the_revert_waits_for_it_is_rolled_back(fleet: SimulatedRollouts) -> None:
    reverting = _waits_to_roll_back_host_2(fleet)
    fleet.hosts[1].rollback("", True, "command")
    fleet.hosts[1].manners = {}

    assert reverting.end() == 0
    assert fleet.live() == [OLD] * 5
    assert set(fleet.stages(reverting.id).values()) == {"reverted"}


def _waits_to_roll_back_host_2(fleet: SimulatedRollouts) -> Operator:
    """Start the revert of a completed rollout, and return when host-2 hears nothing of it."""
    operator = fleet.begin()
    assert operator.end() == 0
    fleet.hosts[1].manners = {"release.rollback": Manner.RESET}
    reverting = Operator(fleet, fleet.command("revert", operator.id))
    reverting.seen("host.reverting", host="host-2")
    return reverting


def test_operator_killed_on_the_way_back_of_a_system_is_gone_on_with_in_the_reverse_order(fleet: SimulatedRollouts) -> None:
    fleet.become_system()
    operator = fleet.begin()
    assert operator.end() == 0
    for number in (1, 2):
        fleet.hold(number)
    reverting = Operator(fleet, fleet.command("revert", operator.id))
    fleet.held(1, "revert")
    eventually(lambda: fleet.live() == [OLD, NEW, NEW, NEW, NEW], "the other web host is back, and nobody else")
    reverting.send(signal.SIGKILL)
    resumed = Operator(fleet, fleet.command("resume", operator.id))
    fleet.let_go(1)
    fleet.held(2, "revert")
    eventually(lambda: fleet.live() == [OLD, OLD, NEW, OLD, NEW], "the other api host is back, and the database is not")
    fleet.let_go(2)

    assert resumed.end() == 0
    assert fleet.live() == [OLD] * 5
    assert all(fleet.fired(number) == [operator.id, f"{operator.id}-revert"] for number in range(5))
