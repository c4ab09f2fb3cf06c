"""One Consul agent, through py-consul: what that leaves open is closed here."""

from __future__ import annotations

import json
import os
import socket
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from release_agent.config import App, Consul
    from release_agent.model import Release

CALL_TIMEOUT = 2.0
_LONGEST_OUTPUT = 4000  # Consul cuts at 4096 bytes
_NO_ROUTE = ("192.0.2.1", 9)  # TEST-NET-1, RFC 5737: nothing is sent, the kernel only picks a source address


class ConsulError(Exception):
    """What kept Consul from being told."""


@dataclass(frozen=True)
class Status:
    """What the health check is to say."""

    state: str
    output: str


class ConsulAgent:
    """One Consul agent: what py-consul leaves open is closed here.

    Its HTTP_PROXY for loopback, its tokens dropped on some calls, its inverted
    CONSUL_HTTP_SSL_VERIFY and requests' exceptions stay inside.
    """

    def __init__(self, settings: Consul, app: App, environ: Mapping[str, str]) -> None:
        """Nothing is connected to yet; addresses, token and TLS come from the CONSUL_* variables."""
        self._settings = settings
        self._app = app
        self._environ = environ
        self._service = f"release-agent:{app.name}:{app.host}"
        self._check = f"service:{self._service}"
        self._client: Any = None

    @property
    def key(self) -> str:
        """The host's own key in KV."""
        app = self._app
        return f"{self._settings.prefix}/{app.environment}/{app.name}/hosts/{app.host}"

    def leader(self) -> str:
        """Return the leader's address; empty where there is none."""
        return str(self._call(lambda consul: consul.status.leader()) or "")

    def status(self) -> Status | None:
        """Return what our check says, or None where Consul knows none."""
        checks = self._call(lambda consul: consul.agent.checks()) or {}
        check = checks.get(self._check)
        return Status(check["Status"], check["Output"]) if check else None

    def register(self, release: Release | None, status: Status, ttl: float) -> None:
        """Register the service with its check; one that is there keeps its state."""
        app = self._app
        revision = release.revision if release else ""
        meta = {
            "release": release.name if release else "",
            "revision": revision,
            "commit": ",".join(release.commits.values())[:512] if release else "",
            "environment": app.environment,
            "rpc_url": app.rpc_url,
        }
        check = {
            "CheckID": self._check,
            "Name": f"release of {app.name}",
            "TTL": f"{ttl:g}s",
            "Status": status.state,
            "DeregisterCriticalServiceAfter": f"{self._settings.deregister_after:g}s",
        }
        self._call(
            lambda consul: consul.agent.service.register(
                app.name,
                service_id=self._service,
                address=app.address or own_address(),
                port=app.port or None,
                tags=[tag for tag in (app.environment, revision) if tag],
                meta=meta,
                check=check,
            )
        )

    def update(self, status: Status) -> bool:
        """Set the check and renew its TTL; False where Consul does not know it (it forgets with its data)."""
        ways = {"passing": "ttl_pass", "warning": "ttl_warn", "critical": "ttl_fail"}
        output = status.output[:_LONGEST_OUTPUT]
        try:
            return bool(self._call(lambda consul: getattr(consul.agent.check, ways[status.state])(self._check, output)))
        except ConsulError as error:
            if "TTL" in str(error) or "Unknown check" in str(error):
                return False
            raise

    def put(self, record: Mapping[str, Any]) -> None:
        """Write the host's record."""
        self._call(lambda consul: consul.kv.put(self.key, json.dumps(record, sort_keys=True)))

    def reachable(self) -> None:
        """Raise ConsulError where the agent does not answer, or has no leader."""
        if not self.leader():
            message = "Consul has no leader"
            raise ConsulError(message)

    def _call(self, call: Callable[[Any], Any]) -> Any:  # noqa: ANN401 - whatever Consul answers
        import consul  # noqa: PLC0415 - 120 ms, in the thread that talks
        import requests  # noqa: PLC0415

        try:
            if self._client is None:
                self._client = self._connect()
            return call(self._client)
        except (consul.ConsulException, requests.RequestException, ValueError) as error:
            raise ConsulError(_explain(error)) from error

    def _connect(self) -> Any:  # noqa: ANN401 - py-consul has no types
        import consul  # noqa: PLC0415

        scheme, host, port = address(self._environ)
        client = consul.Consul(
            host=host,
            port=port,
            scheme=scheme,
            verify=_verify(self._environ),
            cert=_certificate(self._environ),
            connections_timeout=CALL_TIMEOUT,
        )
        session = client.http.session
        session.trust_env = False
        # Once for all calls: some drop it. By itself it reads CONSUL_HTTP_TOKEN, over which the file is to win.
        client.token = None
        token = _token(self._environ)
        if token:
            session.headers["X-Consul-Token"] = token
        return client


def address(environ: Mapping[str, str] = os.environ) -> tuple[str, str, int]:
    """Read CONSUL_HTTP_ADDR and CONSUL_HTTP_SSL as HashiCorp's tools do: scheme, host, port."""
    given = environ.get("CONSUL_HTTP_ADDR") or "127.0.0.1:8500"
    parts = urlsplit(given if "://" in given else f"//{given}")
    tls = environ.get("CONSUL_HTTP_SSL", "").lower() in ("1", "true")
    scheme = parts.scheme or ("https" if tls else "http")
    if scheme not in ("http", "https") or not parts.hostname:
        message = f"CONSUL_HTTP_ADDR is {given}; it must be host:port, http://host:port or https://host:port"
        raise ValueError(message)
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return scheme, host, parts.port or 8500


def _verify(environ: Mapping[str, str]) -> bool | str:
    if environ.get("CONSUL_HTTP_SSL_VERIFY", "").lower() in ("0", "false"):
        return False
    return environ.get("CONSUL_CACERT") or True


def _certificate(environ: Mapping[str, str]) -> tuple[str, str] | None:
    certificate, key = environ.get("CONSUL_CLIENT_CERT"), environ.get("CONSUL_CLIENT_KEY")
    return (certificate, key) if certificate and key else None


def _token(environ: Mapping[str, str]) -> str:
    file = environ.get("CONSUL_HTTP_TOKEN_FILE")
    if not file:
        return environ.get("CONSUL_HTTP_TOKEN", "")
    try:
        return Path(file).read_text(encoding="utf-8").strip()
    except OSError as error:
        message = f"cannot read CONSUL_HTTP_TOKEN_FILE {file}: {error.strerror}"
        raise ConsulError(message) from error


def own_address() -> str:
    """Return the address this container has towards others; empty where it has none."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect(_NO_ROUTE)
        except OSError:
            return ""
        return str(probe.getsockname()[0])


def _explain(error: Exception) -> str:
    kind = type(error).__name__
    if kind == "ACLPermissionDenied":
        return f"Consul refused the token: {error}; docs/consul.md has the policy it needs"
    if kind in ("ReadTimeout", "ConnectTimeout"):
        return f"Consul did not answer within {CALL_TIMEOUT:g} s"
    if kind == "ConnectionError":
        return "Consul cannot be connected to"
    return str(error)
