"""Calls to supervisor's XML-RPC."""

from __future__ import annotations

import base64
import http.client
import socket
import xmlrpc.client
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from release_agent.services.faults import check_url, of_failure, of_fault
from release_agent.system.urls import Address
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Mapping


_CALL_TIMEOUT = 10.0


class _UnixConnection(http.client.HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("localhost", timeout=_CALL_TIMEOUT)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(self._path)


class _Transport(xmlrpc.client.Transport):
    """One connection a call, with a time-out: supervisor's own has none, and stays broken after a failed connect."""

    def __init__(self, url: str, credentials: str) -> None:
        super().__init__()
        self._url = url
        if credentials:
            self._extra_headers = [("Authorization", f"Basic {base64.b64encode(credentials.encode()).decode()}")]

    def make_connection(self, host: Any) -> http.client.HTTPConnection:
        if self._url.startswith("unix://"):
            return _UnixConnection(self._url.removeprefix("unix://"))
        return http.client.HTTPConnection(host, timeout=_CALL_TIMEOUT)

    def close(self) -> None:
        """Do nothing: each call closes its own connection."""


class Rpc:
    """Calls to one supervisord."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        """``url``: ``unix:///path`` or ``http://host:port``.

        Credentials come from the environment, which outranks those in a URL.
        """
        given = Address.of(url or environ.get(Variable.SUPERVISOR_SERVER_URL, ""))
        self.url = given.url
        user = environ.get(Variable.SUPERVISOR_USERNAME, "")
        login = (user, environ.get(Variable.SUPERVISOR_PASSWORD, "")) if user else given.login
        self._credentials = ":".join(login) if login else ""

    def __call__(self, method: str, *arguments: object) -> Any:
        """Call ``supervisor.METHOD``, or a method of another namespace.

        Raises SupervisorGone if supervisor does not answer or is shutting down, Failed (supervisor-refused)
        if it lets nobody in or is something else, and xmlrpc.client.Fault for any other refusal.
        """
        check_url(self.url)
        place = "http://localhost" if self.url.startswith("unix://") else self.url
        proxy = xmlrpc.client.ServerProxy(place, transport=_Transport(self.url, self._credentials))
        try:
            return getattr(proxy, method if "." in method else f"supervisor.{method}")(*arguments)
        except xmlrpc.client.Fault as fault:
            if meant := of_fault(self.url, method, fault):
                raise meant from fault
            raise
        except (xmlrpc.client.Error, ExpatError, OSError, http.client.HTTPException) as error:
            raise of_failure(self.url, error) from error
