"""Call supervisor over XML-RPC."""

from __future__ import annotations

import base64
import http.client
import socket
import time
import xmlrpc.client
from typing import TYPE_CHECKING, Any

from release_agent.services.faults import check_url, of_failure, of_fault
from release_agent.system.urls import Address
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping


_CALL_TIMEOUT = 10.0  # seconds for a whole call, even if its answer is slow
_LARGEST = 16 << 20  # bytes of an answer
_PIECE = 64 << 10


class _TimedSocket(socket.socket):
    """A socket with a deadline for all reads; a time-out would start again with each byte."""

    deadline = 0.0

    def recv_into(self, *arguments: Any) -> int:
        left = self.deadline - time.monotonic()
        if left <= 0:
            message = f"no whole answer within {_CALL_TIMEOUT:g} s"
            raise TimeoutError(message)
        self.settimeout(left)
        return super().recv_into(*arguments)


class _Connection(http.client.HTTPConnection):
    """A connection to a port, or to a Unix socket at ``path``."""

    def __init__(self, host: str, path: str) -> None:
        super().__init__(host, timeout=_CALL_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        deadline = time.monotonic() + _CALL_TIMEOUT
        if self._path:
            plain = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
            plain.settimeout(_CALL_TIMEOUT)
            plain.connect(self._path)
        else:
            plain = socket.create_connection((self.host, self.port), _CALL_TIMEOUT)
        self.sock = _TimedSocket(fileno=plain.detach())
        self.sock.settimeout(_CALL_TIMEOUT)
        self.sock.deadline = deadline


class _Transport(xmlrpc.client.Transport):
    """One connection per call, with limits; supervisor's own transport has no limits, and stays broken after a failed connect."""

    accept_gzip_encoding = False

    def __init__(self, url: str, credentials: str) -> None:
        super().__init__()
        self._path = url.removeprefix("unix://") if url.startswith("unix://") else ""
        if credentials:
            self._extra_headers = [
                ("Authorization", f"Basic {base64.b64encode(credentials.encode(errors='surrogateescape')).decode()}")
            ]

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        return _Connection(host, self._path)

    def parse_response(self, response: Any) -> Any:
        """Read an answer, up to its limit; raises ValueError beyond it."""
        parser, unmarshaller = self.getparser()
        size = 0
        while piece := response.read(_PIECE):
            size += len(piece)
            if size > _LARGEST:
                message = f"an answer of more than {_LARGEST} bytes"
                raise ValueError(message)
            parser.feed(piece)
        if response.length:  # the answer was cut: supervisor went away
            message = "the connection was closed in the middle of an answer"
            raise ConnectionError(message)
        parser.close()
        return unmarshaller.close()

    def close(self) -> None:
        """Do nothing: each call closes its own connection."""


class Rpc:
    """Calls to one supervisord."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        """``url``: ``unix:///path`` or ``http://host:port``.

        Credentials come from the environment, which takes precedence over those in a URL.
        """
        given = Address.of(url or environ.get(Variable.SUPERVISOR_SERVER_URL, ""))
        self.url = given.url
        user = environ.get(Variable.SUPERVISOR_USERNAME, "")
        login = (user, environ.get(Variable.SUPERVISOR_PASSWORD, "")) if user else given.login
        self._credentials = ":".join(login) if login else ""

    def __call__(self, method: str, *arguments: object) -> Any:
        """Call ``supervisor.METHOD``, or a method of another namespace.

        Raises SupervisorGone if supervisor does not answer or is shutting down. Raises Failed (supervisor-refused)
        if it refuses the user or is another program. Raises xmlrpc.client.Fault for any other refusal.
        """
        check_url(self.url)
        place = "http://localhost" if self.url.startswith("unix://") else self.url
        try:
            proxy = xmlrpc.client.ServerProxy(place, transport=_Transport(self.url, self._credentials))
            return getattr(proxy, method if "." in method else f"supervisor.{method}")(*arguments)
        except xmlrpc.client.Fault as fault:
            if meant := of_fault(self.url, method, fault):
                raise meant from fault
            raise
        # Python's parser of XML-RPC raises any error for bad input: KeyError, TypeError, expat's own errors …
        except Exception as error:
            raise of_failure(self.url, error) from error
