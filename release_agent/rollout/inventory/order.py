"""The order in which services require each other."""

from __future__ import annotations

from graphlib import CycleError, TopologicalSorter
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence


def ranks(
    requires: Mapping[str, Sequence[str]], chosen: Collection[str], on_circle: Callable[[Sequence[str]], None]
) -> dict[str, int]:
    """Return a rank from 0 for each service: above the ranks of the chosen services that it requires, directly or not.

    ``on_circle`` gets each circle, which starts and ends with the same service.
    """
    left = {name: list(others) for name, others in requires.items()}
    order: list[str] | None = None
    while order is None:
        try:
            order = list(TopologicalSorter(left).static_order())
        except CycleError as error:
            way = error.args[1][::-1]
            on_circle(way)
            # Remove this step of the circle, because there may be other circles.
            left[way[0]] = [other for other in left[way[0]] if other != way[1]]
    found: dict[str, int] = {}
    for name in order:
        found[name] = max((found[other] + (other in chosen) for other in left[name]), default=0)
    return found
