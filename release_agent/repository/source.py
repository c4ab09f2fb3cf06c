"""Resolve, read and write all repositories of the configuration together: one revision, one commit of each."""

from __future__ import annotations

import os
import shutil
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.errors import Code, Refused
from release_agent.model import Kind, Target
from release_agent.repository.files import beside, put_right, take_away
from release_agent.repository.git import GitRepository
from release_agent.repository.part import ATTRIBUTES
from release_agent.repository.revision import check_revision, is_nameable
from release_agent.system.disk import explained

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from release_agent.config.sections import Repository
    from release_agent.repository.difference import TreeDifference
    from release_agent.system.clock import Clock
    from release_agent.system.sharing import Sharing


@dataclass(frozen=True)
class SourceDifference:
    """The difference between two releases; ``size`` and ``files``: the bytes and the number of the new files.

    ``parts``: each repository with its place, its difference, and the newer commit.
    """

    parts: Sequence[tuple[GitRepository, str, TreeDifference, str]]
    size: int
    files: int

    @property
    def paths(self) -> list[str]:
        """The paths in the release of all files that are added or removed."""
        return [
            path if place == "." else f"{place}/{path}"
            for _, place, difference, _ in self.parts
            for path in dict.fromkeys((*difference.gone, *(entry.path for entry in difference.come)))
        ]

    def apply(self, directory: Path) -> None:
        """Turn the files of the older release, exactly as write() left them, into those of the newer one; raises Failed."""
        for repository, place, difference, commit in self.parts:
            repository.checkout.update(difference, commit, directory / place)


