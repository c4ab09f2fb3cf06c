"""Rollouts over real hosts, each a supervisord with the plugin: behaviour that simulated hosts cannot show."""

from __future__ import annotations

import signal
from typing import TYPE_CHECKING

import pytest

from support.desk import KilledAtWrites
from support.fleet import Fleet

if TYPE_CHECKING:
    from collections.abc import Iterator

OLD, NEW = "v1.0.0", "v1.1.0"


@pytest.fixture
def fleet() -> Iterator[Fleet]:
    """Three hosts that run v1.0.0; rollouts are written down in a file."""
    made = Fleet(3)
    yield made
    made.close()


def test_all_hosts_well_take_the_revision_and_go_back_to_their_own(fleet: Fleet) -> None:
    operator = fleet.begin()

    assert operator.end() == 0
    assert fleet.live() == [NEW] * 3
    assert all(fleet.fired(number) == [operator.id] for number in range(3))
    assert fleet.rollout("revert", operator.id).code == 0
    assert fleet.live() == [OLD] * 3
    assert all(fleet.fired(number) == [operator.id, f"{operator.id}-revert"] for number in range(3))


def test_host_that_rolls_back_by_itself_stops_the_rollout_and_the_others_are_put_back(fleet: Fleet) -> None:
    fleet.refuse(2)

    done = fleet.start("--waves", "1,100%", "--revert")

    assert done.code == 41
    assert fleet.live() == [OLD] * 3
    assert {host["host"]: host["code"] for host in done.json["hosts"] if host["code"]} == {"host-3": "hook-failed"}
    assert fleet.fired(2) == [done.json["id"]]


def test_host_that_hangs_after_accepting_hides_no_other_host(fleet: Fleet) -> None:
    fleet.hold(2)
    operator = fleet.begin("--waves", "100%", "--deadline", "30s", "--max-unreachable", "1")
    fleet.held(2)
    fleet.hosts[2].freeze()

    assert operator.end() == 42
    assert [fleet.hosts[number].serves() for number in (0, 1)] == [NEW] * 2
    assert operator.events("rollout.ended")[0]["hosts"][2]["code"] == "host-unreachable"


def test_wrong_password_on_one_host_is_that_hosts_alone(fleet: Fleet) -> None:
    configuration = fleet.hosts[1].path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("a secret of the fleet", "another"))
    fleet.hosts[1].reload()

    refused = fleet.start("--dry-run")

    assert refused.code == 40
    assert "host-2: it wants another user or password" in refused.json["error"]["message"]
    assert "a secret of the fleet" not in refused.out + refused.err


@pytest.mark.needs("ptrace")
def test_operator_killed_at_any_write_is_gone_on_with_and_no_host_is_deployed_to_twice_or_left_out(fleet: Fleet) -> None:
    """Signal 9 at a write before, while and after the first host deploys: a revision of its own each time."""
    killer = KilledAtWrites(fleet)
    for number in (6, 9, 16):
        revision = f"v1.1.{number}"
        fleet.repository.release(revision)
        before = [fleet.fired(n) for n in range(3)]

        killed = killer.rollout(number, revision)

        assert killed
        assert fleet.rollout("resume", killed).code == 0
        assert fleet.live() == [revision] * 3
        assert [fleet.fired(n) for n in range(3)] == [[*fired, killed] for fired in before]
    assert killer.kills == 3


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_operator_who_goes_away_leaves_hosts_to_go_on_by_themselves(fleet: Fleet, number: signal.Signals) -> None:
    fleet.hold(0)
    operator = fleet.begin()
    fleet.held(0)

    operator.send(number)

    fleet.let_go(0)
    resumed = fleet.rollout("resume", operator.id)
    assert resumed.code == 0, resumed.out
    assert fleet.live() == [NEW] * 3
    assert [fleet.fired(n) for n in range(3)] == [[operator.id]] * 3


def test_host_that_somebody_deployed_to_before_its_turn_is_not_touched_and_has_failed(fleet: Fleet) -> None:
    fleet.repository.release("v1.2.0")
    fleet.hold(0)
    operator = fleet.begin("--waves", "1,100%", "--max-failed", "1")
    fleet.held(0)
    assert fleet.hosts[2].deploy("v1.2.0").code == 0
    fleet.let_go(0)

    assert operator.end() == 42
    assert fleet.live() == [NEW, NEW, "v1.2.0"]
    (ended,) = operator.events("rollout.ended")
    assert ended["hosts"][2]["code"] == "overtaken"


def test_rollout_is_not_completed_where_a_host_changed_after_its_turn(fleet: Fleet) -> None:
    fleet.repository.release("v1.2.0")
    fleet.hold(2)
    operator = fleet.begin()
    fleet.held(2)
    assert fleet.hosts[0].deploy("v1.2.0").code == 0
    fleet.let_go(2)

    assert operator.end() == 40
    (ended,) = operator.events("rollout.ended")
    assert [(host["stage"], host["code"]) for host in ended["hosts"]] == [("failed", "overtaken"), ("done", ""), ("done", "")]


def test_rollout_is_not_completed_where_a_service_was_stopped_after_its_turn(fleet: Fleet) -> None:
    fleet.hold(2)
    operator = fleet.begin()
    fleet.held(2)
    fleet.hosts[0].supervisorctl("stop", "web")
    fleet.let_go(2)

    assert operator.end() == 40
    (ended,) = operator.events("rollout.ended")
    assert [(host["stage"], host["code"]) for host in ended["hosts"]] == [("failed", "host-sick"), ("done", ""), ("done", "")]
    assert ended["hosts"][0]["why"] == f"runs {NEW}, and is critical: web is STOPPED"


def test_revert_leaves_alone_the_same_commits_that_a_person_deployed_since(fleet: Fleet) -> None:
    operator = fleet.begin()
    assert operator.end() == 0
    assert fleet.hosts[1].agent("rollback").code == 0
    assert fleet.hosts[1].deploy(NEW).code == 0

    done = fleet.rollout("revert", operator.id)

    assert done.code == 40
    assert fleet.live() == [OLD, NEW, OLD]


def test_host_that_cannot_stage_stops_the_rollout_with_nothing_changed_anywhere(fleet: Fleet) -> None:
    fleet.configure(2, "[hooks]\nbuild = [{ run = 'test $RELEASE_REVISION != v1.1.0' }]")

    done = fleet.start("--stage")

    assert (done.code, fleet.live()) == (40, [OLD] * 3)
    assert done.json["hosts"][2]["code"] == "hook-failed"
    assert all(done.json["id"] not in fleet.fired(number) for number in range(3))
    fleet.configure(2)
    assert (fleet.start("--stage").code, fleet.live()) == (0, [NEW] * 3)
