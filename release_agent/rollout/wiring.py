"""How hosts, the record and the person are reached, as the arguments and the environment say."""

from __future__ import annotations

import os
import shlex
import sys
from collections import Counter
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.config.sections import DEFAULT_PREFIX
from release_agent.errors import Code, Misconfigured
from release_agent.rollout.bake import AskAgents, AskConsul
from release_agent.rollout.host.client import HostClient
from release_agent.rollout.host.pace import Pace
from release_agent.rollout.host.rpc import Remote
from release_agent.rollout.inventory import hosts
from release_agent.variables import Variable

if TYPE_CHECKING:
    import argparse
    from collections.abc import Mapping

    from release_agent.consul.client import ConsulClient
    from release_agent.rollout.bake import Watch
    from release_agent.rollout.console.lines import Console
    from release_agent.rollout.model import Host, InventoryHost, Rollout
    from release_agent.rollout.record.port import RolloutStore


_MANY_HOSTS = 10.0  # seconds for one answer: ten thousand hosts are read in one call


class RolloutParts:
    """Made once for a command; what is not needed is not made."""

    def __init__(self, arguments: argparse.Namespace, environ: Mapping[str, str] = os.environ) -> None:
        """Read what a file of hosts says of user and password; raises Misconfigured."""
        self._arguments = arguments
        self._environ = environ
        self._pace = Pace()
        self._fleet = hosts.from_file(arguments.fleet) if getattr(arguments, "fleet", None) else None
        self.user = (self._fleet.user if self._fleet else "") or arguments.user or ""
        password_file = (self._fleet.password_file if self._fleet else "") or arguments.password_file or ""
        self.password_file = str(Path(password_file).absolute()) if password_file else ""
        if bool(self.user) != bool(self.password_file):
            raise Misconfigured(
                Code.INVENTORY_INVALID,
                "a user and a password file belong together, and one of them is missing",
                hint="give --user and --password-file, or both in [fleet] of fleet.toml",
            )
        self._credentials = (self.user, hosts.password(self.password_file)) if self.user else None

    def adopt(self, rollout: Rollout) -> None:
        """Use what the rollout was started with, where nothing else is given; raises Misconfigured where that is not here."""
        if rollout.user and not self.user:
            self._credentials = (rollout.user, hosts.password(rollout.password_file))
            self.user, self.password_file = rollout.user, rollout.password_file

    def targets(self) -> list[InventoryHost]:
        """Return the hosts that were asked for; raises Misconfigured, for none too."""
        chosen = self._arguments
        if bool(chosen.host) == bool(chosen.consul or chosen.fleet or chosen.maestro):
            raise Misconfigured(
                Code.INVENTORY_INVALID,
                "hosts must come from one place: named one by one, or by one of --consul, --fleet and --maestro",
                hint="release-agent rollout start v1.4.2 10.0.0.11 10.0.0.12:9001",
            )
        for given, needed in (("service", "maestro"), ("tag", "consul"), ("meta", "consul"), ("environment", "consul")):
            if getattr(chosen, given) and not getattr(chosen, needed):
                raise Misconfigured(
                    Code.INVENTORY_INVALID,
                    f"--{given} chooses among the hosts of --{needed}, which is not given: it would choose nothing here",
                    hint="--limit chooses among any hosts: by name, service=PATTERN or zone=PATTERN",
                )
        targets = hosts.select(self._all(), chosen.limit, chosen.exclude)
        urls = Counter(target.url for target in targets)
        twice = [f"{target.name} ({target.url})" for target in targets if urls[target.url] > 1]
        if twice:
            raise Misconfigured(
                Code.INVENTORY_INVALID,
                f"several hosts are one and the same supervisor: {', '.join(twice)}",
                hint="give each its own url, or rpc_url in its [app]",
            )
        return targets

    def _all(self) -> list[InventoryHost]:
        chosen = self._arguments
        if self._fleet:
            return list(self._fleet.targets)
        if chosen.maestro:
            from release_agent.rollout.inventory import maestro  # a template engine

            return maestro.read(Path(chosen.maestro), chosen.service, environ=self._environ)
        if chosen.consul:
            from release_agent.rollout.inventory import consul

            meta = hosts.pairs(chosen.meta)
            return consul.targets(self._consul(), chosen.consul, environment=chosen.environment, tags=chosen.tag, meta=meta)
        return hosts.from_arguments(chosen.host)

    @property
    def service(self) -> str:
        """The service of Consul's catalog that the hosts are asked of; empty: they come from elsewhere."""
        return self._arguments.consul or ""

    def client_of(self, host: Host) -> HostClient:
        """Return one host's agent."""
        return HostClient(Remote(host.url, self._credentials), self._pace)

    def _consul(self) -> ConsulClient:
        """Consul, as the CONSUL_* variables say; one for each thread that talks to it."""
        from release_agent.consul.client import ConsulClient

        return ConsulClient(self._environ, _MANY_HOSTS)

    @property
    def _is_in_consul(self) -> bool:
        return bool(self._arguments.consul or self._environ.get(Variable.CONSUL_HTTP_ADDR))

    @cached_property
    def record(self) -> RolloutStore:
        """Where rollouts are written down: Consul where it is named, else a file of this user."""
        if self._is_in_consul:
            from release_agent.rollout.record.consul import ConsulRolloutStore

            return ConsulRolloutStore(self._consul(), self._arguments.prefix)
        from release_agent.rollout.record.file import FileRolloutStore, default_path

        return FileRolloutStore(default_path(self._environ))

    def watch(self, rollout: Rollout) -> Watch:
        """Return who watches hosts between waves: Consul where the hosts come from it, else their agents."""
        agents = AskAgents(self.client_of)
        if not rollout.service:
            return agents
        from release_agent.rollout.inventory.consul import sick

        consul = self._consul()
        return AskConsul(lambda: sick(consul, rollout.service), agents)

    @cached_property
    def console(self) -> Console:
        """Where it is seen: a table on a terminal, a line each transition off it, JSON where that is asked for."""
        from release_agent.rollout.console.lines import Json, Lines

        if self._arguments.json:
            return Json()
        if sys.stdout.isatty() and sys.stdin.isatty():
            from release_agent.rollout.console.table import Table  # rich

            return Table()
        return Lines()

    def again(self, rollout: Rollout, verb: str) -> str:
        """Return the command of a verb that goes on with a rollout."""
        words = ["release-agent", "rollout", verb, rollout.id]
        if self._is_in_consul and not self._environ.get(Variable.CONSUL_HTTP_ADDR):
            words.append("--consul")
        user, password_file = self.user or rollout.user, self.password_file or rollout.password_file
        if user:
            words += ["--user", user, "--password-file", password_file]
        if self._arguments.prefix != DEFAULT_PREFIX:
            words += ["--prefix", self._arguments.prefix]
        return shlex.join(words)
