"""Decide when to ask a host whether it is done, from the times of other hosts."""

from __future__ import annotations

_FIRST_POLL, _LAST_POLL, _POLL_PART = 0.25, 5.0, 0.15  # seconds, and a part of the elapsed time
_EARLY_POLL = 1.0  # seconds, as long as only a failure is expected
_DUE_POLL, _DUE_POLL_PART = 0.1, 0.1  # the same, around the expected time
_DUE = 0.95  # part of the shortest time that another host took


class Pace:
    """The times of a fleet's hosts for the same step: ask around the expected time, and seldom before."""

    def __init__(self) -> None:
        self._shortest: dict[str, float] = {}

    def took(self, method: str, seconds: float) -> None:
        """Note the seconds that a host took."""
        self._shortest[method] = min(seconds, self._shortest.get(method, seconds))

    def wait(self, method: str, elapsed: float) -> float:
        """Return the seconds until the next question to a host that started ``elapsed`` seconds ago."""
        shortest = self._shortest.get(method)
        if shortest is None:
            return min(max(_FIRST_POLL, _POLL_PART * elapsed), _LAST_POLL)
        due = _DUE * shortest - elapsed
        if due <= 0:
            return min(max(_DUE_POLL, _DUE_POLL_PART * elapsed), _LAST_POLL)
        # A host that fails usually does so early, and should be noticed early.
        return min(max(_EARLY_POLL, elapsed), due, _LAST_POLL)
