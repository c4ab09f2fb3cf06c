"""Clients that request the shop's front page all the time, and count the answers and the failures."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable

CLIENTS = 4
PAUSE = 0.005
TIMEOUT = 10.0
# Failures nearer to each other than this belong to the same gap.
SAME_GAP = 0.25


@dataclass(frozen=True)
class Answer:
    """The result of one request: the version that answered it, or the error."""

    at: float
    version: str = ""
    error: str = ""


def get(port: int, path: str = "/") -> str:
    """Ask the web service once, over a new connection; raises OSError or HTTPException."""
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=TIMEOUT)
    try:
        connection.request("GET", path)
        response = connection.getresponse()
        text = response.read().decode().strip()
    finally:
        connection.close()
    if response.status != http.client.OK:
        message = f"status {response.status}"
        raise http.client.HTTPException(message)
    return text


class Load:
    """Load for the length of a ``with`` block."""

    def __init__(self, port: int) -> None:
        """Prepare the clients; they send no request before the ``with`` block."""
        self._port = port
        self._answers: list[Answer] = []
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._ask, daemon=True) for _ in range(CLIENTS)]

    def __enter__(self) -> Self:
        """Start the clients, and return when there is traffic."""
        for client in self._clients:
            client.start()
        self.let_run()
        return self

    def __exit__(self, *_: object) -> None:
        """Stop the clients."""
        self._over.set()
        for client in self._clients:
            client.join()

    def let_run(self, answered: int = 200) -> None:
        """Return when so many more requests were answered, or after ten seconds."""
        enough = self._count(bool) + answered
        deadline = time.monotonic() + 10
        while self._count(bool) < enough and time.monotonic() < deadline:
            time.sleep(0.02)

    @property
    def failed(self) -> int:
        """The number of requests that were not answered."""
        return self._count(lambda version: not version)

    def summary(self) -> str:
        """Return a line with the number of answers of each version, and of failures."""
        by_version = Counter(answer.version for answer in self._answers if answer.version)
        versions = ", ".join(f"{count} by {version}" for version, count in sorted(by_version.items()))
        return f"{by_version.total()} requests answered ({versions}), {self.failed} failed{self._gaps()}"

    def _count(self, wanted: Callable[[str], bool]) -> int:
        return sum(1 for answer in list(self._answers) if wanted(answer.version))

    def _gaps(self) -> str:
        failed = sorted((answer for answer in self._answers if answer.error), key=lambda answer: answer.at)
        if not failed:
            return ""
        gaps = [[failed[0]]]
        for answer in failed[1:]:
            if answer.at - gaps[-1][-1].at > SAME_GAP:
                gaps.append([])
            gaps[-1].append(answer)
        why = ", ".join(sorted({answer.error for answer in failed}))
        lengths = " and ".join(f"{gap[-1].at - gap[0].at:.2f} s" for gap in gaps)
        return f" ({why}) in {'gaps' if gaps[1:] else 'a gap'} of {lengths}"

    def _ask(self) -> None:
        while not self._over.wait(PAUSE):
            at = time.monotonic()
            try:
                version = get(self._port).partition(":")[0]
            except (OSError, http.client.HTTPException) as error:
                self._answers.append(Answer(at, error=_describe(error)))
            else:
                self._answers.append(Answer(at, version))


def _describe(error: Exception) -> str:
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    if isinstance(error, ConnectionError):
        return "connection reset"
    if isinstance(error, http.client.IncompleteRead):
        return "answer cut short"
    return f"no answer in {TIMEOUT:g} s" if isinstance(error, TimeoutError) else str(error)
