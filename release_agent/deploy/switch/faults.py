"""Continue after a failure, and raise the first failure at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Unhealthy

if TYPE_CHECKING:
    from types import TracebackType


class Faults:
    """A context manager that holds back each Unhealthy.

    ``found``: the errors held back so far.
    """

    def __init__(self, *, to_the_end: bool = True) -> None:
        """``to_the_end``: if false, hold back no error, so that the first failure ends the block."""
        self.found: list[Unhealthy] = []
        self._to_the_end = to_the_end

    def __enter__(self) -> None:
        """Return this object."""

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> bool:
        """Hold back an Unhealthy, and no other error."""
        if not (self._to_the_end and isinstance(error, Unhealthy)):
            return False
        self.found.append(error)
        return True

    def raise_first(self) -> None:
        """Raise the first failure, if any."""
        if self.found:
            raise self.found[0]
