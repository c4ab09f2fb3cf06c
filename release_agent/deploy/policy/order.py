"""In which order services are replaced, and which of them a rollback may leave alone."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from release_agent.health import Process

Pids = dict[str, frozenset[int]]


def pids_of(processes: Mapping[str, Sequence[Process]]) -> Pids:
    """Return the ids of each service's processes, by the service's name."""
    return {service: frozenset(process.pid for process in group) for service, group in processes.items()}


def untouched(before: Pids, now: Pids, touched: Collection[str]) -> frozenset[str]:
    """Return the services that still run what they ran before a release was published.

    Nothing was done to them, and supervisor has not started a process of theirs again: it would run the new release.
    """
    return frozenset(service for service, pids in before.items() if service not in touched and now.get(service) == pids)
