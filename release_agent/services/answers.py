"""Read supervisor's answers; no other module knows their form. Every function raises ValueError for an answer of another form."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

from release_agent.health import BroughtGroup, Candidate, Process, ProgramsChange

if TYPE_CHECKING:
    from collections.abc import Mapping

    Form = Mapping[str, type | tuple[type, ...]]

_PROCESS: Form = {
    "group": str,
    "name": str,
    "statename": str,
    "pid": int,
    "spawnerr": str,
    "description": str,
    "start": int,
    "stop": int,
}
_PROGRAM: Form = {
    "group": str,
    "name": str,
    "command": str,
    "autostart": bool,
    "startsecs": int,
    "startretries": int,
    "exitcodes": list,
    "stopwaitsecs": int,
    "uid": (int, str),  # "none" is a word in some versions
}
_LARGEST = 1 << 31  # of XML-RPC


def state(answer: object) -> str:
    """Read the word for supervisor's own state."""
    word: str = _members(answer, {"statename": str})["statename"]
    return word


def pid(answer: object) -> int:
    """Read a process id."""
    if type(answer) is not int or not 0 <= answer < _LARGEST:
        raise ValueError(_shown(answer))
    return answer


def programs(answer: object) -> list[dict[str, Any]]:
    """Read the configuration of every process."""
    return [_members(program, _PROGRAM) for program in _listed(answer)]


def processes(answer: object) -> list[Process]:
    """Read every process."""
    return [process(one) for one in _listed(answer)]


def process(answer: object) -> Process:
    """Read one process. Supervisor's reason for giving it up is in one of two places."""
    info = _members(answer, _PROCESS)
    seen = Process(
        info["group"],
        info["name"],
        info["statename"],
        pid(info["pid"]),
        info["spawnerr"],
        started=info["start"] != 0,
        started_at=info["start"],
        ended_at=info["stop"],
    )
    return replace(seen, why=info["description"]) if seen.hopeless and not seen.why else seen


def candidates(answer: object) -> list[Candidate]:
    """Read the processes that a rehearsal may copy; an older plugin sends no ``stopwaitsecs``."""
    form: Form = {"name": str, "startsecs": int, "of_release": bool}
    told = [{"stopwaitsecs": 0} | _members(each, form) for each in _listed(answer)]
    whole = [_members(each, {**form, "stopwaitsecs": int}) for each in told]
    return [Candidate(each["name"], each["startsecs"], each["of_release"], each["stopwaitsecs"]) for each in whole]


def checked_programs(answer: object) -> tuple[list[str], list[BroughtGroup]]:
    """Read the problems of programs, and the groups that they make."""
    said = _members(answer, {"problems": list, "groups": list})
    form: Form = {"group": str, "processes": list, "socket": str, "smallest": int}
    told = [_members(group, form) for group in said["groups"]]
    groups = [
        BroughtGroup(each["group"], tuple(candidates(each["processes"])), each["socket"], each["smallest"]) for each in told
    ]
    return [str(problem) for problem in said["problems"]], groups


def programs_change(answer: object) -> ProgramsChange:
    """Read the differences from the live release."""
    names = ("added", "changed", "removed", "others")
    said = _members(answer, dict.fromkeys(names, list))
    return ProgramsChange(*(tuple(str(group) for group in said[name]) for name in names))


def rehearsed(answer: object) -> tuple[str, int, str]:
    """Read the name of a copied process, its port and its socket."""
    told = _members(answer, {"process": str, "port": int, "socket": str})
    return told["process"], told["port"], told["socket"]


def releases(answer: object) -> dict[str, list[int]]:
    """Read pids by release."""
    if not isinstance(answer, dict):
        raise ValueError(_shown(answer))  # noqa: TRY004
    return {str(name): [pid(each) for each in _listed(pids)] for name, pids in answer.items()}


def last_words(answer: object) -> tuple[str, list[str]]:
    """Read the end of a process, and its last lines."""
    said = _members(answer, {"end": str, "lines": list})
    return said["end"], [line for line in said["lines"] if isinstance(line, str)]


def _listed(answer: object) -> list[object]:
    if not isinstance(answer, list):
        raise ValueError(_shown(answer))  # noqa: TRY004 - an answer from outside is a wrong value
    return answer


def _members(answer: object, types: Form) -> dict[str, Any]:
    if not isinstance(answer, dict):
        raise ValueError(_shown(answer))  # noqa: TRY004
    for name, kind in types.items():
        if name not in answer:
            message = f"{name} is missing"
            raise ValueError(message)
        value = answer[name]
        if not isinstance(value, kind) or (isinstance(value, int) and abs(value) > _LARGEST):
            message = f"{name} is {_shown(value)}"
            raise ValueError(message)
        if isinstance(value, str):
            value.encode()  # a lone surrogate cannot be written to the journal
    return answer


def _shown(value: object) -> str:
    return f"{value!a:.60}"
