"""Types of arguments that several commands share, for argparse."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING, TypeVar

from release_agent import text
from release_agent.config import readers, sections

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")


def duration(given: str) -> float:
    """Read a time greater than zero, such as 90s or 2m; returns seconds."""
    return _read(given, readers.positive_duration)


def duration_or_none(given: str) -> float:
    """Read a time, or 0; returns seconds."""
    return 0.0 if given == "0" else _read(given, readers.duration)


def app(given: str) -> str:
    """Read the name of an application."""
    return _read(given, sections.app_name)


def environment(given: str) -> str:
    """Read the name of an environment."""
    return _read(given, sections.environment_name)


def _read(given: str, read: Callable[[object], T]) -> T:
    try:
        return read(given)
    except readers.WrongValueError as error:
        message = f"{given!r} {error}"
        raise argparse.ArgumentTypeError(message) from error


def reason(given: str) -> str:
    """Read a reason for people: one line, not empty."""
    if not text.one_line(given):
        message = "the reason is empty"
        raise argparse.ArgumentTypeError(message)
    return text.one_line(given)
