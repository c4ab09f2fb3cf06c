"""Park one release beyond ``keep``, with the files of its commits; the next release is made from these files.

A parked release with a note is complete and durable. The next run removes one without a note. The note is removed
before the files change, so that a power cut cannot leave a note beside files of another release.
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
    """The place of the parked release; there is at most one."""

    def __init__(self, directory: Path, incoming: Path) -> None:
        """``directory``: only the agent may enter it. ``incoming``: the directory of notes before their rename."""
        self.directory = directory
        self._notes = ReleaseNotes(directory, incoming)

    def get(self) -> Release | None:
        """Return the parked release, or None."""
        if not is_open(self.directory):  # also for a user who only looks
            return None
        names = [path.name for path in self.directory.iterdir() if is_release_name(path.name) and is_directory(path)]
        found = [release for release in map(self._notes.get, names) if release]
        return found[0] if len(found) == 1 else None

    def place(self, release: Release) -> Path:
        """Return the directory of the parked release's files."""
        return self.directory / release.name

    def remains(self) -> list[Path]:
        """Return the leftovers of a killed run: everything that does not belong to a parked release; raises OSError."""
        release = self.get()
        known = {release.name, f"{release.name}.json"} if release else set()
        return [path for path in self.directory.iterdir() if path.name not in known]

    def adopt(self, release: Release, directory: Path) -> None:
        """Park a durable directory with the files of the release's commits; raises OSError, Failed (disk-full, root-unusable)."""
        directory.rename(self.place(release))
        # After a power cut without the note, the next run removes the directory.
        sync_directory(self.directory)
        self._notes.save(release)

    def give(self, release: Release, place: Path) -> None:
        """Move the parked release's files to a place where they may change; raises OSError."""
        self._notes.remove(release.name)
        sync_directory(self.directory)
        self.place(release).rename(place)
