"""The inventory of Consul's catalog: every host that reports there, and its health."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from release_agent.config.load import describe
from release_agent.config.readers import WrongValueError
from release_agent.consul.connection import ConsulError
from release_agent.errors import Code, Misconfigured, RecordUnreachable
from release_agent.health import HealthState
from release_agent.rollout.host.rpc import PATH
from release_agent.rollout.inventory import hosts
from release_agent.rollout.model import InventoryHost
from release_agent.text import count_of

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Mapping

    from release_agent.config.schema import Problem
    from release_agent.consul.client import ConsulClient

_OWN = "release-agent:"  # the start of its services' ids: release-agent:APP:HOST
_CRITICAL = f'Status == "{HealthState.CRITICAL}"'


def targets(
    client: ConsulClient,
    service: str,
    *,
    environment: str = "",
    tags: Collection[str] = (),
    meta: Mapping[str, str] | None = None,
) -> list[InventoryHost]:
    """Return the hosts of a service that fulfil every filter, by name.

    ``tags``: all of them must be there; ``meta``: each key must have that value. Raises
    Misconfigured (fleet-empty, inventory-invalid), RecordUnreachable if Consul does not answer.
    """
    registered = _registered(client, service)
    wanted = {**(meta or {}), **({"environment": environment} if environment else {})}
    chosen = [
        entry
        for entry in registered
        if set(tags) <= set(entry["ServiceTags"] or ()) and wanted.items() <= (entry["ServiceMeta"] or {}).items()
    ]
    if not chosen:
        raise _empty(service, len(registered), tags, wanted)
    found = {_host(entry): _url(entry) for entry in chosen}
    _refuse_without_url(service, sorted(name for name, url in found.items() if not url))
    _refuse_ambiguous(chosen)
    return _at_addresses(service, sorted(found.items()))


def sick(client: ConsulClient, service: str, environment: str) -> dict[str, str]:
    """Return the hosts of an environment whose own check is critical, with the reasons.

    Maintenance mode does not make a host unhealthy; only its own check counts. Consul sends only the critical
    ones, so that a repeated question costs little for any number of hosts. Raises OSError if Consul does
    not answer.
    """
    try:
        checks = _ask(client, f"/v1/health/checks/{service}", filter=_CRITICAL)
        own = [check for check in checks if check["CheckID"] == f"service:{check['ServiceID']}" and _is_own(check)]
        # A check has no meta. The first tag of a host's service is its environment: see ConsulAgent.register.
        here = [check for check in own if (check["ServiceTags"] or ())[:1] == [environment]]
        return {_host(check): check["Output"].strip() or "without a reason" for check in here}
    except ConsulError as error:
        raise ConnectionError(str(error)) from error


def _registered(client: ConsulClient, service: str) -> list[dict[str, Any]]:
    try:
        return [entry for entry in _ask(client, f"/v1/catalog/service/{service}") if _is_own(entry)]
    except ConsulError as error:
        raise RecordUnreachable(
            Code.RECORD_UNREACHABLE,
            f"cannot ask Consul for the hosts of {service}: {error}",
            hint="fix Consul, or the CONSUL_* variables (docs/guides/consul.md), or name the hosts yourself or in --fleet FILE",
        ) from error


def _ask(client: ConsulClient, path: str, **parameters: str) -> list[dict[str, Any]]:
    found = client.get(path, **parameters)
    if not isinstance(found, list) or not all(isinstance(one, dict) and isinstance(one.get("ServiceID"), str) for one in found):
        message = f"the answer is not from Consul: {found!r:.80}"
        raise ConsulError(message)
    return found


def _is_own(entry: dict[str, Any]) -> bool:
    identity = str(entry["ServiceID"])
    return identity.startswith(_OWN) and identity.count(":") > 1


def _host(entry: dict[str, Any]) -> str:
    return str(entry["ServiceID"].split(":", 2)[2])


def _url(entry: dict[str, Any]) -> str:
    return str((entry["ServiceMeta"] or {}).get("rpc_url", ""))


def _empty(service: str, registered: int, tags: Collection[str], meta: Mapping[str, str]) -> Misconfigured:
    asked = [f"tag {tag}" for tag in tags] + [f"{key}={value}" for key, value in meta.items()]
    if registered:
        message = f"service {service} has {count_of(registered, 'host')} in Consul, but none with {', '.join(asked)}"
        return Misconfigured(
            Code.FLEET_EMPTY, message, hint=f"`consul catalog nodes -service={service} -detailed` shows the hosts"
        )
    filters = f" (asked for: {', '.join(asked)})" if asked else ""
    return Misconfigured(
        Code.FLEET_EMPTY,
        f"no host of a service {service} reports to this Consul{filters}",
        hint="check the name ([app] name), the datacenter, and the token: without the right to read the service it sees no hosts",
    )


def _refuse_without_url(service: str, names: list[str]) -> None:
    if names:
        raise Misconfigured(
            Code.INVENTORY_INVALID,
            f"the address of the RPC of {count_of(len(names), 'host')} of {service} is unknown: {', '.join(names)}",
            hint="set [app] rpc_url on each of them and deploy once, or restart its `monitor`",
        )


def _at_addresses(service: str, urls: Iterable[tuple[str, str]]) -> list[InventoryHost]:
    """Return the hosts with the addresses of their supervisors; raises Misconfigured with every problem at once."""
    problems: list[Problem] = []
    targets: list[InventoryHost] = []
    for name, url in urls:
        try:
            targets.append(InventoryHost(name, hosts.address(url.rstrip("/").removesuffix(PATH))))
        except WrongValueError as wrong:
            problems.append(hosts.no_address(name, wrong, url))
    if problems:
        raise Misconfigured(
            Code.INVENTORY_INVALID,
            describe(f"the addresses (rpc_url) of {service} in Consul", problems),
            hint="correct [app] rpc_url on each of them and deploy once, or restart its `monitor`",
        )
    return targets


def _refuse_ambiguous(chosen: list[dict[str, Any]]) -> None:
    """Refuse a host that two nodes have registered, one of them for a container that has moved."""
    places: dict[str, set[str]] = {}
    for entry in chosen:
        places.setdefault(_host(entry), set()).add(f"{_url(entry)} of node {entry['Node']}")
    twice = {name: sorted(found) for name, found in places.items() if len(found) > 1}
    if twice:
        raise Misconfigured(
            Code.INVENTORY_INVALID,
            "some hosts are registered more than once: "
            + "; ".join(f"{name} ({', '.join(found)})" for name, found in twice.items()),
            hint="give each container an [app] host of its own, or deregister the old one in Consul",
        )
