"""Read supervisor's programs before root becomes another user, who may not be able to use supervisor's socket."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from release_agent.errors import ReleaseError
from release_agent.services.programs import own
from release_agent.services.sections import Sections, UnknownSectionsError
from release_agent.system import processes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.health import Process
    from release_agent.services.supervisor import SupervisorServices

Program = dict[str, Any]  # an item of getAllConfigInfo


@dataclass(frozen=True)
class Supervised:
    """The programs of a supervisord, None if it does not answer; supervisord's own user, None if unknown.

    ``sections``: the sections of supervisord's configuration, or the reason why they cannot be read. ``processes``: by group.
    """

    programs: Sequence[Program] | None
    user: int | None
    sections: Sections | str
    processes: Mapping[str, Sequence[Process]] = field(default_factory=dict)

    @classmethod
    def ask(cls, supervisor: SupervisorServices, environ: Mapping[str, str]) -> Supervised:
        """Ask supervisor for its programs, and read its configuration."""
        try:
            programs, processes_of, pid = supervisor.programs(), supervisor.processes(), supervisor.supervisor_pid()
        except ReleaseError as error:  # the check of supervisor reports it
            return cls(None, None, str(error))
        try:
            sections: Sections | str = Sections(pid, environ)
        except UnknownSectionsError as error:
            sections = str(error)
        return cls(programs, processes.owner(pid), sections, processes_of)

    def own(self, verb: str) -> Sequence[Program]:
        """Return the programs that run a command of this agent."""
        return own(self.programs or (), verb)

    def process_of(self, program: Program) -> Process | None:
        """Return the process of a program, None if unknown."""
        return next((each for each in self.processes.get(program["group"], ()) if each.name == program["name"]), None)

    def user_of(self, program: Program) -> int | None:
        """Return the user of a program, None if unknown."""
        user = program["uid"]
        return user if isinstance(user, int) else self.user

    def next_user_of(self, program: Program) -> str:
        """Return `user=` of a program in the file, which supervisord reads at its next start; empty if unknown."""
        try:
            return self.sections.user(program) if isinstance(self.sections, Sections) else ""
        except UnknownSectionsError:
            return ""

    @property
    def deployer(self) -> int | None:
        """The user of the program `deploy`, None if unknown."""
        found = self.own("deploy")
        return self.user_of(found[0]) if found else None
