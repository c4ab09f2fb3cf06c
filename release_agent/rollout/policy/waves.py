"""Order hosts, and put them into waves."""

from __future__ import annotations

from collections import Counter
from itertools import groupby
from typing import TYPE_CHECKING

from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from release_agent.rollout.model import Host
    from release_agent.rollout.options import Amount


def assign_waves(hosts: Sequence[Host], waves: Sequence[Amount], *, by_zone: bool = False) -> None:
    """Put every pending host into a wave.

    Each wave takes the next size and the last size repeats, as with Ansible's ``serial``. A percentage is of all hosts,
    also of those that are in no wave; it is rounded down, to at least one host. Hosts of a lower rank come first.
    Of one rank, unhealthy hosts come first, then the others in the order of the inventory.

    Applications of the same rank go side by side: a wave has the hosts of the next wave of each application. Sizes start
    again for each application, and a percentage is of its own hosts.

    ``by_zone``: no wave has hosts of two zones. In one rank, all hosts of a zone come before those of the next zone.
    The inventory gives the order of the zones.
    """
    zones = list(dict.fromkeys(host.zone for host in hosts))

    def zone(host: Host) -> int:
        return zones.index(host.zone) if by_zone else 0

    def turn(host: Host) -> tuple[int, int, bool, int]:
        return host.rank, zone(host), not host.unwell, host.order

    sizes = {app: [amount.of(count) for amount in waves] for app, count in Counter(host.app for host in hosts).items()}
    number = 0
    for part in one_after_the_other(hosts):
        pending = sorted((host for host in part if host.stage is HostStage.PENDING), key=turn)
        apps = dict.fromkeys(host.app for host in pending)
        of_each = [_cut([host for host in pending if host.app == app], sizes[app], zone) for app in apps]
        for wave in _side_by_side(of_each, zone):
            for host in wave:
                host.wave = number
            number += 1


def _cut(pending: list[Host], sizes: Sequence[int], zone: Callable[[Host], int]) -> list[list[Host]]:
    """Cut the hosts of one application into waves of these sizes, the last of which repeats; a wave also ends with its zone."""
    waves: list[list[Host]] = []
    while pending:
        size = max(1, sizes[min(len(waves), len(sizes) - 1)])
        _, of_one_zone = next(groupby(pending[:size], zone))
        waves.append(list(of_one_zone))
        pending = pending[len(waves[-1]) :]
    return waves


def _side_by_side(of_each: list[list[list[Host]]], zone: Callable[[Host], int]) -> Iterator[list[Host]]:
    """Join the next wave of each application, one zone after the other."""
    while left := [waves for waves in of_each if waves]:
        first = min(zone(waves[0][0]) for waves in left)
        yield [host for waves in left if zone(waves[0][0]) == first for host in waves.pop(0)]


def one_after_the_other(hosts: Sequence[Host]) -> list[list[Host]]:
    """Split hosts into parts, each of which finishes before the next starts.

    Hosts of one rank are in one part. So are consecutive ranks with only the same application:
    its waves go through all of them.
    """
    parts: list[list[Host]] = []
    for _, of_rank in groupby(sorted(hosts, key=lambda host: (host.rank, host.order)), lambda host: host.rank):
        part = list(of_rank)
        if parts and len(_apps([*parts[-1], *part])) <= 1:
            parts[-1] += part
        else:
            parts.append(part)
    return parts


def applications_of(hosts: Sequence[Host]) -> list[str]:
    """Return the known applications of hosts: those of lower ranks first, otherwise in the order of the inventory."""
    return list(_apps(sorted(hosts, key=lambda host: (host.rank, host.order))))


def _apps(hosts: Iterable[Host]) -> dict[str, None]:
    return dict.fromkeys(host.app for host in hosts if host.app)


def in_turn(wave: Sequence[Host]) -> list[list[Host]]:
    """Split a wave by rank: each part finishes before the next starts; the order is that of assign_waves()."""
    ranks = sorted({host.rank for host in wave})
    ordered = sorted(wave, key=lambda host: (not host.unwell, host.order))
    return [[host for host in ordered if host.rank == rank] for rank in ranks]
