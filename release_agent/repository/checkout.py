"""Write the files of one repository's commits into a directory: all of them, or the difference between two commits."""

from __future__ import annotations

import errno
import os
import re
import shlex
from contextlib import contextmanager
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed, Refused
from release_agent.repository import objects
from release_agent.repository.files import (
    MISSING,
    REGULAR,
    Expected,
    Rights,
    differing,
    digest,
    pointers,
    portions,
    take_away,
    unlike_a_checkout,
)
from release_agent.repository.part import ATTRIBUTES
from release_agent.repository.process import GitFailedError
from release_agent.system.disk import disk_full, explained, is_full
from release_agent.system.sharing import share

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence
    from pathlib import Path

    from release_agent.config.sections import Repository
    from release_agent.repository.difference import TreeDifference
    from release_agent.repository.objects import TreeEntry
    from release_agent.repository.part import Part
    from release_agent.repository.view import View
    from release_agent.system.clock import Clock
    from release_agent.system.sharing import Sharing

# Attributes that may make git convert a file, and their values that do.
_CONVERTING = ("text", "eol", "crlf", "ident", "working-tree-encoding")
_CONVERTS = re.compile(r"eol\0crlf|ident\0set|working-tree-encoding\0(?!unspecified|unset|set).*")
_LONGEST_SAYING = 500


class Checkout:
    """Writes one repository's files as a checkout of git would: modes, symlinks, line endings.

    After every method each file has the content that its commit names. Every method raises Failed and Refused.
    """

    def __init__(self, repository: Repository, part: Part, view: View, clock: Clock) -> None:
        self._repository = repository
        self._part = part
        self._view = view
        self._clock = clock

    def write(self, commit: str, directory: Path) -> None:
        """Write a commit's files into an empty directory."""
        with writing(self._repository, directory):
            entries = self._entries(commit)
            refuse_submodules(self._repository, entries)
            with self._view.index() as index:
                self._view.with_tree(index, directory, ["read-tree", "-u", "--reset", self._part.tree(commit)])
                self._prove(index, directory, entries, entries)

    def update(self, difference: TreeDifference, commit: str, directory: Path) -> None:
        """Turn the files of one commit, exactly as write() leaves them, into those of another one, ``commit``."""
        with writing(self._repository, directory):
            self._part.enter(commit)
            refuse_submodules(self._repository, difference.come)
            take_away(directory, difference.gone, self._clock)
            self._write_some(difference.come, directory)

    def share(self, commit: str, old: Path, directory: Path, sharing: Sharing) -> int:
        """Write a commit's files into an empty directory, sharing those of ``old``; returns the number of written files."""
        with writing(self._repository, directory):
            entries = self._entries(commit)
            regular = [entry.path for entry in entries if entry.mode in REGULAR]
            share(regular, old, directory, sharing, self._clock)
            return self._put_right(commit, entries, directory, shared=True)

    def restore(self, commit: str, directory: Path) -> int:
        """Restore a directory to the result of write(); returns the number of written files.

        Afterwards it shares no file with another release.
        """
        with writing(self._repository, directory):
            return self._put_right(commit, self._entries(commit), directory)

    def _entries(self, commit: str) -> list[TreeEntry]:
        self._part.enter(commit)
        return objects.files(self._view.cat, self._part.tree(commit))

    @property
    def rights(self) -> Rights:
        """The rights of a new directory: the mode, and what it inherits."""
        return Rights.of(str(self._view.new_directory), self._view.new_directory.stat())

    def _put_right(self, commit: str, entries: Sequence[TreeEntry], directory: Path, *, shared: bool = False) -> int:
        refuse_submodules(self._repository, entries)
        attributes = [entry for entry in entries if _has_attributes(entry)]
        extra, lost = unlike_a_checkout(entries, directory, Expected(self.rights, links=shared), self._hashes, self._clock)
        # A converted file cannot be compared, because its content in a checkout is not the committed one.
        converted = self._converted(entries, directory, attributes) if attributes or self._part.attributes(commit) else []
        again = {entry.path: entry for entry in (*lost, *converted)}
        take_away(directory, extra, self._clock)
        take_away(directory, again, self._clock)
        self._write_some(list(again.values()), directory, attributes)
        return len(again)

    def _converted(self, entries: Sequence[TreeEntry], directory: Path, attributes: Collection[TreeEntry]) -> list[TreeEntry]:
        """Return the files that git converts, according to the attributes files."""
        objects.check(self._view.cat, (entry.object_id for entry in attributes))
        with self._index_of(attributes, directory) as index:
            command = ["check-attr", "--cached", "--stdin", "-z", *_CONVERTING]
            told = self._view.with_tree(index, directory, command, stdin=_listed(entries)).split("\0")
        found = zip(told[::3], told[1::3], told[2::3], strict=False)
        converted = {path for path, name, value in found if _CONVERTS.fullmatch(f"{name}\0{value}")}
        return [entry for entry in entries if entry.mode in REGULAR and entry.path in converted]

    def _write_some(self, entries: Sequence[TreeEntry], directory: Path, attributes: Collection[TreeEntry] = ()) -> None:
        """Write files into a directory that has none of them; ``attributes``: files that define their conversion."""
        for some in portions(entries):
            listed = {entry.path: entry for entry in (*attributes, *some)}.values()
            with self._index_of(listed, directory) as index:
                command = ["checkout-index", "--force", "-z", "--stdin"]
                self._view.with_tree(index, directory, command, stdin=_listed(some))
                self._prove(index, directory, some, listed)

    @contextmanager
    def _index_of(self, entries: Iterable[TreeEntry], directory: Path) -> Iterator[Path]:
        """Make an index of some files."""
        with self._view.index() as index:
            told = "".join(f"{entry.mode} {entry.object_id}\t{entry.path}\0" for entry in entries)
            self._view.with_tree(index, directory, ["update-index", "-z", "--index-info"], stdin=told)
            yield index

    def _prove(self, index: Path, directory: Path, written: Sequence[TreeEntry], listed: Iterable[TreeEntry]) -> None:
        """Raise GitFailedError unless the written files of an index agree with their commit."""
        converted = differing(written, directory, self._clock)
        if converted:
            self._require_converted(index, directory, converted)
            self._write_converted(index, directory, listed, converted)
        self._refuse_pointers(index, directory, pointers(written, directory))

    def _refuse_pointers(self, index: Path, directory: Path, found: Sequence[TreeEntry]) -> None:
        """Raise Refused for the first pointer that an attribute gives to Git LFS."""
        if not found:
            return
        command = ["check-attr", "--stdin", "-z", "filter"]
        told = self._view.with_tree(index, directory, command, stdin=_listed(found)).split("\0")
        for path, value in zip(told[::3], told[2::3], strict=False):
            if value == "lfs":
                raise Refused(
                    Code.REPOSITORY_INCOMPLETE,
                    f"{path} of repository {self._repository.name} ({self._repository.path}) is kept by Git LFS, "
                    "and the repository holds only a pointer to it",
                    hint=f"commit the file itself: git lfs migrate export --include={shlex.quote(path)}",
                )

    def _require_converted(self, index: Path, directory: Path, differing: list[TreeEntry]) -> None:
        """Raise GitFailedError unless each file is there and has an attribute by which git converts it."""
        absent = [entry.path for entry in differing if digest(directory / entry.path, self._clock) == MISSING]
        if absent:
            message = f"git ended without an error, but {len(absent)} files are missing, such as {absent[0]}"
            raise GitFailedError(message)
        objects.check(self._view.cat, (entry.object_id for entry in differing))
        command = ["check-attr", "--stdin", "-z", *_CONVERTING]
        told = self._view.with_tree(index, directory, command, stdin=_listed(differing)).split("\0")
        converted = {path for path, value in zip(told[::3], told[2::3], strict=False) if value not in ("unspecified", "unset")}
        foreign = [entry.path for entry in differing if entry.path not in converted]
        if foreign:
            message = f"{len(foreign)} files differ from their commit, such as {foreign[0]}"
            raise GitFailedError(message)

    def _write_converted(self, index: Path, directory: Path, listed: Iterable[TreeEntry], converted: Sequence[TreeEntry]) -> None:
        """Write the converted files again, from checked copies of their objects, because these files cannot be hashed themselves.

        Somebody may have replaced the objects between git's read and the check.
        """
        attributes = [entry for entry in listed if _has_attributes(entry)]
        self._view.copy(entry.object_id for entry in (*attributes, *converted))
        self._view.write_copied(index, directory, _listed(converted))

    def _hashes(self, directory: Path, paths: Sequence[str]) -> list[str]:
        """Return the ids that git would give to regular files without conversion."""
        told = "".join(f"{path}\n" for path in paths)
        command = ["hash-object", "--no-filters", "--stdin-paths"]
        with self._view.index() as index:
            return self._view.with_tree(index, directory, command, stdin=told).split()


