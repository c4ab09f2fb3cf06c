"""Fake hosts without a network, for tests of a rollout's decisions; tests/contract checks the promises of the real client."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code
from release_agent.rollout.host.model import HostError, HostStatus, NotStartedError
from release_agent.rollout.run import HostAccess

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Sequence

    from release_agent.rollout.host.model import RunRequest
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import Asking
    from release_agent.rollout.record.port import RolloutStore

OLD, NEW = "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb"
COMMITS = {"v1": {"api": "a" * 40}, "v2": {"api": "b" * 40}}


@dataclass
class FakeHost:
    """One host and its client. By default it runs v1 and takes v2 at once."""

    release: str | None = OLD
    revision: str | None = "v1"
    app: str = "api"
    error: HostError | None = None  # the answer to every call
    fails: bool = False  # it rolls back automatically
    stays: bool = False  # it cannot be rolled back
    sick_later: bool = False  # a bake finds it unhealthy
    health: str = "passing"
    triggers: list[str] = field(default_factory=list)
    held: asyncio.Event | None = None  # the event that a deployment waits for
    slow: float = 0.0  # seconds until it returns the live release
    locked: float = 0.0  # seconds that its journal stays locked
    away: float = 0.0  # seconds that it refuses connections

    async def look(self, patience: float = 0.0, *, first_contact: float | None = None) -> HostStatus:
        """Return the live release, if the caller waits long enough."""
        await asyncio.sleep(self.slow)
        if self.error:
            raise self.error
        if self.locked > patience:
            raise HostError(Code.HOST_UNREACHABLE, "database is locked", unreachable=True, passing=True)
        if self.away > (patience if first_contact is None else first_contact):
            raise HostError(Code.HOST_UNREACHABLE, "Connection refused", unreachable=True)
        return HostStatus(self.app, "test", self.release, self.revision, COMMITS.get(self.revision or "", {}), self.health)

    async def check(self, revision: str, _patience: float, **_options: object) -> dict[str, Any]:
        """Return what a deployment would do."""
        if revision not in COMMITS:
            code, why = "revision-unknown", f"refused: no tag {revision}"
            raise HostError(code, why, refused=True)
        return {"commits": COMMITS[revision], "changes": {}, "live": revision == self.revision}

    async def run(
        self,
        wanted: RunRequest,
        deadline: float,
        under_way: Callable[[str, str], Awaitable[None]],
        *,
        again: bool,
        known: str | None = None,
    ) -> dict[str, Any]:
        """Start a run, and end it."""
        identity = known or await self.start(wanted, deadline, again=again)
        await under_way(identity, "")
        return await self.follow(identity, deadline, wanted.method)

    async def start(self, wanted: RunRequest, _deadline: float, *, again: bool) -> str:
        """Start a run, once per trigger."""
        if self.error:
            raise self.error
        if not (again and wanted.trigger in self.triggers):
            if not wanted.may_start():
                raise NotStartedError
            self.triggers.append(wanted.trigger)
        return f"{wanted.trigger}+{wanted.after}" if wanted.after else wanted.trigger

    async def follow(self, identity: str, _patience: float, method: str, _in_phase: object = None) -> dict[str, Any]:
        """End the run."""
        if self.held:
            await self.held.wait()
        if method == "release.stage":
            return {"id": identity, "outcome": "staged", "commits": COMMITS["v2"]}
        if method == "release.rollback":
            if self.stays:
                return {"id": identity, "outcome": "rollback-failed", "error": {"code": "rollback-unhealthy", "message": "sick"}}
            self.release, self.revision = OLD, "v1"
        elif self.fails:
            return {"id": identity, "outcome": "rolled-back", "error": {"code": "unhealthy", "message": "no answer"}}
        else:
            self.release, self.revision = NEW, "v2"
        return {"id": identity, "outcome": "deployed", "release": self.release, "commits": COMMITS[self.revision or ""]}

    async def brought(self, release: str, rollout: str, _since: str) -> bool:
        """Return whether a rollout published the live release."""
        return release == NEW and rollout in self.triggers


class FakeAccess:
    """Hosts by name, and a record."""

    user, password_file = "", ""

    def __init__(self, store: RolloutStore | None, count: int = 3) -> None:
        """Make ``host-1`` to ``host-N``; without a store the record must not be used."""
        self._store = store
        self.watched = asyncio.Event()  # set at the end of each bake
        self.watched.set()
        self.by_name = {f"host-{number}": FakeHost() for number in range(1, count + 1)}

    @property
    def record(self) -> RolloutStore:
        """Return the record."""
        assert self._store, "the record is not to be used"
        return self._store

    def adopt(self, _rollout: Rollout) -> None:
        """Accept all passwords."""

    def client_of(self, host: Host) -> Any:
        """Return the client of a host."""
        return self.by_name[host.name]

    def host_access(self, _rollout: Rollout) -> HostAccess:
        """Return the access to the hosts, with a bake that takes no time."""
        return HostAccess(self.client_of, self._watch)

    async def _watch(self, hosts: Sequence[Host], _seconds: float) -> AsyncIterator[list[tuple[Host, HostError]]]:
        await self.watched.wait()
        sick = [host for host in hosts if self.by_name[host.name].sick_later]
        yield [(host, HostError("host-sick", "its health is critical after its deployment")) for host in sick]


class Heard:
    """An observer that keeps all events; ``answer``: a person's answer to every question."""

    def __init__(self, answer: bool | None = None) -> None:
        self.events: list[str] = []
        self.answer = answer
        self._told: dict[str, asyncio.Event] = {}

    def preflight(self, _asking: Asking, _options: Options) -> None:
        """Keep the start."""
        self.tell("preflight")

    def begin(self, rollout: Rollout) -> None:
        """Keep it."""
        self.tell("begin", id=rollout.id)

    def tell(self, event: str, host: Host | None = None, **_details: object) -> None:
        """Keep it."""
        self.events.append(f"{event} {host.name} {host.stage}" if host else event)
        self.when(event).set()

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Answer."""
        return True if approved.is_set() else self.answer

    def end(self) -> None:
        """Keep it."""
        self.tell("end")

    def when(self, event: str) -> asyncio.Event:
        """Return an event that is set when the observer gets an event of this name."""
        return self._told.setdefault(event, asyncio.Event())
