"""Make contexts with only the named parts; every other part fails with its name when a test uses it."""

from __future__ import annotations

from contextlib import nullcontext
from dataclasses import fields
from typing import TYPE_CHECKING, Any

from release_agent.deploy.context import Context
from release_agent.system.clock import SystemClock
from support.configuration import configuration

if TYPE_CHECKING:
    from contextlib import AbstractContextManager


class Unheard:
    """A log that nobody reads."""

    def of(self, identity: str) -> AbstractContextManager[None]:
        """Ignore the id of the lines that follow."""
        assert identity
        return nullcontext()

    def info(self, event: str, **told: object) -> None:
        """Ignore the line."""

    warning = error = tell = info


class Absent:
    """A port that a test does not expect to be used."""

    def __init__(self, name: str) -> None:
        self._name = name

    def __getattr__(self, attribute: str) -> Any:
        message = f"{self._name}.{attribute} was used; give the context a {self._name}"
        raise AssertionError(message)


def context(**parts: Any) -> Context:
    """Return a context of these parts, by the names of its fields."""
    there = {
        "config": configuration(),
        "environ": {},
        "clock": SystemClock(),
        "log": Unheard(),
        "redact": lambda text: text,
        **parts,
    }
    return Context(**{field.name: there.get(field.name, Absent(field.name)) for field in fields(Context)})
