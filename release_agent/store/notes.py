"""The note of each release, ``.release-agent/releases/NAME.json``."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

from release_agent.model import Release
from release_agent.store.files import write_durably
from release_agent.system.disk import read_regular

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 64 << 20  # bytes; a note names each file that a build hook made


class ReleaseNotes:
    """The notes of all releases, from which state.db can be rebuilt."""

    def __init__(self, directory: Path, incoming: Path) -> None:
        """``incoming``: the directory in which notes are written before their rename."""
        self.directory = directory
        self._incoming = incoming

    def save(self, release: Release) -> None:
        """Write a release's note, durable before this returns; raises Failed (disk-full, root-unusable)."""
        text = json.dumps(release.to_json(), indent=1, sort_keys=True)
        write_durably(self._place(release.name), text, self._incoming)

    def get(self, name: str) -> Release | None:
        """Return the release of a note, or None if the note is missing or unreadable."""
        try:
            release = Release.from_json(json.loads(read_regular(self._place(name), _LONGEST, follow=False)))
        except (OSError, ValueError, KeyError, TypeError, AttributeError, RecursionError):
            return None
        return release if release.name == name else None

    def remove(self, name: str) -> None:
        """Remove a release's note, if it exists; raises OSError."""
        self._place(name).unlink(missing_ok=True)

    def without_release(self, names: set[str]) -> list[Path]:
        """Return everything in the directory except the notes of the releases ``names``."""
        return [note for note in self.directory.iterdir() if note.name.removesuffix(".json") not in names]

    def places(self) -> list[Path]:
        """Return all notes that this user may list."""
        return list(self.directory.glob("*.json")) if os.access(self.directory.parent, os.X_OK) else []

    def _place(self, name: str) -> Path:
        return self.directory / f"{name}.json"
