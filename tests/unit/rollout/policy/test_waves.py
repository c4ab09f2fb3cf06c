from __future__ import annotations

import pytest

from release_agent.rollout.model import Host, HostStage
from release_agent.rollout.options import amount
from release_agent.rollout.policy.waves import applications_of, assign_waves, in_turn, one_after_the_other


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


def test_applications_that_require_each_other_have_waves_of_their_own_and_sizes_begin_anew_for_each() -> None:
    apps = ["web", "api", "api", "api", "api", "db"]
    ranks = {"web": 2, "api": 1, "db": 0}
    hosts = [Host(f"{app}{number}", "", app=app, rank=ranks[app], order=number) for number, app in enumerate(apps)]

    assert waves_of(hosts, "25%,100%") == [["db5"], ["api1"], ["api2", "api3", "api4"], ["web0"]]
    assert applications_of(hosts) == ["db", "api", "web"]
    assert [[host.app for host in part] for part in one_after_the_other(hosts)] == [["db"], ["api"] * 4, ["web"]]


def test_applications_of_one_rank_go_side_by_side_each_with_its_own_sizes() -> None:
    apps = ["web", "b", "a", "b", "a", "b", "b"]
    hosts = [Host(f"{app}{number}", "", app=app, rank=app == "web", order=number) for number, app in enumerate(apps)]

    assert waves_of(hosts, "1,50%") == [["b1", "a2"], ["b3", "a4", "b5"], ["b6"], ["web0"]]
    assert applications_of(hosts) == ["b", "a", "web"]
    assert [[host.name for host in part] for part in one_after_the_other(hosts)] == [
        ["b1", "a2", "b3", "a4", "b5", "b6"],
        ["web0"],
    ]


def test_applications_side_by_side_go_through_the_zones_together() -> None:
    places = [("a", "south"), ("a", "north"), ("b", "north"), ("a", "north"), ("b", "south")]
    hosts = [Host(f"{app}{number}", "", app=app, zone=zone, order=number) for number, (app, zone) in enumerate(places)]

    assert waves_of(hosts, "1", by_zone=True) == [["a0", "b4"], ["a1", "b2"], ["a3"]]


def test_application_of_several_ranks_comes_several_times_if_another_belongs_in_between() -> None:
    hosts = [Host(f"h{number}", "", app=app, rank=number, order=number) for number, app in enumerate(["api", "db", "api"])]

    assert waves_of(hosts, "100%") == [["h0"], ["h1"], ["h2"]]
    assert applications_of(hosts) == ["api", "db"]


def test_application_with_several_ranks_of_its_own_is_one() -> None:
    hosts = [Host(f"h{number}", "", app="api", rank=number, order=number) for number in range(3)]

    assert waves_of(hosts, "100%") == [["h0", "h1", "h2"]]
