"""Supervisor's event listener protocol."""

from __future__ import annotations

import queue
from typing import TYPE_CHECKING

from release_agent.errors import Code, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import TextIO


_OK = "RESULT 2\nOK"
_LONGEST = 1 << 20  # characters of a header, and of the event after it; that of a log line, the longest, has 128 KiB
_SHOWN = 60


def listen(events: TextIO, answers: TextIO, on_event: Callable[[str], None]) -> None:
    """Answer supervisor's event listener protocol until it closes; ``on_event`` must not block.

    Only the protocol may be written to ``answers``. Raises Misconfigured if the input is not an event of supervisor.
    """
    while _say(answers, "READY\n") and (header := events.readline(_LONGEST)):
        name, size = _event(header)
        events.read(size)
        on_event(name)
        if not _say(answers, _OK):
            return


def _say(answers: TextIO, text: str) -> bool:
    """Write to supervisor; returns False if it has gone."""
    try:
        answers.write(text)
        answers.flush()
    except OSError:
        return False
    return True


def _event(header: str) -> tuple[str, int]:
    """Return the name of an event and the size of its body; raises Misconfigured."""
    fields = {name: value for name, _, value in (pair.partition(":") for pair in header.split())}
    name, size = fields.get("eventname", ""), fields.get("len", "")
    if not name or not (size.isascii() and size.isdigit()) or len(size) > len(str(_LONGEST)) or int(size) > _LONGEST:
        raise Misconfigured(
            Code.MISCONFIGURED,
            f"stdin has {header[:_SHOWN].strip()!r}, which is not an event of supervisor",
            hint="let supervisor start the monitor as an event listener: include supervisor.d/monitor.conf",
        )
    return name, int(size)


class Wakeups:
    """Events for the thread that looks; the events during its work count as one."""

    def __init__(self) -> None:
        self._queue: queue.Queue[str | None] = queue.Queue(maxsize=1)

    def put(self, event: str | None) -> None:
        """Add an event; None is the last one."""
        try:
            self._queue.put_nowait(event)
        except queue.Full:
            if event is None:
                self._queue.put(event)

    def get(self, timeout: float | None = None) -> str | None:
        """Wait for the next event; raises queue.Empty after ``timeout`` seconds."""
        return self._queue.get(timeout=timeout)
