"""How long a rollout will still take, by what its hosts took so far."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.rollout.options import Options


def seconds_left(waves: Sequence[int], in_flight: int, a_host: float, options: Options) -> float:
    """Return an estimate in seconds, without what nobody knows: pauses, approvals, failures.

    ``waves``: how many hosts of the current wave and of those behind it are still to be begun.
    ``in_flight``: hosts that are, half way on average. ``a_host``: the seconds that one takes.
    """
    rounds = sum(math.ceil(hosts / options.parallel) for hosts in waves)
    return a_host * (rounds + (0.5 if in_flight else 0)) + options.bake * len(waves)
