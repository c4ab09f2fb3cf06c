"""Estimate the remaining time of a rollout from the times of its hosts."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.rollout.options import Options


def seconds_left(waves: Sequence[int], in_flight: int, a_host: float, options: Options) -> float:
    """Return an estimate in seconds, without unknown times: pauses, approvals, failures.

    ``waves``: the numbers of hosts of the current and the later waves that have not started.
    ``in_flight``: their number, half done on average. ``a_host``: the seconds per host.
    """
    rounds = sum(math.ceil(hosts / options.parallel) for hosts in waves)
    return a_host * (rounds + (0.5 if in_flight else 0)) + options.bake * len(waves)
