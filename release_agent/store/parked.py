"""The parked release: one that ``keep`` let go, as its commits have it. The next release is made of its files.

What is parked is whole and durable, or it has no note: then the next run removes it. Its note goes before its files
change, so a power cut cannot leave a note beside files of another release.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.model import is_release_name
from release_agent.store.notes import ReleaseNotes
from release_agent.system.disk import is_directory, is_open, sync_directory

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.model import Release


class ParkedRelease:
    """The place of the parked release; there is one at most."""

    def __init__(self, directory: Path, incoming: Path) -> None:
        """``directory``: nobody but the agent may enter it. ``incoming``: where notes are written first."""
        self.directory = directory
        self._notes = ReleaseNotes(directory, incoming)

    def get(self) -> Release | None:
        """Return what is parked, or None."""
        if not is_open(self.directory):  # also to somebody who only looks
            return None
        names = [path.name for path in self.directory.iterdir() if is_release_name(path.name) and is_directory(path)]
        found = [release for release in map(self._notes.get, names) if release]
        return found[0] if len(found) == 1 else None

    def place(self, release: Release) -> Path:
        """Return where its files are."""
        return self.directory / release.name

    def remains(self) -> list[Path]:
        """Return what a killed run left: everything that does not belong to a parked release; raises OSError."""
        release = self.get()
        known = {release.name, f"{release.name}.json"} if release else set()
        return [path for path in self.directory.iterdir() if path.name not in known]

    def adopt(self, release: Release, directory: Path) -> None:
        """Take a directory, durable and as the release's commits have it; raises OSError, Failed (disk-full, root-unusable)."""
        directory.rename(self.place(release))
        # Without the note a power cut leaves what the next run removes.
        sync_directory(self.directory)
        self._notes.save(release)

    def give(self, release: Release, place: Path) -> None:
        """Move its files to a place where they may be changed; raises OSError."""
        self._notes.remove(release.name)
        sync_directory(self.directory)
        self.place(release).rename(place)
