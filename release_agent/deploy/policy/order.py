"""In which order services are replaced, and which of them a rollback may leave alone."""

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
    """Return the services that are replaced side by side, level by level: each waits for services of earlier levels alone."""
    sorter = TopologicalSorter(waits_for(services))
    sorter.prepare()
    found = []
    while sorter.is_active():
        ready = sorter.get_ready()
        found.append([service for service in services if service.name in ready])
        sorter.done(*ready)
    return found


def stops(left: Sequence[Service], kept: Collection[str]) -> list[list[Service]]:
    """Return the services of a release that is left, but those that are kept, in the order in which they are stopped.

    Who waited for others at the start is stopped before them.
    """
    dropped = [[service for service in level if service.name not in kept] for level in reversed(levels(left))]
    return [level for level in dropped if level]


def pids_of(processes: Mapping[str, Sequence[Process]]) -> Pids:
    """Return the ids of each service's processes, by the service's name."""
    return {service: frozenset(process.pid for process in group) for service, group in processes.items()}


def untouched(before: Pids, now: Pids, touched: Collection[str]) -> frozenset[str]:
    """Return the services that still run what they ran before a release was published.

    Nothing was done to them, and supervisor has not started a process of theirs again: it would run the new release.
    """
    return frozenset(service for service, pids in before.items() if service not in touched and now.get(service) == pids)
