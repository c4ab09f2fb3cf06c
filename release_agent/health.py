"""The nouns of health: a process, one look at a service, one look at all of them, and the verdict."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

LEFT_STOPPED = "nothing has started it since supervisor read its section, as after `supervisorctl update`"

ALIVE = ("STARTING", "RUNNING", "BACKOFF")  # states of a process that runs, or that supervisor is trying to start


def process_number(name: str) -> str:
    """Return supervisor's ``process_num`` of a process: the digits at the end of its name; ``0`` without any."""
    return re.sub(r"^.*?(\d*)$", r"\1", name) or "0"


@dataclass(frozen=True)
class Process:
    """One process of a service as supervisor sees it: ``state`` is supervisor's word, ``why`` its reason for not running it.

    ``pid`` is 0 if it does not run. ``started``: whether this supervisord has ever tried to start it. ``started_at`` and
    ``ended_at``: when it was last started, and when it last ended (seconds since 1970); 0: never.
    """

    service: str
    name: str
    state: str
    pid: int
    why: str = ""
    started: bool = True
    started_at: int = field(default=0, compare=False)
    ended_at: int = field(default=0, compare=False)

    @property
    def full_name(self) -> str:
        """Return the name of the process in supervisor's calls."""
        return f"{self.service}:{self.name}"

    @property
    def short_name(self) -> str:
        """Return the name of the process in supervisorctl: the service's name if both are the same."""
        return self.name if self.name == self.service else self.full_name

    @property
    def number(self) -> str:
        """Return supervisor's ``process_num`` of the process."""
        return process_number(self.name)

    @property
    def running(self) -> bool:
        """Return whether the process runs, and has run for its ``startsecs``."""
        return self.state == "RUNNING"

    @property
    def alive(self) -> bool:
        """Return whether the process runs, or supervisor is trying to start it."""
        return self.state in ALIVE

    @property
    def stopping(self) -> bool:
        """Return whether the process still runs after supervisor has sent it a signal to stop."""
        return self.state == "STOPPING"

    @property
    def left_stopped(self) -> bool:
        """Return whether nothing has started the process since supervisor read its section.

        `supervisorctl update` leaves processes so, because it only stops them.
        """
        return self.state == "STOPPED" and not self.started

    @property
    def hopeless(self) -> bool:
        """Return whether supervisor has given up the process: only a person or the agent starts it again."""
        return self.state in ("FATAL", "UNKNOWN")

    @property
    def given_up_at(self) -> int:
        """Return when a hopeless process ended, or could not be started, for the last time."""
        return max(self.started_at, self.ended_at)

    def to_json(self) -> dict[str, Any]:
        """Return ``{"name", "state", "pid"}``."""
        return {"name": self.name, "state": self.state, "pid": self.pid}


@dataclass(frozen=True)
class Rehearsed:
    """The copy of a process in a rehearsal, as supervisor sees it, and the port or socket that it listens on."""

    process: Process
    port: int
    socket: str


@dataclass(frozen=True)
class Candidate:
    """A process that a rehearsal may copy: its name, its ``startsecs`` and its ``stopwaitsecs``.

    ``of_release``: whether its section names ``<root>/current``, so that it runs the code of releases.
    """

    name: str
    startsecs: int
    of_release: bool
    stopwaitsecs: int = 0  # an older plugin does not send it


@dataclass(frozen=True)
class BroughtGroup:
    """A supervisor group that a release brings: its processes, and supervisord's socket for it, empty if it has none.

    ``smallest``: the number of processes of its smallest program.
    """

    name: str
    candidates: tuple[Candidate, ...]
    socket: str
    smallest: int


@dataclass(frozen=True)
class ProgramsChange:
    """The difference between supervisor's groups and those of the live release, by name.

    ``added``, ``changed`` and ``removed``: groups to stop and renew. ``others``: groups of the container.
    """

    added: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    removed: tuple[str, ...] = ()
    others: tuple[str, ...] = ()


@dataclass(frozen=True)
class ServiceLook:
    """One look at one service: its processes, its problems, whether a probe failed, and whether a process runs old code.

    ``about``: the processes that the problems are about, if they are not about the whole service.
    """

    processes: tuple[Process, ...]
    problems: tuple[str, ...] = ()
    failing: bool = False
    outdated: bool = False
    about: tuple[Process, ...] = ()

    @property
    def well(self) -> bool:
        """Return whether there are no problems."""
        return not self.problems

    @property
    def sick(self) -> tuple[Process, ...]:
        """Return the unhealthy processes: all of them if a problem is about the whole service."""
        return () if self.well else self.about or self.processes


@dataclass(frozen=True)
class Look:
    """One look at all services, by name."""

    services: dict[str, ServiceLook]

    @property
    def problems(self) -> tuple[str, ...]:
        """Return the problems of all services."""
        return tuple(problem for service in self.services.values() for problem in service.problems)

    @property
    def well(self) -> bool:
        """Return whether there are no problems."""
        return not self.problems

    @property
    def failing(self) -> bool:
        """Return whether a probe failed."""
        return any(service.failing for service in self.services.values())

    @property
    def hopeless(self) -> bool:
        """Return whether supervisor has given up a process."""
        return any(process.hopeless for process in self.processes)

    @property
    def pids(self) -> frozenset[int]:
        """Return the ids of all processes: a process that was replaced changes them."""
        return frozenset(process.pid for process in self.processes)

    @property
    def unstarted(self) -> tuple[Process, ...]:
        """Return the processes that this supervisord has never tried to start."""
        return tuple(process for process in self.processes if not process.started)

    @property
    def processes(self) -> list[Process]:
        """Return the processes of all services."""
        return [process for service in self.services.values() for process in service.processes]


class HealthState(StrEnum):
    """A verdict in Consul's words; ``warning``: the release is live and not proved yet."""

    PASSING = "passing"
    WARNING = "warning"
    CRITICAL = "critical"


@dataclass(frozen=True)
class Health:
    """The verdict on the live release, and the reasons if it is not ``passing``."""

    state: HealthState
    problems: tuple[str, ...] = ()

    @classmethod
    def of(cls, *problems: str) -> Health:
        """Return ``critical`` with its problems; without any, ``passing``."""
        return cls(HealthState.CRITICAL if problems else HealthState.PASSING, problems)

    @property
    def why(self) -> str:
        """The problems in one line; empty if there are none."""
        return "; ".join(self.problems)
