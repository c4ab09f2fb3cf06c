"""Call one Consul agent's HTTP API through py-consul, without the faults of that library."""

from __future__ import annotations

import os
import socket
import ssl
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import Response
    from requests.adapters import HTTPAdapter

CALL_TIMEOUT = 2.0
_LONGEST_REASON = 500
_PORTS = {"http": 80, "https": 443}  # of an address without a port, as in the command `consul`


class ConsulError(Exception):
    """A call to Consul failed; the text says why."""


class ConsulClient:
    """Calls to one Consul agent, as the CONSUL_* variables say; connects at the first call.

    py-consul uses HTTP_PROXY for loopback too, drops the token on some calls, inverts
    CONSUL_HTTP_SSL_VERIFY and raises requests' exceptions: none of that leaves this class.
    """

    def __init__(self, environ: Mapping[str, str], timeout: float = CALL_TIMEOUT) -> None:
        """``timeout``: seconds that one call may take to connect, and to answer."""
        self._environ = environ
        self._timeout = timeout
        self._client: Any = None  # of py-consul; replaced after an error of transport

    def reachable(self) -> None:
        """Raise ConsulError if the agent does not answer or knows no leader."""
        if not self.leader():
            message = "Consul has no leader"
            raise ConsulError(message)

    def leader(self) -> str:
        """Return the leader's address, or ``""`` if there is none; raises ConsulError."""
        leader = self.call(lambda consul: consul.status.leader())
        if not isinstance(leader, str):
            message = f"what answers is no Consul agent: {leader!r:.80}"
            raise ConsulError(message)
        return leader

    def call(self, call: Callable[[Any], Any]) -> Any:
        """Return what ``call`` makes of a py-consul client; raises ConsulError."""
        import consul  # 120 ms, in the thread that talks to Consul
        import requests

        try:
            if self._client is None:
                self._client = self._connect()
            # Read before each call: the file may have been rotated. Set in the session: some calls drop the token.
            self._client.http.session.headers["X-Consul-Token"] = _token(self._environ)
            return call(self._client)
        except requests.RequestException as error:
            self._client = None  # the certificates may have been rotated as well
            raise ConsulError(_explain(error, self._timeout)) from error
        except (consul.ConsulException, ValueError) as error:
            raise ConsulError(_explain(error, self._timeout)) from error

    def _connect(self) -> Any:
        import consul

        scheme, host, port = address(self._environ)
        if scheme == "unix":
            client = consul.Consul(host="localhost", scheme="http", verify=True, connections_timeout=self._timeout)
            adapter = _unix_adapter(host, self._timeout)
        else:
            client = consul.Consul(host=host, port=port, scheme=scheme, verify=True, connections_timeout=self._timeout)
            adapter = _tcp_adapter(scheme, host, port, self._environ)
        client.token = None  # py-consul has read CONSUL_HTTP_TOKEN, which the token file outranks
        session = client.http.session
        session.trust_env = False
        session.hooks["response"].append(_refuse_strangers)
        session.mount(f"{client.scheme}://", adapter)
        return client


def address(environ: Mapping[str, str] = os.environ) -> tuple[str, str, int]:
    """Read CONSUL_HTTP_ADDR and CONSUL_HTTP_SSL as HashiCorp's tools do: scheme, host, port; or ``unix``, path, 0."""
    given = environ.get(Variable.CONSUL_HTTP_ADDR) or "127.0.0.1:8500"
    if given.startswith("unix://") and given.removeprefix("unix://"):
        return "unix", given.removeprefix("unix://"), 0
    parts = urlsplit(given if "://" in given else f"//{given}")
    if parts.scheme not in ("", "http", "https") or not parts.hostname or parts.path.strip("/"):
        message = f"CONSUL_HTTP_ADDR is {given}; it must be host:port, http://host:port, https://host:port or unix:///path"
        raise ValueError(message)
    # As with HashiCorp's tools, http:// does not undo CONSUL_HTTP_SSL.
    scheme = "https" if _flag(environ, Variable.CONSUL_HTTP_SSL, default=False) else parts.scheme or "http"
    host = f"[{parts.hostname}]" if ":" in parts.hostname else parts.hostname
    return scheme, host, parts.port or _PORTS[scheme]


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "").lower()
    if value not in ("", "1", "t", "true", "0", "f", "false"):
        message = f"{name} is {value}; it must be true or false"
        raise ValueError(message)
    return value in ("1", "t", "true") if value else default


