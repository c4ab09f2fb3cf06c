"""The live release of each host, compared with the revision that the fleet follows."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from support.fleet import Fleet
from support.simulated_host import Manner

if TYPE_CHECKING:
    from support.simulated_rollouts import SimulatedRollouts

OLD, NEW = "v1.0.0", "v1.1.0"


def test_host_behind_what_the_fleet_follows_is_named_with_its_commits(fleet: SimulatedRollouts) -> None:
    started = fleet.start()
    assert (started.code, fleet.rollout("drift", "--fleet", fleet.file).code) == (0, 0)
    fleet.hosts[1].rollback("", True, "command")
    fleet.hosts[3].health, fleet.hosts[3].health_why = "critical", "answered 500, not 200"
    fleet.hosts[4].manner = Manner.RESET

    found = fleet.rollout("drift", "--fleet", fleet.file)
    words = fleet.run([word for word in fleet.command("drift", "--fleet", fleet.file) if word != "--json"])

    assert (found.code, words.code) == (30, 30)
    assert (found.json["follows"]["revision"], found.json["follows"]["id"]) == (NEW, started.json["id"])
    hosts = {host["host"]: host for host in found.json["hosts"]}
    assert [(host["revision"], host["health"], host["behind"]) for host in hosts.values()] == [
        (NEW, "passing", False),
        (OLD, "passing", True),
        (NEW, "passing", False),
        (NEW, "critical", False),
        (None, "", False),
    ]
    assert hosts["host-2"]["changes"] == {"api": {"count": 1, "back": 0, "subjects": [NEW]}}
    assert hosts["host-1"]["since"]
    assert hosts["host-5"]["code"] == "host-unreachable"
    lines = words.out.splitlines()
    assert lines[0] == f"api (test) follows {NEW}, by {started.json['id']}"
    assert lines[1].startswith(f"host-2  {OLD}  passing  since 20")
    assert lines[1].endswith("Z  behind")
    assert lines[2:4] == ["  api: 1 new commit", f"    {NEW}"]
    assert next(line for line in lines if line.startswith("host-4")).endswith("Z  answered 500, not 200")
    assert lines[-1] == "5 hosts: 1 behind, 1 unknown"


def test_nobody_is_behind_where_the_fleet_follows_nothing(fleet: SimulatedRollouts) -> None:
    assert fleet.start("--limit", "host-1").code == 0

    found = fleet.rollout("drift", "--fleet", fleet.file)

    assert (found.code, found.json["follows"]) == (0, None)
    assert [host["revision"] for host in found.json["hosts"]] == [NEW, OLD, OLD, OLD, OLD]


def test_each_host_is_named_as_silent_where_none_answers(fleet: SimulatedRollouts) -> None:
    for host in fleet.hosts:
        host.manner = Manner.RESET

    found = fleet.rollout("drift", "--fleet", fleet.file)
    words = fleet.run([word for word in fleet.command("drift", "--fleet", fleet.file) if word != "--json"])

    assert (found.code, words.code) == (30, 30)
    assert (found.json["app"], found.json["environment"], found.json["follows"]) == ("", "", None)
    assert [(host["host"], host["code"]) for host in found.json["hosts"]] == [
        (f"host-{number}", "host-unreachable") for number in range(1, 6)
    ]
    lines = words.out.splitlines()
    assert lines[0] == "an unknown application: none of these hosts answers"
    assert [line.split("  ")[:2] for line in lines[1:-1]] == [
        [f"host-{number}", "host-unreachable: Connection reset by peer"] for number in range(1, 6)
    ]
    assert lines[-1] == "5 hosts: 0 behind, 5 unknown"


def test_each_application_of_a_system_is_beside_what_its_own_fleet_follows(fleet: SimulatedRollouts) -> None:
    fleet.become_system()
    assert fleet.start("--limit", "service=web", "--follow").code == 0
    fleet.hosts[1].rollback("", True, "command")

    found = fleet.rollout("drift", "--fleet", fleet.file)
    words = fleet.run([word for word in fleet.command("drift", "--fleet", fleet.file) if word != "--json"])

    assert (found.code, words.code) == (30, 30)
    lines = [json.loads(line) for line in found.out.splitlines()]
    assert [(line["app"], [host["behind"] for host in line["hosts"]]) for line in lines] == [
        ("web", [False, True]),
        ("api", [False, False]),
        ("db", [False]),
    ]
    assert [line["follows"] and line["follows"]["revision"] for line in lines] == [NEW, None, None]
    assert [line for line in words.out.splitlines() if "follows" in line][1:] == [
        f"{app} (test) follows nothing: no rollout of the whole fleet has completed" for app in ("api", "db")
    ]


def test_real_host_that_went_back_is_behind_by_the_commits_that_git_knows() -> None:
    fleet = Fleet(2)
    try:
        assert fleet.start().code == 0
        assert fleet.hosts[1].agent("rollback").code == 0

        found = fleet.rollout("drift", "--fleet", fleet.file)
    finally:
        fleet.close()

    assert found.code == 30
    first, second = found.json["hosts"]
    assert (first["revision"], first["behind"], first["changes"]) == (NEW, False, {})
    assert (second["revision"], second["behind"], second["changes"]["api"]["count"]) == (OLD, True, 1)
