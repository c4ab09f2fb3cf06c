"""Run a name server of the tests, and programs that use it: in a mount namespace with another /etc/resolv.conf."""

from __future__ import annotations

import itertools
import os
import queue
import shlex
import socket
import threading
import time
from contextlib import suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

_PORT = 53
_HEADER = 12  # bytes
_A = b"\x00\x01"
_ONE_ANSWER, _NO_ANSWER = b"\x81\x80\x00\x01\x00\x01", b"\x81\x80\x00\x01\x00\x00"
_numbers = itertools.count(1)


class NameServer:
    """Answers over UDP with given addresses; a name without an address gets no answer."""

    def __init__(self, addresses: Mapping[str, str | None], *, together: int = 0, seconds: float = 0.0) -> None:
        """``together``: answer only after questions for so many names; ``seconds``: the time that each answer takes."""
        self._addresses = addresses
        self._together = together
        self._seconds = seconds
        self._answers: queue.SimpleQueue[tuple[float, bytes, tuple[str, int]]] = queue.SimpleQueue()
        self._waiting: dict[str, list[tuple[bytes, tuple[str, int]]]] = {}
        self._silent = threading.Event()
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        # Use an address of its own in 127.0.0.0/8, because resolv.conf has no ports.
        self.address = f"127.53.{os.getpid() % 250 + 1}.{next(_numbers)}"
        self._socket.bind((self.address, _PORT))
        for work in (self._serve, self._send):
            threading.Thread(target=work, daemon=True).start()

    def close(self) -> None:
        """Stop."""
        self._socket.close()

    def asked_by(self, command: Sequence[str], resolv_conf: Path) -> list[str]:
        """Return a command that runs another with this as its only name server."""
        resolv_conf.write_text(f"nameserver {self.address}\noptions timeout:1 attempts:2\n")
        within = f"mount --bind {shlex.quote(str(resolv_conf))} /etc/resolv.conf && exec {shlex.join(command)}"
        return ["unshare", "--mount", "sh", "-c", within]

    def _serve(self) -> None:
        while True:
            try:
                question, client = self._socket.recvfrom(512)
            except OSError:
                return
            self._waiting.setdefault(_name_in(question), []).append((question, client))
            if len(self._waiting) >= self._together:
                self._answer()

    def _answer(self) -> None:
        for name, questions in self._waiting.items():
            address = self._addresses.get(name, "")
            for question, client in questions if address is not None else []:
                self._answers.put((time.monotonic() + self._seconds, _reply(question, address), client))
            questions.clear()

    def _send(self) -> None:
        """Send each answer when it is due; the queue has them in this order."""
        while True:
            due, answer, client = self._answers.get()
            time.sleep(max(0.0, due - time.monotonic()))
            with suppress(OSError):  # closed
                self._socket.sendto(answer, client)


def _name_in(question: bytes) -> str:
    labels, at = [], _HEADER
    while question[at]:
        labels.append(question[at + 1 : at + 1 + question[at]].decode())
        at += question[at] + 1
    return ".".join(labels)


def _reply(question: bytes, address: str) -> bytes:
    """Return the answer. An empty address, and any question except for an IPv4 address, has none."""
    end = question.index(b"\0", _HEADER) + 5
    asked = question[_HEADER:end]
    head = question[:2]
    if not address or asked[-4:-2] != _A:
        return head + _NO_ANSWER + bytes(4) + asked
    return head + _ONE_ANSWER + bytes(4) + asked + b"\xc0\x0c\x00\x01\x00\x01\x00\x00\x00\x00\x00\x04" + socket.inet_aton(address)