def _refuse_strangers(answer: Response, **_: object) -> None:
    """Raise ConsulError for a redirection, which would get the token, and a web page, which would pass for success."""
    if answer.is_redirect or answer.headers.get("Content-Type", "").startswith("text/html"):
        message = f"what answers is no Consul agent: {answer.status_code} {answer.reason}"
        raise ConsulError(message)


def _tcp_adapter(scheme: str, host: str, port: int, environ: Mapping[str, str]) -> HTTPAdapter:
    import urllib3

    if scheme == "http":
        return _adapter(urllib3.HTTPConnectionPool(host, port))
    context = _tls(environ)
    if context.verify_mode == ssl.CERT_NONE:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the operator chose this
    name = environ.get(Variable.CONSUL_TLS_SERVER_NAME) or None
    return _adapter(urllib3.HTTPSConnectionPool(host, port, ssl_context=context, server_hostname=name))


def _unix_adapter(path: str, timeout: float) -> HTTPAdapter:
    import urllib3
    from urllib3.connection import HTTPConnection

    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(path)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    return _adapter(Pool("localhost"))


def _adapter(pool: Any) -> HTTPAdapter:
    """Make requests use this pool and its TLS: its own adapter knows no Unix sockets, and trusts its own authorities only."""
    from requests.adapters import HTTPAdapter

    class Adapter(HTTPAdapter):
        def get_connection_with_tls_context(self, *_: object, **__: object) -> Any:
            return pool

        def get_connection(self, *_: object, **__: object) -> Any:
            return pool

        def cert_verify(self, *_: object, **__: object) -> None:
            """Do nothing: the pool's TLS context verifies."""

    return Adapter()


def _tls(environ: Mapping[str, str]) -> ssl.SSLContext:
    """Return a context with the trusted authorities (default: the system's) and the client's certificate; raises ConsulError."""
    file, folder = environ.get(Variable.CONSUL_CACERT), environ.get(Variable.CONSUL_CAPATH)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    if file:
        _load(Variable.CONSUL_CACERT, file, context.load_verify_locations)
    elif folder:
        for one in sorted(path for path in Path(folder).rglob("*") if path.is_file()):
            _load(Variable.CONSUL_CAPATH, str(one), context.load_verify_locations)
    else:
        context.load_default_certs()
    certificate, key = environ.get(Variable.CONSUL_CLIENT_CERT), environ.get(Variable.CONSUL_CLIENT_KEY)
    if bool(certificate) != bool(key):
        message = "CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY must be given both"
        raise ConsulError(message)
    if certificate:
        _load(Variable.CONSUL_CLIENT_CERT, certificate, lambda path: context.load_cert_chain(path, key))
    if not _flag(environ, Variable.CONSUL_HTTP_SSL_VERIFY, default=True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load(variable: str, file: str, load: Callable[[str], None]) -> None:
    try:
        load(file)
    except OSError as error:  # ssl.SSLError is one
        message = f"cannot use {variable} {file}: {error.strerror or error}"
        raise ConsulError(message) from error


def _token(environ: Mapping[str, str]) -> str:
    file = environ.get(Variable.CONSUL_HTTP_TOKEN_FILE)
    token = ""
    if file:
        try:
            token = Path(file).read_text(encoding="utf-8", errors="replace").strip()
        except OSError as error:
            message = f"cannot read CONSUL_HTTP_TOKEN_FILE {file}: {error.strerror}"
            raise ConsulError(message) from error
    token = token or environ.get(Variable.CONSUL_HTTP_TOKEN, "")
    if not (token.isascii() and token.isprintable()):
        message = "what CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN holds is no token"  # the message of requests would show it
        raise ConsulError(message)
    return token


def _explain(error: Exception, timeout: float) -> str:
    kind, said = type(error).__name__, " ".join(str(error).split())[:_LONGEST_REASON]
    if kind == "ACLPermissionDenied":
        return f"Consul refused the token: {said}; docs/consul.md has the policy it needs"
    if kind in ("ReadTimeout", "ConnectTimeout"):
        return f"Consul did not answer within {timeout:g} s"
    cause: BaseException | None = error
    while cause:
        if isinstance(cause, ssl.SSLCertVerificationError):
            return f"Consul's certificate is not trusted: {cause.verify_message}; CONSUL_CACERT names the authorities that are"
        if isinstance(cause, ssl.SSLError):
            return f"TLS with Consul failed: {cause.reason or cause}"
        # urllib3 does not always set __cause__ to the error that it wraps.
        cause = cause.__cause__ or next((one for one in cause.args if isinstance(one, Exception)), None) or cause.__context__
    return "Consul cannot be connected to" if kind == "ConnectionError" else said
