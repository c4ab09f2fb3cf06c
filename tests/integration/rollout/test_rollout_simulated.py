"""Rollouts over simulated hosts: what real ones cannot be made to be at will, and deadlines."""

from __future__ import annotations

import json
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN, clean_environment
from support.host import Ran
from support.simulated_fleet import SimulatedFleet

if TYPE_CHECKING:
    from pathlib import Path


def _start(place: Path, fleet: SimulatedFleet, *arguments: str) -> Ran:
    (place / "fleet.toml").write_text(fleet.toml())
    command = [
        str(BIN / "release-agent"),
        "rollout",
        "start",
        "v2.0.0",
        "--fleet",
        str(place / "fleet.toml"),
        "--bake",
        "0",
        "--json",
    ]
    environment = clean_environment() | {"XDG_STATE_HOME": str(place)}
    done = subprocess.run([*command, *arguments], env=environment, capture_output=True, text=True, check=False, timeout=120)
    return Ran(done.returncode, done.stdout, done.stderr)


@pytest.mark.parametrize(
    ("setting", "value", "code", "why"),
    [
        ("agent_version", "9.0.0", "host-unfit", "its agent is 9.0.0"),
        ("maintenance", True, "host-in-maintenance", "maintenance mode"),
    ],
)
def test_host_that_must_not_be_deployed_to_counts_as_failed_before_anything_is_touched(
    tmp_path: Path, setting: str, value: object, code: str, why: str
) -> None:
    with SimulatedFleet(3) as fleet:
        setattr(fleet.hosts[1], setting, value)

        refused = _start(tmp_path, fleet)
        planned = _start(tmp_path, fleet, "--max-failed", "1", "--dry-run")

        assert refused.code == 40
        assert "host-2: " in refused.json["error"]["message"]
        assert why in refused.json["error"]["message"]
        assert planned.code == 0
        assert {host["name"]: host["code"] for host in planned.json["hosts"] if host["code"]} == {"host-2": code}
        assert [host.triggers for host in fleet.hosts] == [[], [], []]


def test_host_that_is_not_well_has_its_turn_first(tmp_path: Path) -> None:
    with SimulatedFleet(4) as fleet:
        fleet.hosts[2].health = "critical"

        planned = _start(tmp_path, fleet, "--dry-run")

        assert planned.json["waves"][0] == ["host-3"]


def test_rollout_on_which_no_host_becomes_well_for_too_long_is_stopped(tmp_path: Path) -> None:
    with SimulatedFleet(4, seconds=60.0) as fleet:
        limits = ("--waves", "4", "--parallel", "1", "--deadline", "4s", "--progress-deadline", "1s", "--max-failed", "4")
        stopped = _start(tmp_path, fleet, *limits)

        assert stopped.code == 40
        assert stopped.json["why"] == "no host became healthy within 1 s"
        assert [host["stage"] for host in stopped.json["hosts"]] == ["failed", "pending", "pending", "pending"]


def test_percentages_are_of_all_hosts(tmp_path: Path) -> None:
    with SimulatedFleet(20) as fleet:
        done = _start(tmp_path, fleet, "--waves", "1,10%,100%")

        planned = json.loads(done.out.splitlines()[0])
        assert done.code == 0
        assert [len(wave) for wave in planned["waves"]] == [1, 2, 17]
        assert all(host.triggers == [done.json["id"]] for host in fleet.hosts)
