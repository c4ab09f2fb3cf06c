"""Answer supervisor's plugin from the journal and a few small files; never run a probe or git, never use the network.

Every answer closes the journal before it returns, because a reload of supervisord closes every descriptor that is still
open. Python would later close the same number again, which may then belong to another file.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent import __version__
from release_agent.config.blueprint import combine_from
from release_agent.errors import Code, Failed, NoTarget
from release_agent.health import HealthState
from release_agent.journal.journal import StateDatabase
from release_agent.status import body, of_deployment, of_services
from release_agent.store import output
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.system.inspection import accepting_with, releases_of, started_with
from release_agent.system.processes import children, reachable
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Config, Service
    from release_agent.health import Process
    from release_agent.model import Release

# Seconds to wait for a commit, which takes milliseconds; supervisord does nothing else during this time.
_PATIENCE = 0.2
_FIRST = 1  # the process that adopts orphans


class Answers:
    """Reads one container's state again for each call."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self.root = Root(Path(config.app.root), SystemClock())

    def journal(self) -> StateDatabase:
        """Open the journal to read, as a context; raises Failed (journal-broken)."""
        return StateDatabase(self.root.database, patience=_PATIENCE)

    def status(self, processes_of: Callable[[str], list[Process]]) -> dict[str, Any]:
        """Return ``status --json`` with the last known health, its time, the agent's version, ``follow`` and maintenance."""
        with self.journal() as journal:
            return self._status(journal, processes_of)

    def output(self, identity: str, after: int) -> dict[str, Any]:
        """Return the output of a deployment's hooks after ``after`` bytes: ``{"events", "next"}``."""
        events, end = output.read(self.root.output, identity, after)
        return {"events": events, "next": end}

    def journal_failure(self, identity: str) -> Failed | None:
        """Return the reason why a run could not use the journal, from its progress file; None without one."""
        events, _ = output.read(self.root.output, identity, 0)
        told = next((event for event in events if event["event"] == output.JOURNAL_UNUSABLE), None)
        return Failed(Code.JOURNAL_BROKEN, str(told.get("why")), hint=str(told.get("hint"))) if told else None

    def releases_in_use(self, group: str, pids: list[int]) -> dict[str, list[int]]:
        """Return the processes of a supervisor group, their children included, by the release that they use; see releases_of().

        An orphaned child counts if it accepts connections at an address of the group, because it may still answer.
        """
        family = children()
        own = reachable(pids, family)
        orphans = set(family.get(_FIRST, ())).difference(own)
        left = started_with({Variable.SUPERVISOR_GROUP_NAME.value: group}, among=orphans)
        below = set(reachable(left, family)).difference(own)
        return releases_of([*own, *accepting_with(own, below)], self.root.directory(""))

    def service_of(self, name: str, service: str) -> tuple[Service, str]:
        """Return a service of a release, and the release's directory; raises NoTarget, Failed (service-unknown)."""
        release = self.root.get(name)
        if release is None:
            raise NoTarget(
                Code.RELEASE_UNKNOWN, f"there is no release {name}", hint="`release-agent releases` lists the kept releases"
            )
        found = next((each for each in self.blueprint(release).services if each.name == service), None)
        if found is None:
            message = f"release {name} has no service {service}"
            raise Failed(Code.SERVICE_UNKNOWN, message, hint=f"name a [[service]] of release {name}")
        return found, str(self.root.directory(name))

    def blueprint(self, release: Release) -> Blueprint:
        """Return the blueprint of a release, from its own files; raises Refused (release-toml-invalid)."""
        read, find = partial(self.root.read, release.name), partial(self.root.programs, release.name)
        return combine_from(self._config, read, release.into, find)

    def _status(self, journal: StateDatabase, processes_of: Callable[[str], list[Process]]) -> dict[str, Any]:
        live = self.root.current()
        last = journal.last_found() or {}
        found = {
            "services": of_services(self._services(live), processes_of),
            "health": last.get("health", str(HealthState.CRITICAL)),
            "health_why": last.get("problems", ""),
            "health_at": last.get("at"),
            "deployment": of_deployment(journal, self.root.holder()),
        }
        return {
            **body(self._config, self.root, journal, live, found),
            "agent_version": __version__,
            "follow": self._config.revision.follow,
            "maintenance": bool(journal.maintenance()),
        }

    def _services(self, live: Release | None) -> tuple[Service, ...]:
        if live is None:
            return self._config.services
        return self.blueprint(live).services
