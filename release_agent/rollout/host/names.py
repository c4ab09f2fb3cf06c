"""Look up addresses of hosts, each name in its own thread, so that a slow name server delays no other host."""

from __future__ import annotations

import asyncio
import ipaddress
import socket
import threading
from contextlib import suppress

_LIMIT = 30.0  # seconds for one name; the C library gives up after 10 with one name server
_KEPT = 60.0  # seconds; a rollout asks each host several times a minute
_UNKNOWN = (socket.EAI_NONAME, socket.EAI_NODATA)


class Unresolved(Exception):
    """A name without an address. ``passing``: no name server answers; otherwise they know no such host."""

    def __init__(self, why: str, *, passing: bool) -> None:
        """Say why."""
        super().__init__(why)
        self.passing = passing


class Names:
    """Looks up names, and keeps their addresses for a minute."""

    def __init__(self) -> None:
        self._known: dict[str, tuple[list[str], float]] = {}

    async def addresses(self, host: str) -> list[str]:
        """Return the addresses of a host, the preferred one first; a ``host`` that is an address is returned as it is.

        Raises Unresolved, and OSError if this machine cannot ask.
        """
        if _is_address(host):
            return [host]
        now = asyncio.get_running_loop().time()
        found, until = self._known.get(host, ([], 0.0))
        if now >= until:
            found = await _looked_up(host)
            self._known[host] = (found, now + _KEPT)
        return found

    def defer(self, host: str, address: str) -> None:
        """Return an address last the next times, because no host took a connection there."""
        found, until = self._known.get(host, ([], 0.0))
        self._known[host] = (sorted(found, key=lambda one: one == address), until)

    def forget(self, host: str) -> None:
        """Look up a name again the next time, because no host answered at its addresses."""
        self._known.pop(host, None)


def _is_address(host: str) -> bool:
    try:
        ipaddress.ip_address(host)
    except ValueError:
        return False
    return True


async def _looked_up(host: str) -> list[str]:
    try:
        async with asyncio.timeout(_LIMIT):
            return await _in_thread(host)
    except TimeoutError as error:
        message = f"DNS: no name server answered for {host} within {_LIMIT:g} s"
        raise Unresolved(message, passing=True) from error
    except socket.gaierror as error:
        passing = error.errno not in _UNKNOWN
        what = "no name server answers for" if passing else "there is no host"
        message = f"DNS: {what} {host} ({error.strerror})"
        raise Unresolved(message, passing=passing) from error
    except ValueError as error:  # an invalid name, such as one with a label of 100 letters
        message = f"DNS: {host} cannot be looked up: {error}"
        raise Unresolved(message, passing=False) from error


def _in_thread(host: str) -> asyncio.Future[list[str]]:
    """Look up a name in a thread without a join, because a call of the C library cannot be cancelled."""
    loop = asyncio.get_running_loop()
    done: asyncio.Future[list[str]] = loop.create_future()

    def look_up() -> None:
        found: list[str] = []
        error: Exception | None = None
        try:
            entries = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            found = list(dict.fromkeys(str(address[0]) for *_, address in entries))
        except (OSError, ValueError) as failed:
            error = failed
        with suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_tell, done, found, error)

    threading.Thread(target=look_up, daemon=True).start()
    return done


def _tell(done: asyncio.Future[list[str]], found: list[str], error: Exception | None) -> None:
    if done.cancelled():
        return
    if error:
        done.set_exception(error)
    else:
        done.set_result(found)
