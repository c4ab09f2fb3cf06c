"""Refuse a maestro-ng file."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.config.load import describe
from release_agent.errors import Code, Misconfigured

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.schema import Problem


def refusal(path: Path, problems: list[Problem]) -> Misconfigured:
    """Make the error with every problem."""
    hint = "a maestro-ng file has ships.NAME.ip and services.NAME.instances.NAME.ship"
    return Misconfigured(Code.INVENTORY_INVALID, describe(str(path), problems), hint=hint)
