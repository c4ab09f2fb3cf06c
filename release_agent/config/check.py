"""Check one file, without a root, supervisor or Consul."""

from __future__ import annotations

from dataclasses import dataclass, fields
from enum import Enum
from typing import TYPE_CHECKING

from release_agent.config import blueprint, load, toml
from release_agent.config.schema import Problem, key_of
from release_agent.config.sections import Config
from release_agent.system.disk import read_regular
from release_agent.variables import Variable

if TYPE_CHECKING:
    from pathlib import Path

_A_HOST: dict[str, str] = {Variable.RELEASE_AGENT_HOST: "host"}  # this machine's name is not the container's


class FileKind(Enum):
    """The two kinds of files: the usual name of each, and the dataclass for its content."""

    AGENT = "agent", "release-agent.toml", Config
    RELEASE = "release", blueprint.FILE, blueprint.ReleaseToml

    def __init__(self, word: str, file: str, table: type) -> None:
        """``word``: its name on the command line."""
        self.word, self.file, self.table = word, file, table


@dataclass(frozen=True)
class CheckedFile:
    """One file and its problems; ``kind`` is None if it could not be read."""

    path: Path
    kind: FileKind | None
    problems: tuple[Problem, ...]


def check(path: Path, known: FileKind | None = None) -> CheckedFile:
    """Return all problems of a file; ``known``: its kind, if it need not be recognised."""
    try:
        table = toml.parse(read_regular(path, load.LARGEST).decode())
    except OSError as error:
        problem = Problem("", f"cannot be read: {error.strerror}", "name a file that this user may read")
        return CheckedFile(path, None, (problem,))
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; RecursionError from deep nesting
        return CheckedFile(path, None, (Problem("", f"is not TOML: {error}", "fix the line in the message"),))
    kind = known or recognise(path.name, table)
    problems: list[Problem] = []
    if kind is FileKind.AGENT:
        load.parse(table, problems, _A_HOST)
    else:
        blueprint.parse(table, problems, lone=False)
        if path.is_symlink():  # a deployment reads the commit, and follows no link in it
            problems.append(Problem("", "is a symlink, and must be a regular file", "commit the file itself"))
    return CheckedFile(path, kind, tuple(problems))


def recognise(name: str, table: dict[str, object]) -> FileKind:
    """Return the kind of a file: by its name, or by a table that only the agent's configuration has."""
    named = next((kind for kind in FileKind if kind.file == name), None)
    return named or (FileKind.AGENT if set(table) & (_keys(FileKind.AGENT) - _keys(FileKind.RELEASE)) else FileKind.RELEASE)


def _keys(kind: FileKind) -> set[str]:
    return {key_of(field.name, field.metadata) for field in fields(kind.table) if field.metadata}
