"""Calls to supervisor's XML-RPC."""

from __future__ import annotations

import base64
import http.client
import socket
import xmlrpc.client
from typing import TYPE_CHECKING, Any
from xml.parsers.expat import ExpatError

from release_agent.errors import Code, Failed, SupervisorGone

if TYPE_CHECKING:
    from collections.abc import Mapping


URL_VARIABLE = "SUPERVISOR_SERVER_URL"
_CALL_TIMEOUT = 10.0
_UNKNOWN_METHOD, _SHUTDOWN_STATE, NOT_RUNNING, ALREADY_STARTED = 1, 6, 70, 60  # supervisor.xmlrpc.Faults
_UNAUTHORIZED = 401


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
        """Nothing is kept open."""


class Rpc:
    """Calls to one supervisord. SupervisorGone where it does not answer, or is shutting down."""

    def __init__(self, url: str, environ: Mapping[str, str]) -> None:
        """``url``: ``unix:///path`` or ``http://host:port``; credentials come from the environment."""
        self.url = url or environ.get(URL_VARIABLE, "")
        user = environ.get("SUPERVISOR_USERNAME", "")
        self._credentials = f"{user}:{environ.get('SUPERVISOR_PASSWORD', '')}" if user else ""

    def __call__(self, method: str, *arguments: object) -> Any:
        """Call ``supervisor.METHOD``, or a method of another namespace; raises xmlrpc.client.Fault for a refusal."""
        if not self.url:
            raise SupervisorGone(
                Code.SUPERVISOR_UNREACHABLE,
                f"no supervisor to talk to: neither [supervisor] url nor {URL_VARIABLE} is set",
                hint=f"set [supervisor] url, or export {URL_VARIABLE}=unix:///run/supervisor.sock; under supervisord it is set",
            )
        if not self.url.startswith(("unix:///", "http://")):
            why = "is no URL: it must be unix:///path or http://host:port"
            raise self._no_supervisor(why)
        place = "http://localhost" if self.url.startswith("unix://") else self.url
        proxy = xmlrpc.client.ServerProxy(place, transport=_Transport(self.url, self._credentials))
        try:
            return getattr(proxy, method if "." in method else f"supervisor.{method}")(*arguments)
        except xmlrpc.client.Fault as fault:
            if fault.faultCode == _SHUTDOWN_STATE:
                raise SupervisorGone(
                    Code.SUPERVISOR_UNREACHABLE, "supervisor is shutting down", hint="`boot` goes on when it is back"
                ) from fault
            if fault.faultCode == _UNKNOWN_METHOD and "." not in method:
                why = f"does not know supervisor.{method}"
                raise self._no_supervisor(why) from fault
            raise
        except xmlrpc.client.ProtocolError as error:
            raise self._refused(error) from error
        except (ExpatError, xmlrpc.client.ResponseError) as error:
            why = f"does not speak XML-RPC: {error}"
            raise self._no_supervisor(why) from error
        except (OSError, http.client.HTTPException) as error:
            raise SupervisorGone(
                Code.SUPERVISOR_UNREACHABLE,
                f"supervisor at {self.url} does not answer: {error or type(error).__name__}",
                hint="is supervisord running, and may this user use its socket? `release-agent doctor` looks",
            ) from error

    def _no_supervisor(self, why: str) -> Failed:
        return Failed(
            Code.SUPERVISOR_REFUSED,
            f"what is at {self.url} is no supervisor with [rpcinterface:supervisor]: it {why}",
            hint=f"mend [supervisor] url or {URL_VARIABLE}, or supervisord's own configuration",
        )

    def _refused(self, error: xmlrpc.client.ProtocolError) -> Failed:
        if error.errcode == _UNAUTHORIZED:
            return Failed(
                Code.SUPERVISOR_REFUSED,
                f"supervisor at {self.url} wants a user and a password",
                hint="set SUPERVISOR_USERNAME and SUPERVISOR_PASSWORD in the program's environment",
            )
        return Failed(
            Code.SUPERVISOR_REFUSED,
            f"supervisor at {self.url} answered {error.errcode} {error.errmsg}",
            hint="is that supervisor's URL?",
        )
