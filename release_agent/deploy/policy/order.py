"""Decide the order in which services are replaced, and which of them a rollback need not touch."""

from __future__ import annotations

from graphlib import TopologicalSorter
from typing import TYPE_CHECKING

from release_agent.config.order import waits_for

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from release_agent.config.sections import Service
    from release_agent.health import Process

Pids = dict[str, frozenset[int]]


def levels(services: Sequence[Service]) -> list[list[Service]]:
    """Return the services to replace side by side, level by level: each waits only for services of earlier levels."""
    sorter = TopologicalSorter(waits_for(services))
    sorter.prepare()
    found = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append([service for service in services if service.name in ready])
        sorter.done(*ready)
    return found


def stops(left: Sequence[Service], kept: Collection[str]) -> list[list[Service]]:
    """Return the services of the old release without the kept ones, in the order in which they stop.

    A service that waits for others at the start stops before them.
    """
    dropped = [[service for service in level if service.name not in kept] for level in reversed(levels(left))]
    return [level for level in dropped if level]


def pids_of(processes: Mapping[str, Sequence[Process]]) -> Pids:
    """Return the ids of each service's processes, by the service's name."""
    return {service: frozenset(process.pid for process in group) for service, group in processes.items()}


def untouched(before: Pids, now: Pids, touched: Collection[str]) -> frozenset[str]:
    """Return the services whose processes have been the same since before a release was published.

    The run has not touched these services, and supervisor has not restarted a process of them: a new process would run
    the new release.
    """
    return frozenset(service for service, pids in before.items() if service not in touched and now.get(service) == pids)
