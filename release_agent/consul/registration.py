"""Register this host in Consul: its service with a check, and its record in the KV store."""

from __future__ import annotations

import json
import socket
from base64 import b64decode
from typing import TYPE_CHECKING, Any

from release_agent.consul.client import ConsulClient
from release_agent.consul.connection import ConsulError
from release_agent.consul.keys import FleetKeys
from release_agent.health import Health, HealthState

if TYPE_CHECKING:
    from collections.abc import Mapping

    from release_agent.config.sections import App, Consul
    from release_agent.model import Release

UNWATCHED_TTL = 24 * 3600.0  # seconds; only deployments renew the check
_LONGEST_OUTPUT = 4000  # Consul cuts at 4096 bytes
# Consul's answers if it does not know the check, with ACLs and without: a 500, in newer versions a 404.
_FORGOTTEN = ('Unknown check "{}"', 'CheckID "{}" does not have associated TTL')
_WAYS = {HealthState.PASSING: "pass", HealthState.WARNING: "warn", HealthState.CRITICAL: "fail"}
_OWN_HOST = "give each container an [app] host of its own"
_NO_ROUTE = ("192.0.2.1", 9)  # TEST-NET-1, RFC 5737: no packet is sent; the kernel only picks a source address


class ConsulAgent:
    """One host in Consul; every method raises ConsulError."""

    def __init__(self, settings: Consul, app: App, environ: Mapping[str, str]) -> None:
        """``environ``: its CONSUL_* variables give address, token and TLS; connects at the first call."""
        self._settings = settings
        self._app = app
        self._service = f"release-agent:{app.name}:{app.host}"
        self._check = f"service:{self._service}"
        self._consul = ConsulClient(environ)

    @property
    def ttl(self) -> float:
        """The TTL of the check in seconds, for a monitor that renews it."""
        return self._settings.ttl

    @property
    def key(self) -> str:
        """The host's own key in the KV store."""
        app = self._app
        return FleetKeys(self._settings.prefix, app.name, app.environment).host(app.host)

    @property
    def address(self) -> str:
        """The container's address, empty if it has none."""
        return self._app.address or own_address()

    def health(self) -> Health | None:
        """Return the verdict of this host's check, with its output as the only problem; None if Consul has no such check."""
        check = self._checks().get(self._check)
        return Health(HealthState(check["Status"]), (check["Output"],) if check["Output"] else ()) if check else None

    def in_maintenance(self) -> str | None:
        """Return the reason of the maintenance mode of the service or its node; None without maintenance mode.

        The node's mode is seen only if the token may read the node.
        """
        checks = self._checks()
        for check in (f"_service_maintenance:{self._service}", "_node_maintenance"):
            if check in checks:
                return str(checks[check]["Notes"]) or "no reason given"
        return None

    def register(self, release: Release | None, health: Health, ttl: float) -> None:
        """Register the service with its check, whose TTL is ``ttl`` seconds; an existing check keeps its state.

        Raises ConsulError if this container has a monitor, and another container is registered as this host, has a
        monitor and is not critical. Without a monitor, the check of an old container would stay passing for a day.
        """
        app = self._app
        is_watched = ttl < UNWATCHED_TTL
        if is_watched:
            self.require_own()
        revision = release.revision if release else ""
        meta = {
            "release": release.name if release else "",
            "revision": revision,
            "commit": ",".join(release.commits.values())[:512] if release else "",
            "environment": app.environment,
            "rpc_url": app.rpc_url,
            **({"watched": "true"} if is_watched else {}),
        }
        check = {
            "CheckID": self._check,
            "Name": f"release of {app.name}",
            "TTL": _go(ttl),
            "Status": str(health.state),
            "DeregisterCriticalServiceAfter": _go(self._settings.deregister_after),
        }
        service = {
            "Name": app.name,
            "ID": self._service,
            "Address": self.address,
            "Port": app.port,
            "Tags": [tag for tag in (app.environment, revision) if tag],
            "Meta": meta,
            "Checks": [check],
        }
        self._put("/v1/agent/service/register", service)

    def require_own(self) -> None:
        """Raise ConsulError if a container with another address is registered as this host, has a monitor and is not critical."""
        there = self._consul.get(f"/v1/agent/service/{self._service}")
        meta = there.get("Meta") if isinstance(there, dict) else None
        if not isinstance(meta, dict) or meta.get("watched") != "true":
            return
        address, other = self.address, there.get("Address")
        if not other or not address or other == address:
            return
        check = self._checks().get(self._check)
        if isinstance(check, dict) and check.get("Status") != HealthState.CRITICAL:
            app = self._app
            message = (
                f"host {app.host} of {app.name} is registered from {other}, not from {address}, and is not critical; {_OWN_HOST}"
            )
            raise ConsulError(message)

    def update(self, release: Release | None, health: Health) -> bool:
        """Set the check and renew its TTL; returns False if Consul does not know the check, as after a loss of its data."""
        way = _WAYS[health.state]
        output = (health.why or _healthy(release))[:_LONGEST_OUTPUT]
        try:
            return bool(self._consul.put(f"/v1/agent/check/{way}/{self._check}", note=output))
        except ConsulError as error:
            if any(words.format(self._check) in str(error) for words in _FORGOTTEN):
                return False
            raise

    def put(self, record: Mapping[str, Any]) -> str:
        """Write the host's record; returns a warning if it replaced the record of a container with another address.

        All Consul agents share this key, but not their services. So it shows two containers with one host name
        and different Consul agents.
        """
        other, address = self._last_address(), record.get("address")
        self._put(f"/v1/kv/{self.key}", json.dumps(record, sort_keys=True))
        if not other or not address or other == address:
            return ""
        return f"host {self._app.host} of {self._app.name} was reported from {other} before, not from {address}; {_OWN_HOST}"

    def _last_address(self) -> str:
        """Return the address in the existing record; empty if there is none, or it is not a record."""
        there = self._consul.get(f"/v1/kv/{self.key}")
        try:
            return str(json.loads(b64decode(there[0]["Value"]))["address"])
        except (TypeError, LookupError, ValueError, RecursionError):
            return ""

    def warm_up(self) -> None:
        """Import the modules of the first call; for a thread that can wait."""
        self._consul.warm_up()

    def reachable(self) -> None:
        """Raise ConsulError if the agent does not answer or knows no leader."""
        self._consul.reachable()

    def _checks(self) -> dict[str, dict[str, Any]]:
        checks = self._consul.get("/v1/agent/checks")
        if not isinstance(checks, dict):
            message = f"the answer is not from a Consul agent: {checks!r:.80}"
            raise ConsulError(message)
        return checks

    def _put(self, path: str, body: object) -> None:
        if self._consul.put(path, body) is not True:
            message = f"Consul did not accept the request to {path}"
            raise ConsulError(message)


def _healthy(release: Release | None) -> str:
    return f"{release.revision} ({release.name}) is live and healthy" if release else ""


def _go(seconds: float) -> str:
    """Write a duration in seconds as Go reads it, without an exponent."""
    return f"{round(seconds * 1000)}ms"


def own_address() -> str:
    """Return the address of this container's outgoing connections, or ``""`` if it has no route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NO_ROUTE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])
