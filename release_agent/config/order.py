"""``after`` of ``[[service]]``: the services that are healthy before another one starts."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

from release_agent.config.schema import Problem

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from release_agent.config.sections import Service

Waits = dict[str, tuple[str, ...]]


def waits_for(services: Sequence[Service]) -> Waits:
    """Return the names of the services that each one waits for: those of its ``after``, or the one before it in the list."""
    waits: Waits = {}
    before: tuple[str, ...] = ()
    for service in services:
        waits[service.name] = before if service.after is None else service.after
        before = (service.name,)
    return waits


def check_order(services: Sequence[Service], problems: list[Problem]) -> None:
    """Add the names in ``after`` that no service has, and each circle of services that wait for one another."""
    waits = waits_for(services)
    for i, service in enumerate(services):
        unknown = [name for name in service.after or () if name not in waits]
        problems += [Problem(f"service[{i}].after", f'"{name}" is not the name of a service') for name in unknown]
    check_circles(services, problems)


def check_circles(services: Sequence[Service], problems: list[Problem]) -> None:
    """Add each circle of services that wait for one another; a name in ``after`` may be of a service that is not here."""
    waits = waits_for(services)
    if len(waits) == len(services):  # a name that is used twice is a problem of its own
        problems += [Problem("service.after", _described(circle)) for circle in _circles(waits)]


def _circles(waits: Mapping[str, tuple[str, ...]]) -> Iterator[list[str]]:
    """Find circles that share no service; each starts and ends with the same service."""
    left = dict(waits)
    while True:
        try:
            TopologicalSorter(left).prepare()
        except CycleError as error:
            circle = [*reversed(error.args[1])]
            left |= dict.fromkeys(circle, ())
            yield circle
        else:
            return


def _described(circle: Sequence[str]) -> str:
    return f"{' waits for '.join(circle)}: a circle; a service without `after` waits for the one before it in the list"
