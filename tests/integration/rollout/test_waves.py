"""The policy of a rollout over simulated hosts: the hosts of each wave, and the reasons to stop."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

from support.environment import PROJECT
from support.simulated_host import STAGE, commit_of
from support.simulated_rollouts import SimulatedRollouts

if TYPE_CHECKING:
    from pathlib import Path

OLD, NEW = "v1.0.0", "v1.1.0"


def test_all_hosts_well_take_the_revision_wave_after_wave(fleet: SimulatedRollouts) -> None:
    operator = fleet.begin()

    assert operator.end() == 0
    assert fleet.live() == [NEW] * 5
    assert [event["hosts"] for event in operator.events("wave.started")] == [1, 1, 3]
    assert all(fleet.fired(number) == [operator.id] for number in range(5))
    (listed,) = fleet.rollout("list").json
    assert (listed["id"], listed["phase"], listed["revision"]) == (operator.id, "completed", NEW)
    assert set(fleet.stages(operator.id).values()) == {"done"}


def test_percentages_are_of_all_hosts(tmp_path: Path) -> None:
    fleet = SimulatedRollouts(tmp_path, 20)
    try:
        done = fleet.start("--waves", "1,10%,100%")
    finally:
        fleet.close()

    planned = json.loads(done.out.splitlines()[0])
    assert done.code == 0
    assert [len(wave) for wave in planned["waves"]] == [1, 2, 17]
    assert all(host.triggers == [done.json["id"]] for host in fleet.hosts)


def test_hosts_already_there_are_skipped_and_those_not_well_come_first(fleet: SimulatedRollouts) -> None:
    fleet.hosts[0].runs(NEW)
    fleet.hosts[3].health = "critical"

    planned = fleet.start("--dry-run").json
    done = fleet.start()

    assert planned["waves"] == [["host-4"], ["host-2"], ["host-3", "host-5"]]
    skipped = next(host for host in planned["hosts"] if host["name"] == "host-1")
    assert (skipped["stage"], skipped["why"]) == ("skipped", f"already runs {NEW}, and is healthy")
    assert planned["changes"]["api"]["count"] == 1
    assert (done.code, fleet.live()) == (0, [NEW] * 5)
    assert fleet.fired(0) == []


def test_canary_that_fails_stops_everything_whatever_the_budget(fleet: SimulatedRollouts) -> None:
    fleet.refuse(0)

    done = fleet.start("--max-failed", "3")

    assert done.code == 40
    assert fleet.live() == [OLD] * 5
    assert [fleet.fired(number) for number in range(1, 5)] == [[]] * 4
    assert done.json["why"] == "no host of wave 1 took the revision and stayed healthy"
    assert {host["host"]: host["code"] for host in done.json["hosts"] if host["stage"] == "failed"} == {"host-1": "unhealthy"}


def test_one_more_than_the_budget_stops_it(fleet: SimulatedRollouts) -> None:
    fleet.refuse(1)
    fleet.refuse(2)

    stopped = fleet.start("--waves", "1,2,1", "--max-failed", "1", "--max-unreachable", "5")

    assert (stopped.code, stopped.json["phase"]) == (40, "failed")
    assert stopped.json["why"] == "2 of 5 hosts failed, and --max-failed allows 1"
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]


def test_budget_that_is_exactly_met_lets_it_go_on_and_who_failed_is_named(fleet: SimulatedRollouts) -> None:
    fleet.refuse(2)

    done = fleet.start("--waves", "2,100%", "--max-failed", "20%")

    assert done.code == 42
    assert fleet.live() == [NEW, NEW, OLD, NEW, NEW]
    assert done.json["phase"] == "partial"
    (failed,) = [host for host in done.json["hosts"] if host["stage"] == "failed"]
    assert (failed["host"], failed["code"]) == ("host-3", "unhealthy")
    assert "rolled-back" in failed["why"]


def test_every_host_that_one_look_of_a_bake_finds_sick_has_failed(fleet: SimulatedRollouts) -> None:
    for host in fleet.hosts:
        host.health_after = "critical"

    operator = fleet.begin("--waves", "100%", "--bake", "1s")

    assert operator.end() == 40
    (ended,) = operator.events("rollout.ended")
    assert [host["stage"] for host in ended["hosts"]] == ["failed"] * 5
    assert list(fleet.stages(operator.id).values()) == ["failed"] * 5
    finished = [event["host"] for event in operator.events("host.finished") if event["stage"] == "failed"]
    assert finished == [f"host-{number}" for number in range(1, 6)]


def test_host_that_is_late_has_failed_and_goes_on_by_itself(fleet: SimulatedRollouts) -> None:
    fleet.hold(0)

    done = fleet.start("--deadline", "1s")

    assert done.code == 40
    assert done.json["hosts"][0]["code"] == "host-late"
    assert fleet.stages(done.json["id"])["host-1"] == "failed"
    fleet.let_go(0)
    assert fleet.live() == [NEW, OLD, OLD, OLD, OLD]
    assert fleet.stages(done.json["id"])["host-1"] == "converged"


def test_rollout_on_which_no_host_becomes_well_for_too_long_is_stopped(fleet: SimulatedRollouts) -> None:
    for number in range(5):
        fleet.hold(number)

    stopped = fleet.start(
        *("--waves", "5", "--parallel", "1", "--deadline", "4s", "--progress-deadline", "1s", "--max-failed", "5")
    )

    assert stopped.code == 40
    assert stopped.json["why"] == "no host became healthy within 1 s"
    assert [host["stage"] for host in stopped.json["hosts"]] == ["failed", *["pending"] * 4]


def test_services_of_a_maestro_file_are_taken_in_the_order_of_what_they_require(locked_fleet: SimulatedRollouts) -> None:
    fleet = locked_fleet
    file = _maestro_file(fleet)
    start = ("start", NEW, "--maestro", file, "--bake", "0", "--waves", "100%", *fleet.access)
    chosen = fleet.rollout(*start, "--service", "api", "--service", "web", "--dry-run").json
    done = fleet.rollout(*start)

    assert chosen["waves"] == [["api-1", "web-1"]]
    assert done.code == 0
    ends = [event["host"] for event in map(json.loads, done.out.splitlines()) if event["event"] == "host.finished"]
    assert ends == ["store-1", "api-1", "web-1"]
    began = [fleet.hosts[number].getHistory()[0]["started_at"] for number in (2, 1, 0)]
    assert began == sorted(began)


def test_services_of_a_maestro_file_may_be_applications_of_their_own(locked_fleet: SimulatedRollouts) -> None:
    fleet = locked_fleet
    for host, app in zip(fleet.hosts, ("web", "api", "store"), strict=True):
        host.app = app

    start = ("start", NEW, "--maestro", _maestro_file(fleet), "--bake", "0", "--waves", "100%", *fleet.access)
    planned = fleet.rollout(*start, "--dry-run").json
    done = fleet.rollout(*start)

    assert planned["waves"] == [["store-1"], ["api-1"], ["web-1"]]
    assert [application["name"] for application in planned["applications"]] == ["store", "api", "web"]
    assert {app: changes["api"]["count"] for app, changes in planned["changes"].items()} == {"store": 1, "api": 1, "web": 1}
    assert (done.code, fleet.live()) == (0, [NEW] * 3)


def _maestro_file(fleet: SimulatedRollouts) -> Path:
    """Write a maestro-ng file of three services."""
    places = [url.removeprefix("http://").split(":") for url in fleet.urls()]
    ships = "".join(f"  ship-{number}: {{ip: {address}}}\n" for number, (address, _) in enumerate(places))
    ports = [f"ports: {{supervisor: '9001:{port}'}}" for _, port in places]
    file = fleet.path / "maestro.yaml"
    file.write_text(
        f"__maestro: {{schema: 2}}\nname: test\nships:\n{ships}services:\n"
        f"  web:\n    image: web\n    requires: [api]\n    instances:\n      web-1: {{ship: ship-0, {ports[0]}}}\n"
        f"  api:\n    image: api\n    requires: [store]\n    instances:\n      api-1: {{ship: ship-1, {ports[1]}}}\n"
        f"  store:\n    image: store\n    instances:\n      store-1: {{ship: ship-2, {ports[2]}}}\n"
    )
    return file


def test_fan_out_to_a_handful_of_hosts_is_told_line_by_line(locked_fleet: SimulatedRollouts) -> None:
    fleet = locked_fleet
    hosts = [url.removeprefix("http://") for url in fleet.urls()]

    done = fleet.script(PROJECT / "scripts" / "fanout", NEW, *hosts, "--bake", "0", *fleet.access)

    assert (done.code, fleet.live()) == (0, [NEW] * 3)
    lines = done.out.splitlines()
    assert lines[0] == f"{NEW} for api (test), 3 hosts"
    assert sum(line.split()[1] == "host.finished" for line in lines if " host.finished " in line) == 3
    assert lines[-2] == f"completed: {NEW} on api (test); 3 hosts: 3 done"
    effect = "without --follow, the fleet does not follow this rollout"
    assert lines[-1].strip() == f"partial: only some hosts of the inventory were chosen; {effect}"


def test_list_marks_rollouts_of_a_part_of_the_inventory(fleet: SimulatedRollouts) -> None:
    chosen = [("--limit", "host-1"), ("--exclude", "host-5", "--follow"), ()]
    identities = [fleet.start(*options).json["id"] for options in chosen]

    listed = {one["id"]: one["whole"] for one in fleet.rollout("list").json}
    words = fleet.run([word for word in fleet.command("list") if word != "--json"]).out.splitlines()

    assert [listed[identity] for identity in identities] == [False, False, True]
    marks = {line.split()[0]: line.split("api (test)")[1].split("  by ")[0].strip() for line in words}
    assert [marks[identity] for identity in identities] == [
        "partial: only some hosts of the inventory",
        "partial: only some hosts of the inventory, followed anyway",
        "",
    ]


def test_zones_are_taken_one_after_the_other(fleet: SimulatedRollouts) -> None:
    for number, zone in enumerate(["north", "south", "north", "south", "south"], 1):
        text = fleet.file.read_text()
        fleet.file.write_text(text.replace(f'name = "host-{number}"', f'name = "host-{number}"\nzone = "{zone}"'))

    planned = fleet.start("--waves", "1,100%", "--by-zone", "--dry-run").json
    operator = fleet.begin("--waves", "1,100%", "--by-zone")

    assert planned["waves"] == [["host-1"], ["host-3"], ["host-2", "host-4", "host-5"]]
    assert operator.end() == 0
    assert [event["hosts"] for event in operator.events("wave.started")] == [1, 1, 3]
    assert fleet.live() == [NEW] * 5


def test_going_by_zone_without_any_is_refused(fleet: SimulatedRollouts) -> None:
    done = fleet.start("--by-zone")

    assert (done.code, done.json["error"]["code"]) == (10, "inventory-invalid")
    assert fleet.live() == [OLD] * 5


@pytest.mark.parametrize("filters", [("--limit", "host-2"), ("--exclude", "host-[1345]")])
def test_hosts_that_were_not_chosen_are_left_alone(fleet: SimulatedRollouts, filters: tuple[str, str]) -> None:
    done = fleet.start(*filters)

    assert (done.code, fleet.live()) == (0, [OLD, NEW, OLD, OLD, OLD])


def test_host_that_somebody_deployed_to_before_its_turn_is_not_touched_and_has_failed(fleet: SimulatedRollouts) -> None:
    for host in fleet.hosts:
        host.commits |= {"v1.2.0": commit_of("v1.2.0")}
    fleet.hold(0)
    operator = fleet.begin("--waves", "1,100%", "--max-failed", "1")
    fleet.held(0)
    fleet.hosts[3].deploy("v1.2.0", True, "command")
    fleet.let_go(0)

    assert operator.end() == 42
    assert fleet.live() == [NEW, NEW, NEW, "v1.2.0", NEW]
    (ended,) = operator.events("rollout.ended")
    failed = ended["hosts"][3]
    assert (failed["stage"], failed["code"]) == ("failed", "overtaken")
    assert fleet.rollout("revert", operator.id).code == 0
    assert fleet.live() == [OLD, OLD, OLD, "v1.2.0", OLD]


def test_rollout_is_not_completed_where_a_host_changed_after_its_turn(fleet: SimulatedRollouts) -> None:
    for host in fleet.hosts:
        host.commits |= {"v1.2.0": commit_of("v1.2.0")}
    fleet.hold(4)
    operator = fleet.begin()
    fleet.held(4)
    fleet.hosts[0].deploy("v1.2.0", True, "command")
    fleet.hosts[1].health, fleet.hosts[1].health_why = "critical", "http://127.0.0.1/: answered 500, not 200"
    fleet.let_go(4)

    assert operator.end() == 40
    (ended,) = operator.events("rollout.ended")
    assert [(host["stage"], host["code"]) for host in ended["hosts"]] == [
        *(("failed", "overtaken"), ("failed", "host-sick")),
        *[("done", "")] * 3,
    ]
    assert "runs v1.2.0 now" in ended["hosts"][0]["why"]
    assert ended["hosts"][1]["why"].endswith("and is critical: http://127.0.0.1/: answered 500, not 200")
    assert ended["phase"] == "failed"


def test_host_that_took_it_after_its_deadline_does_not_stay_failed(fleet: SimulatedRollouts) -> None:
    fleet.hold(1)
    operator = fleet.begin("--waves", "2,3", "--deadline", "2s", "--max-failed", "1", "--parallel", "1")
    fleet.hold(4)
    operator.seen("host.finished", host="host-2", code="host-late")
    fleet.let_go(1)
    fleet.held(4)
    fleet.let_go(4)

    assert operator.end() == 0
    (ended,) = operator.events("rollout.ended")
    assert {host["stage"] for host in ended["hosts"]} == {"done"}


def test_host_that_is_skipped_is_asked_at_the_end_too(fleet: SimulatedRollouts) -> None:
    fleet.hosts[2].runs(NEW)
    fleet.hold(4)
    operator = fleet.begin("--max-failed", "1")
    fleet.held(4)
    fleet.hosts[2].deploy(OLD, True, "command")
    fleet.let_go(4)

    assert operator.end() == 42
    (ended,) = operator.events("rollout.ended")
    assert (ended["hosts"][2]["stage"], ended["hosts"][2]["code"]) == ("failed", "overtaken")


def test_every_host_stages_before_any_is_changed(fleet: SimulatedRollouts) -> None:
    fleet.hold(4)
    operator = fleet.begin("--stage")
    fleet.held(4, "-stage")
    assert fleet.live() == [OLD] * 5
    fleet.let_go(4)

    assert (operator.end(), fleet.live()) == (0, [NEW] * 5)
    assert [fleet.fired(number) for number in range(5)] == [[f"{operator.id}-stage", operator.id]] * 5
    assert len(operator.events("host.staged")) == 5


def test_host_that_cannot_stage_stops_it_with_nothing_changed_whatever_the_budget(fleet: SimulatedRollouts) -> None:
    fleet.hosts[3].fails = {NEW: STAGE}

    done = fleet.start("--stage", "--max-failed", "3", "--revert")

    assert (done.code, done.json["phase"], fleet.live()) == (40, "failed", [OLD] * 5)
    assert done.json["why"] == f"host-4 cannot stage {NEW}; no host was changed"
    assert done.json["hosts"][3]["code"] == "rehearsal-failed"
    assert all(done.json["id"] not in fleet.fired(number) for number in range(5))


def test_every_host_of_a_system_stages_before_any_is_changed(fleet: SimulatedRollouts) -> None:
    fleet.become_system()
    fleet.hosts[0].fails = {NEW: STAGE}  # of the last application

    stopped = fleet.start("--stage")
    untouched = fleet.live()
    fleet.hosts[0].fails = {}
    done = fleet.start("--stage")

    assert (stopped.code, stopped.json["why"]) == (40, f"host-1 cannot stage {NEW}; no host was changed")
    assert untouched == [OLD] * 5
    assert (done.code, fleet.live()) == (0, [NEW] * 5)


def test_host_that_could_not_stage_stops_it_though_the_operator_died_before_the_others_had(fleet: SimulatedRollouts) -> None:
    fleet.hosts[0].fails = {NEW: STAGE}
    fleet.hold(1)
    operator = fleet.begin("--stage", "--waves", "100%", "--max-failed", "3")
    operator.seen("host.finished", host="host-1")
    fleet.held(1, "-stage")
    operator.send(signal.SIGKILL)
    fleet.let_go(1)

    done = fleet.rollout("resume", operator.id)

    assert (done.code, fleet.live()) == (40, [OLD] * 5)
    assert done.json["why"] == f"host-1 cannot stage {NEW}; no host was changed"


def test_revision_that_completed_in_another_environment_is_promoted(fleet: SimulatedRollouts) -> None:
    for host in fleet.hosts:
        host.environment = "staging"
    assert fleet.start().code == 0
    for host in fleet.hosts:
        host.environment = "production"
        host.runs(OLD)
    start = fleet.start_command("--promote-from", "staging", revision=NEW)

    done = fleet.run([word for word in start if word != NEW])

    assert (done.code, fleet.live()) == (0, [NEW] * 5)
    assert (done.json["revision"], done.json["promoted_from"]) == (NEW, "staging")
    for host in fleet.hosts:
        host.commits |= {NEW: commit_of("moved")}
    assert fleet.run([word for word in start if word != NEW]).code == 12
