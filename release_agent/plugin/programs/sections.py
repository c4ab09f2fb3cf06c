"""Check the keys, values and sizes of program files before supervisor's own parser reads them.

Supervisord does nothing else while its parser runs, so these checks limit the parser's work.
"""

from __future__ import annotations

import re
from collections import Counter
from configparser import Error
from dataclasses import dataclass
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from release_agent.config.programs import KINDS, LARGEST, NO, YES, members_of, parser
from release_agent.config.schema import Problem

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from release_agent.config.programs import ProgramFile

_NAME = re.compile(r"[A-Za-z0-9_.-]{1,100}")
_KEY = re.compile(r"[\w-]+", re.ASCII)  # with a value, a key such as "[x" could count as the head of a section
_CONTROL = re.compile(r"[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff\ufffe\uffff]")
# An expansion with a width could fill the memory.
_EXPANSIONS = re.compile(r"(?:[^%]|%%|%\(\w+\)(?:s|0?[0-9]{0,2}d))*", re.DOTALL)
_LONGEST_VALUE = 4096
_MOST_SECTIONS = 64
_MOST_KEYS = 64
_MOST_PROCESSES = 64
_MOST_EXPANSIONS = 64  # of a section: a value may expand to many long ones, for each process
_LARGEST_START = 1_000_000


@dataclass(frozen=True)
class Section:
    """One section: ``kind`` and ``name`` as in ``[program:web]``, its values by key, and the path of its file in the release."""

    kind: str
    name: str
    values: Mapping[str, str]
    file: str

    @property
    def title(self) -> str:
        """Return the head of the section without brackets."""
        return f"{self.kind}:{self.name}"

    @property
    def members(self) -> list[str]:
        """Return the programs of a group."""
        return members_of(self.values.get("programs", ""))

    def problem(self, key: str, text: str) -> Problem:
        """Make a problem of one of the section's keys; an empty key means the whole section."""
        return Problem(f"{self.file} [{self.title}]{key and ' '}{key}", text)

    def text(self, values: Mapping[str, str] | None = None) -> str:
        """Return the section as in a file; ``values`` replace its own."""
        given = self.values if values is None else values
        lines = (f"{key}={value}".replace("\n", "\n\t") for key, value in given.items())
        return "\n".join([f"[{self.title}]", *lines, ""])


def read(files: Sequence[ProgramFile], current: str, taken: Collection[str]) -> tuple[list[Section], list[Problem]]:
    """Return the sections of files in the form for supervisord, and their problems.

    ``current``: the path for the release's directory. ``taken``: names of the container's own programs and groups.
    """
    if sum(len(file.text) for file in files) > LARGEST:
        return [], [Problem("programs", f"the files have more than {LARGEST} characters together")]
    found: list[Section] = []
    problems: list[Problem] = []
    for file in files:
        found += _of(file, current, problems)
    seen: dict[str, Section] = {}
    for section in found:
        problems += _wrong(section, taken)
        if section.title in seen:
            problems.append(section.problem("", f"is also in {seen[section.title].file}"))
        seen[section.title] = section
    grouped = Counter(member for section in found if section.kind == "group" for member in section.members)
    problems += [
        Problem("programs", f"program {name!a:.100} is in several groups") for name, times in grouped.items() if times > 1
    ]
    if len(found) > _MOST_SECTIONS:
        problems.append(Problem("programs", f"there are more than {_MOST_SECTIONS} sections"))
    if not problems and sum(map(_processes, found)) > _MOST_PROCESSES:
        problems.append(Problem("programs", f"there are more than {_MOST_PROCESSES} processes; lower numprocs"))
    return found, problems


def _of(file: ProgramFile, current: str, problems: list[Problem]) -> list[Section]:
    here = str(PurePosixPath(current, file.path).parent)
    given = parser()
    try:
        given.read_string(file.text, file.path)
    except Error as error:
        problems.append(Problem(file.path, f"is not a configuration file of supervisor: {' '.join(str(error).split())!a:.300}"))
        return []
    found = []
    for head in given.sections():
        kind, _, name = head.partition(":")
        if kind not in KINDS:
            problems.append(Problem(f"{file.path} [{head!a:.100}]", f"is not allowed in a release; only {', '.join(KINDS)} are"))
        elif not _NAME.fullmatch(name):
            problems.append(Problem(f"{file.path} [{head!a:.100}]", "must have a name of letters, digits, '.', '_' and '-'"))
        else:
            # Supervisor would expand %(here)s to the directory of the file that it reads, but that file is a copy.
            values = {key: value.replace("%(here)s", here) for key, value in given.items(head)}
            # `boot` and deployments start the program; supervisord would start it before the first release.
            started = {} if kind == "group" else {"autostart": "false"}
            found.append(Section(kind, name, values | started if _is_said(values) else values, file.path))
    return found


def _is_said(values: Mapping[str, str]) -> bool:
    """Return whether `autostart` is missing or a word of supervisor's; a wrong value must stay, to be reported."""
    return values.get("autostart", "true").lower() in (*YES, *NO)


def _wrong(section: Section, taken: Collection[str]) -> list[Problem]:
    found = []
    if section.name in taken:
        found.append(section.problem("", "is the container's own, which a release cannot change: use another name"))
    if section.kind == "group" and any("%" in name for name in section.members):
        found.append(section.problem("programs", "must name its programs without %"))
    found += [*_too_many(section), *_expanded_twice(section)]
    for key, value in section.values.items():
        if len(value) > _LONGEST_VALUE or len(key) > _LONGEST_VALUE:
            found.append(section.problem(f"{key!a:.100}", f"has more than {_LONGEST_VALUE} characters"))
        elif not _KEY.fullmatch(key):
            found.append(section.problem(f"{key!a:.100}", "is not a key of supervisor's"))
        elif _CONTROL.search(value):
            found.append(section.problem(key, "has a control character"))
        elif not _EXPANSIONS.fullmatch(value):
            found.append(section.problem(key, "has a % that does not start a %(name)s; write %% for a plain %"))
    for key, least, most in (("numprocs", 1, _MOST_PROCESSES), ("numprocs_start", 0, _LARGEST_START)):
        value = section.values.get(key, str(least))
        if not re.fullmatch(r"[0-9]{1,7}", value) or not least <= int(value) <= most:
            found.append(section.problem(key, f"must be a whole number from {least} to {most}, not {value!a:.100}"))
    return found


def _too_many(section: Section) -> list[Problem]:
    expansions = sum(value.count("%(") for value in section.values.values())
    counted = (("keys", len(section.values), _MOST_KEYS), ("expansions", expansions, _MOST_EXPANSIONS))
    return [section.problem("", f"has more than {most} {what}") for what, count, most in counted if count > most]


def _expanded_twice(section: Section) -> list[Problem]:
    """Return the problems of logs that supervisor's second expansion could change; it expands only logs twice."""
    written = "%%" in section.values.get("environment", "")
    logs = {key: section.values.get(key, "") for key in ("stdout_logfile", "stderr_logfile")}
    text = "supervisor expands it twice: remove %% from this value, or from `environment` if the value names a variable"
    return [section.problem(key, text) for key, log in logs.items() if "%%" in log or (written and "%(ENV_" in log)]


def _processes(section: Section) -> int:
    return 0 if section.kind == "group" else int(section.values.get("numprocs", "1"))
