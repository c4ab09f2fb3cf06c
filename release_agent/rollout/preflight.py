"""Look at every host before any change: its state, its release, and the changes of the revision."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code
from release_agent.rollout.host.client import PASSING
from release_agent.rollout.host.model import HostError, note_failure
from release_agent.rollout.model import Application, HostStage
from release_agent.rollout.parallel import alongside, in_parallel
from release_agent.rollout.policy.preflight import (
    environment_of,
    note_status,
    refuse_if_all_refuse,
    refuse_same_host,
    same_commits,
    skip_up_to_date,
    usual_changes,
)
from release_agent.rollout.policy.waves import applications_of

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.host.model import HostStatus
    from release_agent.rollout.model import Host
    from release_agent.rollout.observer import Observer
    from release_agent.rollout.options import Options

_LOOKS = 10  # a second apart
CHECK_PATIENCE = 60.0  # seconds for a check: git in a large repository
TIMES = 4  # hosts per slot of --parallel, because a question costs them little
_SHOWN = 2.0  # seconds


@dataclass
class PreflightResult:
    """The answers of all hosts together; each host has its own part.

    ``applications``: in the order of their deployment; ``changes``: by application and repository.
    """

    environment: str
    applications: list[Application]
    changes: dict[str, Any] = field(default_factory=dict)


@dataclass
class Asking:
    """The progress of preflight with one question to many hosts. It changes with each answer."""

    fleet: int = 0  # hosts of the rollout
    widest: int = 0  # characters of the longest name of a host
    what: str = "status"  # the question: "status", or "check" for the changes of the revision
    hosts: int = 0  # number of hosts for the question
    asked: int = 0  # number of hosts that have answered or are given up
    waiting: dict[str, Host] = field(default_factory=dict)  # hosts without an answer
    troubled: dict[str, Host] = field(default_factory=dict)  # hosts in trouble after any question so far


class Preflight:
    """Asks every host, some at a time; an error of one host is noted in that host only."""

    def __init__(self, client_of: Callable[[Host], HostClient], options: Options, observer: Observer) -> None:
        """``options``: of the rollout; ``observer`` gets the progress of a long preflight."""
        self.asking = Asking()
        self._client_of = client_of
        self._options = options
        self._at_once = options.parallel * TIMES
        self._observer = observer

    async def look(self, hosts: Sequence[Host]) -> PreflightResult:
        """Ask every host for its live release; raises Misconfigured, Refused (fleet-mixed), FleetStopped if none answers."""
        self.asking.fleet, self.asking.widest = len(hosts), max(len(host.name) for host in hosts)
        statuses: dict[str, HostStatus] = {}

        async def ask(host: Host) -> None:
            try:
                statuses[host.name] = await self._client_of(host).look(PASSING, first_contact=0.0)
                note_status(host, statuses[host.name], despite_freeze=self._options.despite_freeze)
            except HostError as error:
                note_failure(host, error)

        await self._ask("status", hosts, ask)
        refuse_same_host(hosts, statuses)
        environment = environment_of(hosts, statuses)
        return PreflightResult(environment, [Application(name, {}) for name in applications_of(hosts)])

    async def wait_for_busy(self, hosts: Sequence[Host]) -> None:
        """Ask busy hosts again for some seconds, because another check ends soon."""

        async def ask(host: Host) -> None:
            for _ in range(_LOOKS):
                await asyncio.sleep(1.0)
                host.stage, host.code, host.why = HostStage.PENDING, "", ""
                try:
                    note_status(host, await self._client_of(host).look(), despite_freeze=self._options.despite_freeze)
                except HostError as error:
                    note_failure(host, error)
                if host.code != Code.HOST_BUSY:
                    return

        await self._ask("status", [host for host in hosts if host.code == Code.HOST_BUSY], ask)

    async def check(self, hosts: Sequence[Host], revision: str, found: PreflightResult) -> None:
        """Ask hosts for the changes of the revision.

        Raises Refused if all reachable hosts of an application refuse the revision, or if its commits differ between hosts.
        """
        answers: dict[str, dict[str, Any]] = {}
        refusals: dict[str, HostError] = {}

        async def ask(host: Host) -> None:
            try:
                answers[host.name] = await self._client_of(host).check(
                    revision,
                    CHECK_PATIENCE,
                    despite_freeze=self._options.despite_freeze,
                    wait_for=self._options.wait_for,
                )
            except HostError as error:
                note_failure(host, error)
                if error.refused:
                    refusals[host.name] = error

        asked = [host for host in hosts if host.stage is HostStage.PENDING]
        await self._ask("check", asked, ask)
        for application in found.applications:
            of_it = [host for host in asked if host.app == application.name]
            refuse_if_all_refuse(of_it, revision, refusals)
            application.commits = same_commits(of_it, answers)
            found.changes[application.name] = usual_changes(of_it, answers)
        skip_up_to_date(asked, answers, revision)

    async def _ask(self, what: str, hosts: Sequence[Host], ask: Callable[[Host], Awaitable[None]]) -> None:
        """Ask hosts, some at a time."""
        if not hosts:
            return
        seen = self.asking
        seen.what, seen.hosts, seen.asked = what, len(hosts), 0

        async def count(host: Host) -> None:
            seen.waiting[host.name] = host
            await ask(host)
            del seen.waiting[host.name]
            seen.asked += 1
            if host.code:
                seen.troubled[host.name] = host

        async def show() -> None:
            while True:
                await asyncio.sleep(_SHOWN)
                self._observer.tell("preflight.progress", what=what, asked=seen.asked, hosts=len(hosts))

        async with alongside(show()):
            await in_parallel(hosts, self._at_once, count)
