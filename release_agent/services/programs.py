"""Which of supervisor's programs are the agent's own."""

from __future__ import annotations

import shlex
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from release_agent.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


_AGENT_VERBS = ("deploy", "boot", "monitor")


def is_own(program: Mapping[str, Any], verbs: Sequence[str] = _AGENT_VERBS) -> bool:
    """Whether a program of supervisor's runs this agent with one of ``verbs``."""
    try:
        words = shlex.split(program["command"])
    except ValueError:
        words = str(program["command"]).split()
    named = any(PurePath(word).name == "release-agent" for word in words[:3]) or "release_agent" in words[:4]
    return named and any(verb in words for verb in verbs)


def own(programs: Sequence[dict[str, Any]], verb: str) -> list[dict[str, Any]]:
    """Return the programs that run this agent with a verb, or are called like it."""
    return [program for program in programs if is_own(program, (verb,)) or program["name"] == verb]


def is_monitored(programs: Callable[[], Sequence[Mapping[str, Any]]]) -> Callable[[], bool]:
    """Make a question of whether one of supervisor's ``programs()`` is this agent's ``monitor``; False if it cannot be asked."""

    def ask() -> bool:
        try:
            return any(is_own(program, ("monitor",)) for program in programs())
        except ReleaseError:
            return False

    return ask
