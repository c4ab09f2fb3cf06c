"""The facts about a container that the proposal needs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

DEFAULT_ROOT = "/srv/app"
_USUAL_FILES = ("", "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
_PATH_PARTS = re.compile(r"""[^\s/"'=:]+""")
_CURRENT = re.compile(r"""(/[^\s"'=]+?)/current(?=[/\s"']|$)""")


@dataclass(frozen=True)
class SeenProgram:
    """A supervisor group, by its first program. ``socket``: the socket that supervisord holds for the group, empty if none."""

    name: str
    command: str
    directory: str = ""
    socket: str = ""
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class SeenSupervisor:
    """A running supervisord.

    ``user``: the name of its own user, empty for root. ``include``: the patterns of [include] in its
    configuration; patterns of existing directories come first. ``own``: the names of the agent's sections in it.
    ``loaded``: those that supervisord has already read. ``outer``: the names of all sections outside the included files,
    which supervisorctl does not read. ``socket_access``: chown and chmod of its socket after its next start.
    ``has_plugin``: it has loaded the plugin. ``can_load``: its Python can import the plugin. ``takes_programs``: the
    plugin's section lets releases bring programs. ``finds_agent``: its PATH has the agent. ``environment``: its own
    variables. ``unreadable``: the reason why its configuration cannot be read. ``taken``: other programs with the names
    of the agent's. ``has_login``: it wants a user and a password. ``is_idle``: none of its programs runs, so a restart
    harms nothing.
    """

    url: str
    pid: int = 0
    file: str = ""
    user: str = ""
    programs: Sequence[SeenProgram] = ()
    own: frozenset[str] = frozenset()
    loaded: frozenset[str] = frozenset()
    outer: frozenset[str] = frozenset()
    socket_access: tuple[str, str] = ("", "")
    include: Sequence[Path] = ()
    has_plugin: bool = False
    can_load: bool = True
    takes_programs: bool = False
    finds_agent: bool = True
    environment: Mapping[str, str] = field(default_factory=dict)
    unreadable: str = ""
    taken: Sequence[str] = ()
    has_login: bool = False
    is_idle: bool = False

    @property
    def control(self) -> str:
        """The command that reaches it: supervisorctl finds the usual files on its own."""
        return "supervisorctl" if self.file in _USUAL_FILES else f"supervisorctl -c {self.file}"


@dataclass(frozen=True)
class SeenRepository:
    """A git repository. ``branches``: those of its branches that are usual main branches.

    ``services``, ``programs``: its release.toml names services, or programs.
    """

    name: str
    path: str
    tags: Sequence[str] = ()
    branches: Sequence[str] = ()
    services: bool = False
    programs: bool = False


@dataclass(frozen=True)
class Deployer:
    """The deploying user; ``has_socket``: whether this user may use supervisor's socket.

    ``has_log``: whether supervisord may open the container's log for the programs of this user.
    """

    name: str
    group: str
    home: str
    has_socket: bool = True
    has_log: bool = True


@dataclass(frozen=True)
class Note:
    """An open point: something that init could not know or do, and the step for the person."""

    what: str
    do: str


@dataclass(frozen=True)
class SeenContainer:
    """All facts about one container.

    ``config``: the path of the configuration; ``is_there``: that file exists. ``has_address``: a command in a shell finds
    the address of supervisor, there or in the environment.
    """

    supervisor: SeenSupervisor
    deployer: Deployer
    root: Path
    repositories: Sequence[SeenRepository]
    config: Path
    is_there: bool = False
    has_consul: bool = False
    has_address: bool = True

    def runs_from_root(self, program: SeenProgram) -> bool:
        """Return whether a program runs from the live release."""
        return str(self.root) in roots_in(f"{program.directory} {program.command}")

    def names_repository(self, program: SeenProgram) -> bool:
        """Return whether a section names the place of a repository in the live release."""
        text = f"{program.directory} {program.command}".replace(f"{self.root}/current", "")
        return not {repository.name for repository in self.repositories}.isdisjoint(_PATH_PARTS.findall(text))

    @property
    def services_are_in_repository(self) -> bool:
        """Return whether a release.toml names the services; each of its programs is one."""
        return self.brings_programs or any(repository.services for repository in self.repositories)

    @property
    def brings_programs(self) -> bool:
        """Return whether a release brings programs."""
        return any(repository.programs for repository in self.repositories)


def roots_in(text: str) -> list[str]:
    """Return the directories whose `current` a directory or a command names."""
    return [found[1] for found in _CURRENT.finditer(text)]


def root_of(programs: Sequence[SeenProgram]) -> str:
    """Return the root directory that the programs' sections name, otherwise DEFAULT_ROOT."""
    texts = [program.directory for program in programs] + [program.command for program in programs]
    return next((root for text in texts for root in roots_in(text)), DEFAULT_ROOT)
