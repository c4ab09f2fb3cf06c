"""Write the progress of the newest run into a file, for clients that follow the run.

The first line is the id of the run that holds the lock. Then come events, in order: the output of hooks, each phase at
its end, and a journal that the run cannot use. The file also has the events of a run that this run recovers.
The file is not a record, and no run depends on it: the journal keeps each hook's last output.
Only the standard library is imported: supervisord loads this module.
"""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from release_agent.system.disk import require_regular

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

PHASE_FINISHED = "phase.finished"
JOURNAL_UNUSABLE = "journal.unusable"
_EVENTS = ("hook.", "room.", "revision.awaited", JOURNAL_UNUSABLE, PHASE_FINISHED)
_LONG = "hook.output"  # the only event whose number depends on hooks
_MOST = 1 << 20  # bytes that a run may write
_FOR_OTHERS = 1 << 16  # of these bytes, reserved for other events than lines of hooks
_PIECE = 1 << 16  # bytes of one read


class RunOutput:
    """Writes the events of one run's hooks and phases as lines of JSON, until it fails or reaches its limit."""

    def __init__(self, place: Path, deployment: str, redact: Callable[[str], str]) -> None:
        """Make no file before the first event; ``deployment``: the id of the run."""
        self._place = place
        self._deployment = deployment
        self._redact = redact
        self._descriptor: int | None = None
        self._left = _MOST

    def take(self, event: Mapping[str, object]) -> None:
        """Write an event for clients, best effort: a full disk or a removed file does not harm the run."""
        if not str(event["event"]).startswith(_EVENTS):
            return
        told = {name: self._redact(value) if isinstance(value, str) else value for name, value in event.items()}
        line = json.dumps(told, default=repr).encode() + b"\n"
        if self._left - (_FOR_OTHERS if event["event"] == _LONG else 0) < len(line):
            return
        self._left -= len(line)
        try:
            self._write(line)
        except OSError:
            self._left = 0

    def _write(self, line: bytes) -> None:
        if self._descriptor is None:
            # Make a new file each time, because an earlier hook may have replaced it.
            self._place.unlink(missing_ok=True)
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC
            self._descriptor = os.open(self._place, flags, 0o640)
            os.write(self._descriptor, f"{self._deployment}\n".encode())
        os.write(self._descriptor, line)

    def close(self) -> None:
        """Close the file."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


def read(place: Path, deployment: str, after: int) -> tuple[list[dict[str, Any]], int]:
    """Return the events of a deployment after ``after`` bytes, up to 64 KiB of them, and the offset of their end.

    There are none if the file is missing, is not regular or belongs to another run. A client may pass the offset of
    another run's file; the file of this run is then read from its start.
    """
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError:
        return [], 0
    own = f"{deployment}\n".encode()
    try:
        require_regular(descriptor, place)
        if os.pread(descriptor, len(own), 0) != own:
            return [], 0
        after = max(after, len(own))
        data = os.pread(descriptor, _PIECE, after)
        if b"\n" not in data:  # an event that is larger than one read; the limit of the file also limits it
            data = os.pread(descriptor, _MOST, after)
    except OSError:
        return [], 0
    finally:
        os.close(descriptor)
    whole = data[: data.rfind(b"\n") + 1]
    events = [event for event in map(_parsed, whole.splitlines()) if event.get("id") == deployment]
    return events, after + len(whole)


def _parsed(line: bytes) -> dict[str, Any]:
    try:
        event = json.loads(line)
    except (ValueError, RecursionError):  # a hook may have written into the file
        return {}
    return event if isinstance(event, dict) and _is_readable(event) else {}


def _is_readable(event: dict[str, Any]) -> bool:
    """Return whether an event has the members that clients read."""
    if event.get("event") == PHASE_FINISHED:
        return isinstance(event.get("phase"), str) and isinstance(event.get("seconds"), int | float)
    return isinstance(event.get("event"), str)
