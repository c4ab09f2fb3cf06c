"""Choose one inventory, and hosts in it."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory import hosts
from release_agent.rollout.model import same_supervisor

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from release_agent.consul.client import ConsulClient
    from release_agent.rollout.inventory.hosts import Fleet
    from release_agent.rollout.model import InventoryHost


@dataclass(frozen=True)
class InventoryChoice:
    """The source of hosts, exactly one of the first four fields, and the filters."""

    hosts: Sequence[str] = ()
    consul: str = ""  # a service of Consul's catalog
    fleet: str = ""  # the path of a fleet.toml
    maestro: str = ""  # the path of a maestro-ng file
    services: Sequence[str] = ()  # services of the maestro-ng file
    environment: str = ""  # for hosts from Consul, as the next two
    tags: Sequence[str] = ()
    meta: Sequence[str] = ()  # KEY=VALUE
    limit: Sequence[str] = ()  # patterns, as in ``exclude``
    exclude: Sequence[str] = ()

    @property
    def is_whole(self) -> bool:
        """Return whether no host is left out; an environment in Consul is a separate fleet."""
        # A service of a maestro-ng file is a part, because services may be of one application.
        return not (self.hosts or self.services or self.tags or self.meta or self.limit or self.exclude)


def choose(
    choice: InventoryChoice, fleet: Fleet | None, consul: Callable[[], ConsulClient], environ: Mapping[str, str]
) -> list[InventoryHost]:
    """Return the chosen hosts; ``fleet``: the content of ``choice.fleet``.

    Raises Misconfigured for an ambiguous choice, an inventory that cannot be read, and if no host is left.
    """
    _check(choice)
    chosen = hosts.select(_all(choice, fleet, consul, environ), choice.limit, choice.exclude)
    urls = Counter(host.url for host in chosen)
    twice = [f"{host.name} ({host.url})" for host in chosen if urls[host.url] > 1]
    if twice:
        raise same_supervisor(twice)
    return chosen


def _check(choice: InventoryChoice) -> None:
    if bool(choice.hosts) == bool(choice.consul or choice.fleet or choice.maestro):
        raise Misconfigured(
            Code.INVENTORY_INVALID,
            "hosts must come from one place: named one by one, or by one of --consul, --fleet and --maestro",
            hint="release-agent rollout start v1.4.2 10.0.0.11 10.0.0.12:9001",
        )
    filters = (
        ("service", choice.services, "maestro", choice.maestro),
        ("tag", choice.tags, "consul", choice.consul),
        ("meta", choice.meta, "consul", choice.consul),
        ("environment", choice.environment, "consul", choice.consul),
    )
    for name, given, inventory, is_chosen in filters:
        if given and not is_chosen:
            raise Misconfigured(
                Code.INVENTORY_INVALID,
                f"--{name} chooses among the hosts of --{inventory}, which is not given",
                hint="use --limit: it chooses among hosts of any source, by name, service=PATTERN or zone=PATTERN",
            )


def _all(
    choice: InventoryChoice, fleet: Fleet | None, consul: Callable[[], ConsulClient], environ: Mapping[str, str]
) -> list[InventoryHost]:
    if fleet:
        return list(fleet.targets)
    if choice.maestro:
        from release_agent.rollout.inventory import maestro  # imports a template engine

        return maestro.read(Path(choice.maestro), choice.services, environ=environ)
    if choice.consul:
        from release_agent.rollout.inventory import consul as catalog

        meta = hosts.pairs(choice.meta)
        return catalog.targets(consul(), choice.consul, environment=choice.environment, tags=choice.tags, meta=meta)
    return hosts.from_arguments(choice.hosts)
