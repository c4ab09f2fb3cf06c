"""How often a host is asked whether it is done: what other hosts took says when it is about time."""

from __future__ import annotations

_FIRST_POLL, _LAST_POLL, _POLL_PART = 0.25, 5.0, 0.15  # seconds; of what has passed
_EARLY_POLL = 1.0  # where nothing is expected yet but a failure
_DUE_POLL, _DUE_POLL_PART = 0.1, 0.1  # once it is about time
_DUE = 0.95  # of the shortest time that another host took


class Pace:
    """How long hosts of a fleet take for the same thing: they are asked when it is about time, and seldom before."""

    def __init__(self) -> None:
        self._shortest: dict[str, float] = {}

    def took(self, method: str, seconds: float) -> None:
        """Note that a host did it in so many seconds."""
        self._shortest[method] = min(seconds, self._shortest.get(method, seconds))

    def wait(self, method: str, elapsed: float) -> float:
        """Return the seconds until a host is to be asked again that began so many seconds ago."""
        shortest = self._shortest.get(method)
        if shortest is None:
            return min(max(_FIRST_POLL, _POLL_PART * elapsed), _LAST_POLL)
        due = _DUE * shortest - elapsed
        if due <= 0:
            return min(max(_DUE_POLL, _DUE_POLL_PART * elapsed), _LAST_POLL)
        # A host that fails does so early, and is not to be noticed late.
        return min(max(_EARLY_POLL, elapsed), due, _LAST_POLL)