@contextmanager
def writing(repository: Repository, directory: Path) -> Iterator[None]:
    """Raise Failed for a git that failed."""
    try:
        with explained(directory):
            yield
    except GitFailedError as error:
        message = f"git could not write repository {repository.name} into {directory}: {str(error)[:_LONGEST_SAYING]}"
        # git does not always print why it could not write.
        if os.strerror(errno.ENOSPC) in str(error) or is_full(directory):
            raise disk_full(message) from error
        hint = "check the disk and the repository: git fsck --full"
        raise Failed(Code.BUILD_FAILED, message, hint=hint) from error


def refuse_submodules(repository: Repository, entries: Iterable[TreeEntry]) -> None:
    """Raise Refused for the first submodule."""
    for entry in entries:
        if entry.mode == objects.GITLINK:
            raise Refused(
                Code.REPOSITORY_INCOMPLETE,
                f"{entry.path} of repository {repository.name} ({repository.path}) is a submodule, "
                "and submodules are not supported",
                hint="configure it as a [[repository]] of its own with `into`, or commit its files",
            )


def _has_attributes(entry: TreeEntry) -> bool:
    return entry.path.rpartition("/")[2] == ATTRIBUTES


def _listed(entries: Iterable[TreeEntry]) -> str:
    return "".join(f"{entry.path}\0" for entry in entries)
