from __future__ import annotations

import pytest

from release_agent.rollout.model import Host, HostStage
from release_agent.rollout.options import amount
from release_agent.rollout.policy.waves import assign_waves, in_turn


def waves_of(hosts: list[Host], sizes: str, *, by_zone: bool = False) -> list[list[str]]:
    assign_waves(hosts, [amount(size) for size in sizes.split(",")], by_zone=by_zone)
    count = max((host.wave for host in hosts), default=-1) + 1
    return [[host.name for host in hosts if host.wave == wave] for wave in range(count)]


@pytest.mark.parametrize(
    ("total", "sizes", "expected"),
    [
        (5, "1,25%,100%", [1, 1, 3]),
        (20, "1,10%,100%", [1, 2, 17]),
        (5, "2", [2, 2, 1]),  # the last repeats
        (3, "1%", [1, 1, 1]),  # at least one
        (3, "100%", [3]),
        (3, "10", [3]),
        (0, "1", []),
    ],
)
def test_sizes(total: int, sizes: str, expected: list[int]) -> None:
    hosts = [Host(f"h{number}", "", order=number) for number in range(total)]

    assert [len(wave) for wave in waves_of(hosts, sizes)] == expected


def test_hosts_that_are_not_pending_are_in_no_wave_and_count_for_percentages() -> None:
    hosts = [Host(f"h{number}", "", order=number) for number in range(4)]
    hosts[0].stage, hosts[2].stage = HostStage.SKIPPED, HostStage.UNREACHABLE

    assert waves_of(hosts, "25%,100%") == [["h1"], ["h3"]]
    assert (hosts[0].wave, hosts[2].wave) == (-1, -1)


def test_lower_ranks_come_first_and_among_them_unhealthy_hosts() -> None:
    hosts = [
        Host("well", "", order=0),
        Host("later", "", order=1, rank=1, unwell=True),
        Host("unwell", "", order=2, unwell=True),
    ]

    assert waves_of(hosts, "1") == [["unwell"], ["well"], ["later"]]
    assert [[host.name for host in part] for part in in_turn(hosts)] == [["unwell", "well"], ["later"]]


def test_no_wave_has_hosts_of_two_zones() -> None:
    zones = ["north", "south", "north", "south", "north", ""]
    hosts = [Host(f"{zone}{number}", "", zone=zone, order=number) for number, zone in enumerate(zones)]

    assert waves_of(hosts, "1,100%", by_zone=True) == [["north0"], ["north2", "north4"], ["south1", "south3"], ["5"]]


def test_a_zone_begins_again_for_hosts_of_a_higher_rank() -> None:
    hosts = [
        Host("api", "", zone="north", order=0, rank=1),
        Host("db", "", zone="south", order=1),
        Host("db2", "", zone="north", order=2),
    ]

    assert waves_of(hosts, "100%", by_zone=True) == [["db2"], ["db"], ["api"]]
