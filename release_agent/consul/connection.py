"""Connect to Consul's agent with the address, TLS and token of the CONSUL_* variables."""

from __future__ import annotations

import contextlib
import os
import socket
import ssl
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from release_agent.system.disk import read_regular
from release_agent.system.logs import LARGEST_SECRET
from release_agent.system.urls import Address
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests.adapters import HTTPAdapter

_LARGEST_PEM = 16 << 20  # bytes; the authorities of a system have less than one MiB
_PORTS = {"http": 80, "https": 443}  # default ports, as in the command `consul`


class ConsulError(Exception):
    """A call to Consul failed; the text gives the reason."""


class Deadline(threading.local):
    """The deadline of each thread's call: it shuts down the connection of a late call.

    A time-out of a socket is not enough, because it starts again with every byte.
    """

    def __init__(self) -> None:
        self._timer: threading.Timer | None = None
        self._over = threading.Event()

    def begin(self, connection: socket.socket, seconds: float) -> None:
        """Shut down the connection in so many seconds, unless end() comes first."""
        self.end()
        over = self._over = threading.Event()

        def expire() -> None:
            over.set()
            with contextlib.suppress(OSError):  # it is already closed
                connection.shutdown(socket.SHUT_RDWR)

        self._timer = threading.Timer(seconds, expire)
        self._timer.daemon = True
        self._timer.start()

    def end(self) -> bool:
        """End the call; returns whether it was late."""
        timer, self._timer = self._timer, None
        if timer is None:
            return False
        timer.cancel()
        return self._over.is_set()


def address(environ: Mapping[str, str] = os.environ) -> tuple[str, str, int]:
    """Read CONSUL_HTTP_ADDR and CONSUL_HTTP_SSL as HashiCorp's tools do: scheme, host, port; or ``unix``, path, 0."""
    given = _given(environ).url or "127.0.0.1:8500"
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


def place(environ: Mapping[str, str]) -> str:
    """Return the address of Consul for people, without credentials; raises ValueError for an invalid one."""
    scheme, host, port = address(environ)
    return f"unix://{host}" if scheme == "unix" else f"{scheme}://{host}:{port}"


def login(environ: Mapping[str, str]) -> tuple[str, str] | None:
    """Read the user and the password in CONSUL_HTTP_ADDR, which a proxy before the agent may need; None without any."""
    return _given(environ).login


def _given(environ: Mapping[str, str]) -> Address:
    return Address.of(environ.get(Variable.CONSUL_HTTP_ADDR, ""))


def _flag(environ: Mapping[str, str], name: str, *, default: bool) -> bool:
    value = environ.get(name, "").lower()
    if value not in ("", "1", "t", "true", "0", "f", "false"):
        message = f"{name} is {value}; it must be true or false"
        raise ValueError(message)
    return value in ("1", "t", "true") if value else default


def tcp_adapter(scheme: str, host: str, port: int, environ: Mapping[str, str], deadline: Deadline) -> HTTPAdapter:
    """Return an adapter that connects to a port, with TLS for https; raises ConsulError for unusable certificates."""
    import urllib3

    if scheme == "http":
        return _adapter(urllib3.HTTPConnectionPool(host, port), deadline)
    context = _tls(environ)
    if context.verify_mode == ssl.CERT_NONE:
        urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)  # the operator chose this
    name = environ.get(Variable.CONSUL_TLS_SERVER_NAME) or None
    return _adapter(urllib3.HTTPSConnectionPool(host, port, ssl_context=context, server_hostname=name), deadline)


def unix_adapter(path: str, timeout: float, deadline: Deadline) -> HTTPAdapter:
    """Return an adapter that connects to a socket; ``timeout`` in seconds."""
    import urllib3
    from urllib3.connection import HTTPConnection

    class Connection(HTTPConnection):
        def connect(self) -> None:
            self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            self.sock.settimeout(timeout)
            self.sock.connect(path)

    class Pool(urllib3.HTTPConnectionPool):
        ConnectionCls = Connection

    return _adapter(Pool("localhost"), deadline)


def _adapter(pool: Any, deadline: Deadline) -> HTTPAdapter:
    """Make requests use this pool and its TLS; its own adapter has no Unix sockets, and trusts only its own authorities."""
    from requests.adapters import HTTPAdapter

    class Bounded(pool.ConnectionCls):  # type: ignore[misc]  # of TCP, TLS or a Unix socket
        def getresponse(self) -> Any:
            deadline.begin(self.sock, self.timeout)
            return super().getresponse()

    pool.ConnectionCls = Bounded

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
        message = "CONSUL_CLIENT_CERT and CONSUL_CLIENT_KEY must both be set"
        raise ConsulError(message)
    if certificate and key:
        _load(Variable.CONSUL_CLIENT_KEY, key, lambda _: None)
        _load(Variable.CONSUL_CLIENT_CERT, certificate, lambda path: context.load_cert_chain(path, key))
    if not _flag(environ, Variable.CONSUL_HTTP_SSL_VERIFY, default=True):
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    return context


def _load(variable: str, file: str, load: Callable[[str], None]) -> None:
    try:
        read_regular(Path(file), _LARGEST_PEM)  # OpenSSL would wait for a pipe, and read an endless file
        load(file)
    except OSError as error:  # ssl.SSLError is one
        message = f"cannot use {variable} {file}: {error.strerror or error}"
        raise ConsulError(message) from error


def token(environ: Mapping[str, str]) -> str:
    """Read CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN; empty if neither is set. Raises ConsulError without the token."""
    file = environ.get(Variable.CONSUL_HTTP_TOKEN_FILE)
    found = ""
    if file:
        try:
            found = read_regular(Path(file), LARGEST_SECRET).decode(errors="replace").strip()
        except OSError as error:
            message = f"cannot read CONSUL_HTTP_TOKEN_FILE {file}: {error.strerror}"
            raise ConsulError(message) from error
    found = found or environ.get(Variable.CONSUL_HTTP_TOKEN, "")
    if not (found.isascii() and found.isprintable()):
        message = "CONSUL_HTTP_TOKEN_FILE or CONSUL_HTTP_TOKEN has no valid token"  # the message of requests would show the token
        raise ConsulError(message)
    return found
