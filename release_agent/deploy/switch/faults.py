"""Going on after a failure: all the rest is done, and the first failure is raised at the end."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Unhealthy

if TYPE_CHECKING:
    from types import TracebackType


class Faults:
    """Holds back each Unhealthy that is raised inside its ``with``.

    ``found``: what was held back so far.
    """

    def __init__(self, *, to_the_end: bool = True) -> None:
        """``to_the_end``: False: hold nothing back, the first failure ends it at once."""
        self.found: list[Unhealthy] = []
        self._to_the_end = to_the_end

    def __enter__(self) -> None:
        """Nothing is to be done beforehand."""

    def __exit__(self, _kind: type[BaseException] | None, error: BaseException | None, _traceback: TracebackType | None) -> bool:
        """Hold back what is unhealthy, and nothing else."""
        if not (self._to_the_end and isinstance(error, Unhealthy)):
            return False
        self.found.append(error)
        return True

    def raise_first(self) -> None:
        """Raise the first failure, if there was any."""
        if self.found:
            raise self.found[0]
