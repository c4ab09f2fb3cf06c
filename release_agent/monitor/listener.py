"""Supervisor's event listener protocol."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO


_OK = "RESULT 2\nOK"


def listen(events: TextIO, answers: TextIO, on_event: Callable[[str], None]) -> None:
    """Answer supervisor's event listener protocol until it closes; ``on_event`` must not block.

    Nothing but the protocol may be written to ``answers``.
    """
    while True:
        answers.write("READY\n")
        answers.flush()
        header = events.readline()
        if not header:
            return
        fields = dict(pair.split(":", 1) for pair in header.split())
        events.read(int(fields["len"]))
        on_event(fields["eventname"])
        answers.write(_OK)
        answers.flush()


class Wakeups:
    """Events for the thread that looks; those that come while it works count as one."""

    def __init__(self) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue(maxsize=1)

    def put(self, event: str | None) -> None:
        """Note an event; None is the last one."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            if event is None:
                self._queue.put(event)

    def get(self) -> str | None:
        """Wait for the next event."""
        return self._queue.get()
