"""The part of a repository in a release: all of it, or one directory."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from release_agent.errors import Code, Refused
from release_agent.repository import above, objects
from release_agent.repository.files import REGULAR

if TYPE_CHECKING:
    from release_agent.config.sections import Repository
    from release_agent.repository.above import Said
    from release_agent.repository.view import View

ATTRIBUTES, IGNORE = ".gitattributes", ".gitignore"


class Part:
    """Reads the part of a commit; every method raises GitFailedError, and Refused for a commit without it."""

    def __init__(self, repository: Repository, view: View) -> None:
        self._repository = repository
        self._view = view
        self._names = [name for name in repository.subdirectory.split("/") if name]
        self._ways: dict[str, list[str]] = {}

    def tree(self, commit: str) -> str:
        """Return the id of the part's tree."""
        return self._way(commit)[-1]

    def identity(self, commit: str) -> str:
        """Return an identity that two commits with the same part share: for a whole repository, the commit."""
        if not self._names:
            return commit
        said = self.attributes(commit)
        digest = [hashlib.sha256(said.encode("utf-8", "surrogateescape")).hexdigest()] if said else []
        return " ".join([self.tree(commit), *digest])

    def attributes(self, commit: str) -> str:
        """Return the attributes of the part from the directories above it."""
        return above.attributes(self._said(commit, ATTRIBUTES))

    def enter(self, commit: str) -> None:
        """Give git, for the next calls, the attributes and excludes from above the part of a commit."""
        if self._names:
            self._view.tell_of_above(self.attributes(commit), above.excludes(self._said(commit, IGNORE)))

    def _said(self, commit: str, name: str) -> list[Said]:
        """Return the text of each file of a name in the directories above, the topmost first."""
        found: list[Said] = []
        for depth, tree in enumerate(self._way(commit)[:-1]):
            entry = objects.entry_of(self._view.cat, tree, name)
            if entry and entry.mode in REGULAR:
                _, content = objects.contents(self._view.cat, [entry.object_id])[entry.object_id]
                found.append((content.decode("utf-8", "surrogateescape"), self._names[depth:]))
            elif depth == 0:
                found.append(("", self._names))
        return found

    def _way(self, commit: str) -> list[str]:
        """Return the trees from the commit's own to the part's, proved from the commit's id on."""
        if commit not in self._ways:
            way = [objects.root_tree(self._view.cat, commit)]
            for name in self._names:
                entry = objects.entry_of(self._view.cat, way[-1], name)
                if entry is None or entry.mode != objects.DIRECTORY:
                    raise self._missing(commit)
                way.append(entry.object_id)
            self._ways[commit] = way
        return self._ways[commit]

    def _missing(self, commit: str) -> Refused:
        one = self._repository
        return Refused(
            Code.SUBDIRECTORY_MISSING,
            f"commit {commit[:12]} of repository {one.name} ({one.path}) has no directory {one.subdirectory}",
            hint="name a revision that has the directory, or fix `subdirectory` of the [[repository]]",
        )
