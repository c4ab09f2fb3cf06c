"""Replace files of the root atomically, even in a crash or on a full disk."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from release_agent.system.disk import explained, sync_directory

if TYPE_CHECKING:
    from pathlib import Path


def unused_name(incoming: Path, what: str) -> Path:
    """Return an unused name in ``incoming``: neither leftovers of a killed run nor files of a hook can have it."""
    return incoming / f"{what}-{os.getpid()}-{os.urandom(8).hex()}"


def write_durably(place: Path, text: str, incoming: Path) -> None:
    """Replace a file, durable before this returns; raises Failed (disk-full, root-unusable)."""
    fresh = unused_name(incoming, "note")
    with explained(place):
        with fresh.open("x", encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
        sync_directory(place.parent)
