"""Call one host's supervisor over XML-RPC, with one connection per call and a time limit."""

from __future__ import annotations

import asyncio
import base64
import errno
import os
import ssl
import xmlrpc.client
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

from release_agent.errors import Code, FleetStopped
from release_agent.rollout.host.answer_xml import NO_ANSWER, read_answer
from release_agent.rollout.host.names import Names, Unresolved

if TYPE_CHECKING:
    from collections.abc import Callable

PATH = "/RPC2"
_OK, _BAD_REQUEST, _UNAUTHORISED, _SERVER_ERROR = 200, 400, 401, 500
_LARGEST = 16 << 20  # bytes of an answer
_PORTS = {"http": 80, "https": 443}


class Unreachable(Exception):
    """No valid answer. ``passing``: the host exists and may have received the call; it may answer soon."""

    def __init__(self, why: str, *, passing: bool = False) -> None:
        """Say why."""
        super().__init__(why)
        self.passing = passing


class Unauthorised(Exception):
    """The host wants another user or password."""


class Remote:
    """One host's RPC."""

    def __init__(
        self,
        url: str,
        credentials: tuple[str, str] | None,
        timeout: float = 10.0,
        *,
        names: Names | None = None,
        tls: Callable[[], ssl.SSLContext] = ssl.create_default_context,
    ) -> None:
        """``url``: http or https; ``credentials``: user and password; ``timeout``: seconds for a call, without DNS.

        ``tls`` returns the context for https: making one takes long.
        """
        parts = urlsplit(url)
        self._host = parts.hostname or ""
        self._port = parts.port or _PORTS[parts.scheme]
        self._tls = tls() if parts.scheme == "https" else None
        self._timeout = timeout
        self._names = names or Names()
        head = {"Host": parts.netloc, "Content-Type": "text/xml", "User-Agent": "release-agent"}
        if credentials:
            head["Authorization"] = "Basic " + base64.b64encode(":".join(credentials).encode()).decode()
        self._head = "".join(f"{name}: {value}\r\n" for name, value in head.items())

    async def __call__(self, method: str, *arguments: str | int | bool) -> Any:
        """Call a method; raises Unreachable, Unauthorised, and xmlrpc.client.Fault for a refusal."""
        body = xmlrpc.client.dumps(arguments, method).encode()
        heard = False
        try:
            addresses = await self._names.addresses(self._host)
            async with asyncio.timeout(self._timeout):
                reader, writer = await self._connected(addresses)
                heard = True
                try:
                    # HTTP/1.0: the answer ends with the connection.
                    writer.write(f"POST {PATH} HTTP/1.0\r\n{self._head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
                    status, text = await _answer(reader)
                finally:
                    writer.close()
        except Unresolved as error:
            raise Unreachable(str(error), passing=error.passing) from error
        except TimeoutError as error:
            message = f"no answer within {self._timeout:g} s"
            raise Unreachable(message, passing=True) from error  # or the host's queue of new connections is full
        except (OSError, EOFError) as error:
            _refuse_own_fault(error)
            raise Unreachable(_words(error), passing=heard) from error
        except (ValueError, IndexError, asyncio.LimitOverrunError) as error:
            message = f"it does not speak HTTP: {error}"
            raise Unreachable(message) from error
        if status == _UNAUTHORISED:
            message = "it wants another user or password"
            raise Unauthorised(message)
        if status != _OK:
            message = f"it answers HTTP {status}{_wish(status) if self._tls else ''}"
            raise Unreachable(message, passing=status >= _SERVER_ERROR)
        try:
            return read_answer(text)
        except NO_ANSWER as error:
            message = f"it does not speak XML-RPC: {error}"
            raise Unreachable(message) from error

    async def _connected(self, addresses: list[str]) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        """Connect to the first of a host's addresses that takes the connection; each has a share of the time."""
        try:
            for address in addresses[:-1]:
                with suppress(OSError):  # also TimeoutError
                    async with asyncio.timeout(self._timeout / len(addresses)):
                        return await self._open(address)
                self._names.defer(self._host, address)
            return await self._open(addresses[-1])
        except BaseException:
            self._names.forget(self._host)
            raise

    async def _open(self, address: str) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        name = self._host if self._tls else None  # the certificate must be for this name
        return await asyncio.open_connection(address, self._port, ssl=self._tls, server_hostname=name, limit=_LARGEST)


def _wish(status: int) -> str:
    # nginx answers with this status if the client shows no certificate.
    return "; it may want a certificate (--client-cert)" if status == _BAD_REQUEST else ""


async def _answer(reader: asyncio.StreamReader) -> tuple[int, bytes]:
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    status = int(head[0].split()[1])
    lengths = [line.partition(":")[2] for line in head[1:] if line.lower().startswith("content-length:")]
    if not lengths:
        return status, await _rest(reader)
    length = int(lengths[0])
    if not 0 <= length <= _LARGEST:
        message = f"Content-Length is {length}, and at most {_LARGEST} is accepted"
        raise ValueError(message)
    return status, await reader.readexactly(length)


async def _rest(reader: asyncio.StreamReader) -> bytes:
    """Return everything until the end of the connection."""
    try:
        await reader.readexactly(_LARGEST + 1)
    except asyncio.IncompleteReadError as end:
        return end.partial
    message = f"the answer has more than {_LARGEST} bytes"
    raise ValueError(message)


def _refuse_own_fault(error: OSError | EOFError) -> None:
    """Raise FleetStopped if this machine has no descriptors left, which is no fault of a host."""
    if isinstance(error, OSError) and error.errno in (errno.EMFILE, errno.ENFILE):
        raise FleetStopped(
            Code.FLEET_STOPPED,
            f"too many hosts at a time: {os.strerror(error.errno)}",
            hint="lower --parallel, or raise `ulimit -n`",
        ) from error


def _words(error: OSError | EOFError) -> str:
    if isinstance(error, ssl.SSLCertVerificationError):
        return f"its certificate is not trusted: {error.verify_message}"
    if isinstance(error, EOFError):
        return "it closed the connection without an answer"
    # asyncio replaces the system's message.
    said = os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror
    return str(said or error) or type(error).__name__
