"""Run rollouts by the real command over simulated hosts, with the same methods as :class:`support.fleet.Fleet`."""

from __future__ import annotations

import math
import uuid
from typing import TYPE_CHECKING, Any

from release_agent.consul.registration import ConsulAgent
from release_agent.health import Health
from support.configuration import configuration
from support.desk import Desk
from support.simulated_fleet import SimulatedFleet
from support.simulated_host import DEPLOY, commit_of
from support.waiting import eventually

if TYPE_CHECKING:
    from pathlib import Path

    from support.simulated_host import SimulatedHost

REVISIONS = ("v0.9.0", "v1.0.0", "v1.1.0")


class SimulatedRollouts(Desk):
    """Hosts ``host-1`` to ``host-N``; each runs v1.0.0, and knows v1.1.0."""

    def __init__(
        self, path: Path, size: int = 5, *, credentials: tuple[str, str] | None = None, consul: dict[str, str] | None = None
    ) -> None:
        super().__init__(path, credentials=credentials, consul=consul)
        self._fleet = SimulatedFleet(size, credentials=credentials).start()
        self.hosts = self._fleet.hosts
        for host in self.hosts:
            host.commits = {revision: commit_of(revision) for revision in REVISIONS}
        self.write_fleet()

    def write_fleet(self) -> None:
        """Write the fleet.toml; again after a host has moved."""
        self.file.write_text(self._fleet.toml(user=self.user, password_file=str(self.password_file) if self.user else ""))

    def become_system(self) -> None:
        """Give the five hosts to three applications in fleet.toml: web requires api, and api requires db."""
        text = self.file.read_text()
        for host, app in zip(self.hosts, ("web", "web", "api", "api", "db"), strict=True):
            host.app = app
            host.commits = {revision: commit_of(f"{app} {revision}") for revision in REVISIONS}
            host.runs("v1.0.0")
            text = text.replace(f'name = "{host.name}"', f'name = "{host.name}"\nservice = "{app}"')
        self.file.write_text(text + '[service.web]\nrequires = ["api"]\n[service.api]\nrequires = ["db"]\n')

    def urls(self) -> list[str]:
        """Return the URL of each host's RPC."""
        return [self._fleet.url(host) for host in self.hosts]

    def address(self, host: SimulatedHost) -> str:
        """Return a host's address."""
        return self._fleet.address(self.hosts.index(host))

    def register(self) -> str:
        """Register each host in Consul, as its agent does; returns the service's name, which no other test uses."""
        service = f"api-{uuid.uuid4().hex[:8]}"
        for host in self.hosts:
            app = f'[app]\nname = "{service}"\nenvironment = "test"\nroot = "/srv"\nrpc_url = "{self._fleet.url(host)}"\n'
            config = configuration(app=app, environ={"RELEASE_AGENT_HOST": host.name})
            ConsulAgent(config.consul, config.app, self.consul).register(None, Health.of(), ttl=600)
            host.app = service
        return service

    # The hosts

    def live(self) -> list[str | None]:
        """Return the live revision of each host."""
        return [host.revision for host in self.hosts]

    def fired(self, number: int) -> list[str]:
        """Return the triggers of one host's runs, oldest first."""
        return self.hosts[number].triggers

    def refuse(self, number: int, revision: str = "v1.1.0") -> None:
        """Make a revision unhealthy on one host after its publication: the host rolls back automatically."""
        self.hosts[number].fails = {revision: DEPLOY}

    def hold(self, number: int) -> None:
        """Hold the runs of one host before their end."""
        self.hosts[number].seconds = math.inf

    def held(self, number: int, trigger: str = "") -> None:
        """Wait until one host has started a run, or the run of a trigger."""

        def begun() -> bool:
            fired = self.fired(number)
            return bool(fired) and fired[-1].endswith(trigger) and self.is_busy(number)

        eventually(begun, f"host-{number + 1} has begun")

    def is_busy(self, number: int) -> bool:
        """Return whether one host has a current run."""
        status: dict[str, Any] = self.hosts[number].getStatus()
        return "deployment" in status

    def let_go(self, number: int) -> None:
        """Let the held run end, and later ones."""
        self.hosts[number].seconds = 0.0
        self.hosts[number].let_go()

    def close(self) -> None:
        """End everything."""
        self._fleet.close()
