"""Put load on a service, and count the answers that its users get during a replacement."""

from __future__ import annotations

import http.client
import threading
import urllib.request
from contextlib import contextmanager
from typing import TYPE_CHECKING

from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator


_PAUSE = 0.01  # seconds after a failure; a connection fails at once if nobody listens
_BETWEEN = 0.01  # seconds from an answer to the next request: without it, the clients leave their servers no processor


def ask(port: int, path: str = "") -> str:
    """Ask a service once, and return the body of its answer."""
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/{path}", timeout=60) as answer:
        body: bytes = answer.read()
    return body.decode()


class Load:
    """Requests by several clients, each over a connection of its own."""

    def __init__(self, port: int, path: str = "", *, pause: float = _BETWEEN) -> None:
        """Request a path; ``pause``: seconds that each client waits before its next request."""
        self._pause = pause
        self._asked = port, path
        self._over = threading.Event()
        self._clients = [threading.Thread(target=self._go_on) for _ in range(8)]
        self.answers: list[str] = []
        self.lost: list[str] = []

    def _go_on(self) -> None:
        while not self._over.is_set():
            try:
                self.answers.append(ask(*self._asked))
                self._over.wait(self._pause)
            except (OSError, http.client.HTTPException) as error:
                self.lost.append(str(error))
                self._over.wait(_PAUSE)

    @contextmanager
    def running(self) -> Iterator[None]:
        for client in self._clients:
            client.start()
        eventually(lambda: len(self.answers) > 20, "there is load")
        try:
            yield
        finally:
            self._over.set()
            for client in self._clients:
                client.join()
