"""Find the agent's own programs, and the size of programs, in supervisor's configuration of each process."""

from __future__ import annotations

import re
import shlex
from collections import Counter
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from release_agent.errors import ReleaseError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence


AGENT_VERBS = ("deploy", "boot", "monitor")
_ABSENT = "none"  # the word of XML-RPC's getAllConfigInfo for a value that a section does not set
_NUMBERS = re.compile(r"\d+")


def command_words(program: Mapping[str, Any]) -> list[str]:
    """Return the words of a program's command, split like supervisor's if the quotes are balanced."""
    try:
        return shlex.split(program["command"])
    except ValueError:
        return str(program["command"]).split()


def directory_of(program: Mapping[str, Any]) -> str:
    """Return the `directory=` of a program, empty without one."""
    directory = str(program.get("directory", _ABSENT))
    return "" if directory == _ABSENT else directory


def is_own(program: Mapping[str, Any], verbs: Sequence[str] = AGENT_VERBS) -> bool:
    """Return whether a program of supervisor's runs this agent with one of ``verbs``."""
    words = command_words(program)
    named = any(PurePath(word).name == "release-agent" for word in words[:3]) or "release_agent" in words[:4]
    return named and any(verb in words for verb in verbs)


def own(programs: Sequence[dict[str, Any]], verb: str) -> list[dict[str, Any]]:
    """Return the programs that run a command of this agent, or have the name of one."""
    return [program for program in programs if is_own(program, (verb,)) or program["name"] == verb]


def smallest(programs: Sequence[Mapping[str, Any]]) -> int:
    """Return the number of processes of the smallest program among the processes of a group; 0 if there are none.

    Supervisor does not give the program of a process. Processes of one program differ in their `%(process_num)`, so
    processes whose names and commands differ only in numbers count as one program.
    """
    counts = Counter((_NUMBERS.sub("#", program["name"]), _NUMBERS.sub("#", program["command"])) for program in programs)
    return min(counts.values(), default=0)


def is_monitored(programs: Callable[[], Sequence[Mapping[str, Any]]]) -> Callable[[], bool]:
    """Make a function that returns whether supervisor has this agent's ``monitor``; False if supervisor does not answer."""

    def ask() -> bool:
        try:
            return any(is_own(program, ("monitor",)) for program in programs())
        except ReleaseError:
            return False

    return ask
