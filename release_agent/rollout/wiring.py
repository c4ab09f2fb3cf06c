"""Make the access to hosts and the record from settings and the environment."""

from __future__ import annotations

import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.config.sections import DEFAULT_PREFIX
from release_agent.errors import Code, Misconfigured
from release_agent.rollout.bake import AskAgents, AskConsul
from release_agent.rollout.host.client import HostClient
from release_agent.rollout.host.names import Names
from release_agent.rollout.host.pace import Pace
from release_agent.rollout.host.rpc import Remote
from release_agent.rollout.host.tls import client_context
from release_agent.rollout.inventory import hosts
from release_agent.rollout.inventory.choice import InventoryChoice, choose
from release_agent.rollout.run import HostAccess
from release_agent.variables import Variable

if TYPE_CHECKING:
    import ssl
    from collections.abc import Mapping

    from release_agent.consul.client import ConsulClient
    from release_agent.rollout.bake import Watch
    from release_agent.rollout.model import Host, InventoryHost, Rollout
    from release_agent.rollout.record.port import RolloutStore


_MANY_HOSTS = 10.0  # seconds for one answer: ten thousand hosts are read in one call


@dataclass(frozen=True)
class AccessSettings:
    """The credentials of the hosts, and the place of the record: Consul, or a file of this user."""

    user: str = ""
    password_file: str = ""
    ca_file: str = ""
    client_cert: str = ""
    prefix: str = DEFAULT_PREFIX
    in_consul: bool = False  # also if CONSUL_HTTP_ADDR is set


class RolloutParts:
    """The parts of a rollout, each made at its first use."""

    def __init__(
        self,
        settings: AccessSettings,
        inventory: InventoryChoice | None = None,
        environ: Mapping[str, str] = os.environ,
    ) -> None:
        """Read the user and password of an inventory's file, and the certificates; raises Misconfigured."""
        self._settings = settings
        self._inventory = inventory or InventoryChoice()
        self._environ = environ
        self._pace = Pace()
        self._names = Names()
        self._fleet = hosts.from_file(self._inventory.fleet) if self._inventory.fleet else None
        self.user = settings.user or (self._fleet.user if self._fleet else "")
        password_file = settings.password_file or (self._fleet.password_file if self._fleet else "")
        self.password_file = str(Path(password_file).absolute()) if password_file else ""
        if bool(self.user) != bool(self.password_file):
            raise Misconfigured(
                Code.INVENTORY_INVALID,
                "a user needs a password file, and one of them is missing",
                hint="give --user and --password-file, or both in [fleet] of fleet.toml",
            )
        self._credentials = (self.user, hosts.password(self.password_file)) if self.user else None
        if settings.ca_file or settings.client_cert:
            _ = self._tls  # report problems of the files before the first question to a host

    @cached_property
    def _tls(self) -> ssl.SSLContext:
        return client_context(self._settings.ca_file, self._settings.client_cert)

    def adopt(self, rollout: Rollout) -> None:
        """Use the credentials that a rollout was started with, if none are given.

        Raises Misconfigured if the password file is not on this machine.
        """
        if rollout.user and not self.user:
            self._credentials = (rollout.user, hosts.password(rollout.password_file))
            self.user, self.password_file = rollout.user, rollout.password_file

    def targets(self) -> list[InventoryHost]:
        """Return the chosen hosts; raises Misconfigured, also if there are none."""
        return choose(self._inventory, self._fleet, self._consul, self._environ)

    def client_of(self, host: Host) -> HostClient:
        """Return the client of one host."""
        return HostClient(Remote(host.url, self._credentials, names=self._names, tls=lambda: self._tls), self._pace)

    def host_access(self, rollout: Rollout) -> HostAccess:
        """Return the access to a rollout's hosts, and their watch."""
        return HostAccess(self.client_of, self._watch(rollout))

    def _consul(self) -> ConsulClient:
        """Return the client of Consul by the CONSUL_* variables, one for each thread."""
        from release_agent.consul.client import ConsulClient

        return ConsulClient(self._environ, _MANY_HOSTS)

    @property
    def is_in_consul(self) -> bool:
        """Return whether the record is in Consul."""
        return bool(self._settings.in_consul or self._inventory.consul or self._environ.get(Variable.CONSUL_HTTP_ADDR))

    @property
    def needs_consul_option(self) -> bool:
        """Return whether a command needs --consul to find the record, because no variable names Consul."""
        return self.is_in_consul and not self._environ.get(Variable.CONSUL_HTTP_ADDR)

    @cached_property
    def record(self) -> RolloutStore:
        """The record of rollouts; raises RecordUnreachable."""
        if self.is_in_consul:
            from release_agent.rollout.record.consul import ConsulRolloutStore

            return ConsulRolloutStore(self._consul(), self._settings.prefix)
        from release_agent.rollout.record.file import FileRolloutStore, default_path

        return FileRolloutStore(default_path(self._environ))

    def _watch(self, rollout: Rollout) -> Watch:
        """Return the watch of hosts after waves: Consul if the hosts come from it, otherwise their agents."""
        agents = AskAgents(self.client_of, rollout.options.deadline)
        if not rollout.service:
            return agents
        from release_agent.rollout.inventory.consul import sick

        consul = self._consul()
        return AskConsul(lambda: sick(consul, rollout.service, rollout.environment), agents)