class GitSource:
    """All repositories of the configuration: one revision, one commit of each."""

    def __init__(self, repositories: Sequence[Repository], scratch: Path, clock: Clock) -> None:
        """``scratch``: a directory for the views, which close() removes; the first use of each repository reads it.

        ``clock``: the time limits of git, and the signals that stop it.
        """
        self._scratch = scratch
        self._clock = clock
        self._place: tuple[int, int] | None = None
        with suppress(OSError):  # it is missing, or this user may not enter the directory above it
            self._place = _identity(scratch.stat())
        self.repositories = [GitRepository(repository, scratch, clock) for repository in repositories]
        self._into = {repository.name: repository.into for repository in repositories}

    def look_again(self) -> None:
        """Drop all cached answers of the repositories, because somebody may have fetched."""
        for repository in self.repositories:
            repository.look_again()

    def tags(self) -> set[str]:
        """Return the union of the repositories' tags, without those whose name no deployment could use."""
        return {tag for repository in self.repositories for tag in repository.tags() if is_nameable(tag)}

    def resolve(self, revision: str, kinds: Sequence[Kind]) -> Target:
        """Resolve a revision to one commit of each repository, as the first of ``kinds`` that any repository has.

        Raises Refused with the name of the repository that lacks it.
        """
        check_revision(revision)
        for kind in kinds:
            found = {repository.name: repository.find(revision, kind) for repository in self.repositories}
            if any(found.values()):
                return Target(revision, kind, self._commits(revision, kind, found))
        what = " or ".join(kinds) if len(kinds) < len(Kind) else "tag, branch or commit"
        raise Refused(
            Code.REVISION_UNKNOWN,
            f"no {what} {revision} in {self._places([r.name for r in self.repositories])}",
            hint=self._newest_hint(),
        )

    def verify_signatures(self, target: Target, allowed_signers: str, revoked_signers: str = "") -> dict[str, str]:
        """Return the signers of the target by repository.

        Raises Refused unless the target is a tag that an allowed signer signed in every repository, with a valid key.
        """
        signers = {}
        for repository in self.repositories:
            if target.kind is not Kind.TAG:
                raise Refused(
                    Code.TAG_UNSIGNED,
                    f"{target.revision} is a {target.kind}; only signed tags are deployed here",
                    hint="name a signed tag, or set [revision] signed = false",
                )
            object_id = repository.find(target.revision, Kind.TAG) or ""
            name = repository.verify_signature(target.revision, object_id, allowed_signers, revoked_signers)
            signers[repository.name] = name
        return signers

    def read(self, commits: dict[str, str], path: str) -> dict[str, str]:
        """Return a file at the root of each repository whose commit has it, by the repository's name."""
        texts = {r.name: r.read(commits[r.name], path) for r in self.repositories}
        return {name: text for name, text in texts.items() if text is not None}

    def programs(self, commits: Mapping[str, str], repository: str, pattern: str) -> dict[str, str]:
        """Return the texts of a repository's programs by path; ``pattern``: a path with a shell pattern in its last name.

        Raises Failed (programs-invalid) for unreadable files.
        """
        (named,) = (each for each in self.repositories if each.name == repository)
        return named.matching(commits[repository], pattern)

    def identities(self, commits: Mapping[str, str]) -> dict[str, str]:
        """Return the identity of the content by repository: the commit, or the tree of the part; raises Refused."""
        return {repository.name: repository.identity(commits[repository.name]) for repository in self.repositories}

    def size(self, commits: dict[str, str]) -> tuple[int, int]:
        """Return the size of a release of these commits: bytes, and number of files."""
        sizes = [repository.size(commits[repository.name]) for repository in self.repositories]
        return sum(size for size, _ in sizes), sum(files for _, files in sizes)

    def changes(self, old: dict[str, str], new: dict[str, str]) -> dict[str, dict[str, object]]:
        """Return the commits between two releases, ``{"count", "back", "subjects"}`` by each repository that has any."""
        both = [r for r in self.repositories if r.name in old and r.name in new and old[r.name] != new[r.name]]
        found = {repository.name: repository.changes(old[repository.name], new[repository.name]) for repository in both}
        return {name: vars(changes) for name, changes in found.items() if changes}

    def write(self, commits: dict[str, str], directory: Path) -> None:
        """Write every repository's commit into its place in ``directory``; raises Failed."""
        for repository in self.repositories:
            place = directory / self._into[repository.name]
            place.mkdir(parents=True, exist_ok=True)
            repository.checkout.write(commits[repository.name], place)

    def difference(
        self, old: Mapping[str, str], into: Mapping[str, str] | None, new: Mapping[str, str]
    ) -> SourceDifference | None:
        """Return the difference between two releases of these commits; None if one cannot be made from the other's files.

        ``into``: the place of each repository in the older one. Raises Refused.
        """
        if into != self._into or old.keys() != self._into.keys() or not all(map(self._has, old.items())):
            return None
        changed = [r for r in self.repositories if old[r.name] != new[r.name]]
        parts = [(r, self._into[r.name], r.difference(old[r.name], new[r.name]), new[r.name]) for r in changed]
        # Changed attributes may also convert unchanged files, which the difference does not contain.
        if any(ATTRIBUTES in difference.names() for _, _, difference, _ in parts):
            return None
        if any(r.attributes(old[r.name]) != r.attributes(new[r.name]) for r in changed):
            return None
        size = sum(repository.size_of(difference.come) for repository, _, difference, _ in parts)
        return SourceDifference(parts, size, sum(len(difference.come) for _, _, difference, _ in parts))

    def _has(self, commit: tuple[str, str]) -> bool:
        """Return whether a repository, by name, still has a commit: git may have collected the commits of a rewritten branch."""
        return any(r.name == commit[0] and r.find(commit[1], Kind.COMMIT) for r in self.repositories)

    def share(self, commits: Mapping[str, str], old: Path, directory: Path, sharing: Sharing) -> int:
        """Write every repository's commit, sharing the files that an older release also has; returns the number of written files.

        ``old``: that release, with its repositories in the same places. Raises Failed, Refused.
        """
        written = 0
        for repository in self.repositories:
            place = self._into[repository.name]
            with explained(directory):
                (directory / place).mkdir(parents=True, exist_ok=True)
            written += repository.checkout.share(commits[repository.name], old / place, directory / place, sharing)
        return written

    def restore(self, commits: Mapping[str, str], directory: Path) -> None:
        """Restore a release to the result of write(), after any changes of programs and hooks; raises Failed, Refused."""
        with explained(directory):
            for repository in self.repositories:
                put_right(directory, self._into[repository.name], repository.checkout.rights)
            take_away(directory, beside(directory, list(self._into.values()), self._clock), self._clock)
            for repository in self.repositories:
                (directory / self._into[repository.name]).mkdir(parents=True, exist_ok=True)
        for repository in self.repositories:
            repository.checkout.restore(commits[repository.name], directory / self._into[repository.name])

    def drift(
        self,
        commits: dict[str, str],
        directory: Path,
        into: Mapping[str, str] | None = None,
        only: Collection[str] | None = None,
    ) -> dict[str, str]:
        """Return the differences from the commits: the digest of the present content, by path within the release.

        ``into``: the place of each repository, from the release's note; then files beside the repositories also
        count. Without ``into`` the places come from the configuration. ``only``: the paths that can differ, if
        they are known. Raises Refused.
        """
        places = into or self._into
        known = {repository.name: repository for repository in self.repositories}
        found = beside(directory, list(places.values()), self._clock) if into else {}
        for name, place in places.items():
            if name not in commits or name not in known:
                raise _not_comparable(name, configured=name in known)
            known[name].commit(commits[name], commits[name])
            inside = None if only is None else _inside(place, only)
            drift = {} if inside == [] else known[name].drift(commits[name], directory / place, inside or ())
            found.update({path if place == "." else f"{place}/{path}": digest for path, digest in drift.items()})
        return found

    def close(self) -> None:
        """Remove the views; if a run is killed, the next one removes them.

        If a hook has replaced their directory, by a link for example, the replacement stays.
        """
        for repository in self.repositories:
            repository.close()
        try:
            descriptor = os.open(self._scratch, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:
            return
        try:
            with suppress(OSError):  # no descriptor or no memory is free
                if _identity(os.fstat(descriptor)) == self._place:
                    for name in [entry.name for entry in os.scandir(descriptor)]:
                        if name.startswith("view-"):
                            shutil.rmtree(name, ignore_errors=True, dir_fd=descriptor)
        finally:
            os.close(descriptor)

    def _commits(self, revision: str, kind: Kind, found: dict[str, str | None]) -> dict[str, str]:
        missing = [name for name, object_id in found.items() if object_id is None]
        if missing:
            raise Refused(
                Code.REPOSITORY_INCOMPLETE,
                f"{kind} {revision} is missing in {self._places(missing)}; a release needs the same name in every repository",
                hint=f"make {revision} in each repository, or name a revision that all of them have",
            )
        commits = {r.name: r.commit(found[r.name] or "", revision) for r in self.repositories}
        self.identities(commits)  # raises if one lacks its part
        return commits

    def _places(self, names: Sequence[str]) -> str:
        places = [f"{r.name} ({r.path})" for r in self.repositories if r.name in names]
        return ("repository " if len(places) == 1 else "repositories ") + ", ".join(places)

    def _newest_hint(self) -> str:
        tags = sorted(self.tags())[-3:]
        known = f"existing tags: {', '.join(tags)}" if tags else "there are no tags"
        return f"{known}; fetch the repository"


def _inside(place: str, paths: Collection[str]) -> list[str] | None:
    """Return the paths within a repository's place; None if one of them is the place itself, or above it."""
    if place == ".":
        return list(paths)
    if any(f"{place}/".startswith(f"{path}/") for path in paths):
        return None
    return [path.removeprefix(f"{place}/") for path in paths if path.startswith(f"{place}/")]


def _identity(there: os.stat_result) -> tuple[int, int]:
    return there.st_dev, there.st_ino


def _not_comparable(name: str, *, configured: bool) -> Refused:
    """Make the error for a release and a configuration with different repositories."""
    if configured:
        what, hint = f"no commit of repository {name}", "deploy again; the release was built before the repository was added"
    else:
        what, hint = f"repository {name}, which is no longer configured", "configure a repository of this name, or deploy again"
    return Refused(Code.REPOSITORY_INCOMPLETE, f"the release has {what}", hint=hint)
