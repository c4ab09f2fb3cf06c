"""Call one Consul agent's HTTP API through py-consul, without the faults of that library."""

from __future__ import annotations

import json
import ssl
from importlib import import_module
from typing import TYPE_CHECKING, Any

from release_agent.consul.connection import ConsulError, Deadline, address, login, place, tcp_adapter, token, unix_adapter
from release_agent.system.tls import tls_error

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from requests import Response

CALL_TIMEOUT = 2.0
_LARGEST = 32 << 20  # bytes of an answer: the records of a fleet of thousands
_PIECE = 1 << 16
_LONGEST_REASON = 500
_CONFLICT = 409


class ConsulClient:
    """Calls to one Consul agent, as the CONSUL_* variables say; connects at the first call.

    py-consul uses HTTP_PROXY also for loopback, drops the token on some calls, inverts
    CONSUL_HTTP_SSL_VERIFY and raises requests' exceptions. This class hides these faults.
    """

    def __init__(self, environ: Mapping[str, str], timeout: float = CALL_TIMEOUT) -> None:
        """``timeout``: seconds for one call to connect, and to answer."""
        self._environ = environ
        self._timeout = timeout
        self._deadline = Deadline()
        self._client: Any = None  # py-consul's client; replaced after a transport error

    def reachable(self) -> None:
        """Raise ConsulError if the agent does not answer or knows no leader."""
        if not self.leader():
            message = "Consul has no leader"
            raise ConsulError(message)

    def leader(self) -> str:
        """Return the leader's address, or ``""`` if there is none; raises ConsulError."""
        leader = self.get("/v1/status/leader")
        if not isinstance(leader, str):
            message = f"the answer is not from a Consul agent: {leader!r:.80}"
            raise ConsulError(message)
        return leader

    def warm_up(self) -> None:
        """Import py-consul, which takes 120 ms; for a thread that can wait."""
        import_module("consul")

    def get(self, path: str, **parameters: object) -> Any:
        """Return the JSON at a path of the API, None for a 404; raises ConsulError."""
        return self._call(lambda http: http.get(_reader(), path, params=list(parameters.items())))

    def get_indexed(self, path: str, **parameters: object) -> Any:
        """Do as get() for a path whose answers have an index: an answer without it raises ConsulError."""
        return self._call(lambda http: http.get(_reader(indexed=True), path, params=list(parameters.items())))

    def put(self, path: str, body: object = None, **parameters: object) -> Any:
        """Write to a path of the API and return the JSON of the answer; raises ConsulError.

        Returns True for an empty success, None for a 404. ``body`` is sent as JSON; text is sent as it is.
        """
        data = body if isinstance(body, str) else json.dumps(body) if body is not None else ""
        return self._call(lambda http: http.put(_reader(), path, params=list(parameters.items()), data=data.encode()))

    def _call(self, call: Callable[[Any], Any]) -> Any:
        import consul
        import requests

        try:
            if self._client is None:
                self._client = self._connect()
            # Read the token before each call, because the file may be rotated. Set it in the session, because some calls drop it.
            self._client.http.session.headers["X-Consul-Token"] = token(self._environ)
            answer = call(self._client.http)
        except requests.RequestException as error:
            self._client = None  # the certificates may also be rotated
            raise ConsulError(self._late() or _explain(error, self._timeout, place(self._environ))) from error
        except (consul.ConsulException, ValueError, RecursionError) as error:
            raise ConsulError(self._late() or _explain(error, self._timeout, "")) from error
        except ConsulError:
            self._deadline.end()
            raise
        if late := self._late():  # an answer without a length or an end looks complete even if it was cut
            self._client = None
            raise ConsulError(late)
        return answer

    def _late(self) -> str:
        """End the call; returns the message if it was too late."""
        return f"Consul did not answer within {self._timeout:g} s" if self._deadline.end() else ""

    def _connect(self) -> Any:
        import consul

        scheme, host, port = address(self._environ)
        if scheme == "unix":
            client = consul.Consul(host="localhost", scheme="http", verify=True, connections_timeout=self._timeout)
            adapter = unix_adapter(host, self._timeout, self._deadline)
        else:
            client = consul.Consul(host=host, port=port, scheme=scheme, verify=True, connections_timeout=self._timeout)
            adapter = tcp_adapter(scheme, host, port, self._environ, self._deadline)
        client.token = None  # py-consul has read CONSUL_HTTP_TOKEN, but the token file takes precedence
        session = client.http.session
        session.trust_env = False
        session.auth = login(self._environ)
        session.hooks["response"] += [_refuse_strangers, _read_body]
        session.mount(f"{client.scheme}://", adapter)
        return client


def _reader(*, indexed: bool = False) -> Callable[[Any], Any]:
    """Return a reader of answers: JSON, True for an empty success, None for a 404, and the text of a conflict."""
    from consul.callback import CB

    def read(response: Any) -> Any:
        if response.code == _CONFLICT:  # a refused transaction gives the reason
            return json.loads(response.body)
        if not response.body and not indexed:
            return CB.boolean()(response) or None
        answer = CB.json(index=indexed)(response)
        return answer[1] if indexed else answer

    return read


def _refuse_strangers(answer: Response, **_: object) -> None:
    """Raise ConsulError for a redirection, which would get the token, or a web page, which would count as success."""
    if answer.is_redirect or answer.headers.get("Content-Type", "").startswith("text/html"):
        message = f"the answer is not from a Consul agent: {answer.status_code} {answer.reason}"
        raise ConsulError(message)


def _read_body(answer: Response, **_: object) -> None:
    """Read the answer in pieces, up to a limit that requests lacks; raises ConsulError for a larger one."""
    body = bytearray()
    for piece in answer.iter_content(_PIECE):
        body += piece
        if len(body) > _LARGEST:
            answer.close()
            message = f"the answer is not from a Consul agent: the answer is larger than {_LARGEST >> 20} MiB"
            raise ConsulError(message)
    answer._content = bytes(body)  # noqa: SLF001 - requests has no other way to pass on the content


def _explain(error: Exception, timeout: float, place: str) -> str:
    kind, said = type(error).__name__, " ".join(str(error).split())[:_LONGEST_REASON]
    if kind == "ACLPermissionDenied":
        return f"Consul refused the token: {said}; docs/guides/consul.md has the policy it needs"
    if kind in ("ReadTimeout", "ConnectTimeout"):
        return f"Consul did not answer within {timeout:g} s"
    cause = tls_error(error)
    if isinstance(cause, ssl.SSLCertVerificationError):
        return f"Consul's certificate is not trusted: {cause.verify_message}; set CONSUL_CACERT to the trusted authorities"
    if cause:
        return f"TLS with Consul failed: {cause.reason or cause}"
    return f"cannot connect to Consul at {place}" if kind == "ConnectionError" else said
