"""The order and the waves in which hosts are deployed to."""

from __future__ import annotations

from itertools import groupby
from typing import TYPE_CHECKING

from release_agent.rollout.model import HostStage

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.rollout.model import Host
    from release_agent.rollout.options import Amount


def assign_waves(hosts: Sequence[Host], waves: Sequence[Amount], *, by_zone: bool = False) -> None:
    """Put every pending host into a wave.

    Sizes are taken one after the other and the last repeats, as with Ansible's ``serial``; a percentage is
    of all hosts, also of those that are in no wave, floored, and at least one host. Hosts of a lower rank come first,
    among them those that are not well, else the inventory's order counts.

    No wave has hosts of two applications: sizes begin anew for each, and a percentage is of its own hosts.

    ``by_zone``: no wave has hosts of two zones. Of one rank all hosts of a zone come before those of the next, in the order in
    which the inventory names the zones.
    """
    zones = list(dict.fromkeys(host.zone for host in hosts))

    def zone(host: Host) -> int:
        return zones.index(host.zone) if by_zone else 0

    first = 0
    for part in by_application(hosts):
        of_app = sum(host.app == part[0].app for host in hosts)
        pending = sorted(
            (host for host in part if host.stage is HostStage.PENDING),
            key=lambda host: (host.rank, zone(host), not host.unwell, host.order),
        )
        number = 0
        while pending:
            size = max(1, waves[min(number, len(waves) - 1)].of(of_app))
            _, of_one_zone = next(groupby(pending[:size], zone))
            wave = list(of_one_zone)
            for host in wave:
                host.wave = first + number
            pending = pending[len(wave) :]
            number += 1
        first += number


def by_application(hosts: Sequence[Host]) -> list[list[Host]]:
    """Split hosts by their applications, in the order in which these are deployed to: those of lower ranks first.

    Applications of the same rank are in the order of the inventory. One whose services have several ranks comes several
    times, if another one belongs in between.
    """
    applications = list(dict.fromkeys(host.app for host in hosts))
    ordered = sorted(hosts, key=lambda host: (host.rank, applications.index(host.app)))
    return [list(part) for _, part in groupby(ordered, lambda host: host.app)]


def applications_of(hosts: Sequence[Host]) -> list[str]:
    """Return the applications that are known of hosts, in the order in which they are deployed to."""
    return list(dict.fromkeys(part[0].app for part in by_application(hosts) if part[0].app))


def in_turn(wave: Sequence[Host]) -> list[list[Host]]:
    """Split a wave by rank: each part is through before the next begins; the order is that of assign_waves()."""
    ranks = sorted({host.rank for host in wave})
    ordered = sorted(wave, key=lambda host: (not host.unwell, host.order))
    return [[host for host in ordered if host.rank == rank] for rank in ranks]
