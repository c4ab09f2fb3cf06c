"""One git repository, read-only: references, commits, signatures, trees."""

from __future__ import annotations

import errno
import os
import re
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed, Refused
from release_agent.model import Kind
from release_agent.repository import objects
from release_agent.repository.files import ADDED, MISSING, differing, digest, unreadable
from release_agent.repository.process import LARGEST_TEXT, GitFailedError
from release_agent.repository.view import View, is_regular
from release_agent.system.disk import disk_full, is_full

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from pathlib import Path

    from release_agent.config.sections import Repository
    from release_agent.repository.objects import TreeEntry
    from release_agent.system.clock import Clock

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# A line of `git ls-tree -l`: the size is "-" for a submodule, and "BAD" for an object that a partial clone lacks.
_LISTED = re.compile(r"(?P<mode>[0-7]{6}) [a-z]+ [0-9a-f]+ +(?P<size>[0-9]+|-|BAD)\t(?P<path>.+)", re.DOTALL)
_BLOCK = 4096
_LONGEST_SAYING = 500
_SSH_SIGNATURE = "-----BEGIN SSH SIGNATURE-----"
# What git passes on from ssh-keygen; the name is that of the list of signers.
_GOOD_SIGNATURE = re.compile(r'^Good "git" signature for (.+) with \S+ key \S+$', re.MULTILINE)
_TAG_PREFIX = "refs/tags/"
_BRANCH_PREFIXES = ("refs/heads/", "refs/remotes/")
# Attributes by which git writes a file otherwise than it is committed.
_CONVERTING = ("text", "eol", "crlf", "ident", "working-tree-encoding")
# Files that git reads whole in a directory of files, also if they are pipes, for which it would wait.
_READ_BY_GIT = (".gitattributes", ".gitignore")
_SUBJECTS = 10
_SIGN_HINT = "sign it: git tag -s with gpg.format=ssh and a key that allowed_signers lists"


@dataclass(frozen=True)
class Changes:
    """The commits between two: how many are added, how many are removed, and the subjects of the newest ones."""

    count: int
    back: int
    subjects: list[str]


class GitRepository:
    """One repository, read-only; ``scratch``: a directory of the agent's own for views and indexes."""

    def __init__(self, repository: Repository, scratch: Path, clock: Clock) -> None:
        self.name = repository.name
        self.path = repository.path
        self._clock = clock
        self._view = View(repository, scratch, clock)

    @cached_property
    def refs(self) -> dict[str, str]:
        """All tags and branches: object id by full reference name, tags not peeled."""
        lines = self._view.references().splitlines()
        return {name: sha for sha, _, name in (line.partition(" ") for line in lines)}

    def tags(self) -> dict[str, str]:
        """Return the object id of each tag, by name."""
        return {ref.removeprefix(_TAG_PREFIX): sha for ref, sha in self.refs.items() if ref.startswith(_TAG_PREFIX)}

    def find(self, revision: str, kind: Kind) -> str | None:
        """Return the id of the object that ``revision`` names as a ``kind``, or None if this repository has none."""
        if kind is Kind.COMMIT:
            return revision if _COMMIT.fullmatch(revision) and self._exists(revision) else None
        prefixes = (_TAG_PREFIX,) if kind is Kind.TAG else _BRANCH_PREFIXES
        return next((self.refs[prefix + revision] for prefix in prefixes if prefix + revision in self.refs), None)

    def commit(self, object_id: str, revision: str) -> str:
        """Peel an object to its commit; raises Refused if it leads to none."""
        answer = self._view.read(["cat-file", "--batch-check"], stdin=f"{object_id}^{{commit}}\n").split()
        if answer[1:2] != ["commit"]:  # "<id> commit <size>"
            raise Refused(
                Code.REVISION_NOT_A_COMMIT,
                f"{revision} in repository {self.name} ({self.path}) leads to no commit that is there",
                hint="fetch the repository whole, or tag a commit",
            )
        return answer[0]

    def read(self, commit: str, name: str) -> str | None:
        """Return the text of a regular file at the root of a commit, as its id stands for it; None if it has none of that name.

        Raises Refused (release-toml-invalid) for a file that is larger than any text.
        """
        with self._view.readable():
            entry = objects.at_root(self._view.cat, commit, name)
            if entry is None or entry.mode not in ("100644", "100755"):
                return None
            size = self._view.attempt(["cat-file", "-s", entry.object_id]).strip()
            if size.isdecimal() and int(size) > LARGEST_TEXT:
                raise Refused(
                    Code.RELEASE_TOML_INVALID,
                    f"{name} of repository {self.name} has {size} bytes; {LARGEST_TEXT} are read at most",
                    hint="make it smaller in the repository, and tag again",
                )
            _, content = objects.contents(self._view.cat, [entry.object_id])[entry.object_id]
        return content.decode("utf-8", "surrogateescape")

    def size(self, commit: str) -> tuple[int, int]:
        """Return the size of a checkout of a commit: bytes in whole blocks, and number of files.

        Raises Refused if a file is not there, as in a partial clone, or is a submodule.
        """
        listed = self._view.read(["ls-tree", "-r", "-l", "-z", commit]).split("\0")
        entries = [_LISTED.fullmatch(line) for line in listed if line]
        absent = [entry["path"] if entry else "?" for entry in entries if not entry or entry["size"] == "BAD"]
        if absent:
            raise Refused(
                Code.REPOSITORY_UNREADABLE,
                f"repository {self.name} at {self.path} lacks {len(absent)} of the {len(entries)} files of commit "
                f"{commit[:12]}, such as {absent[0]}",
                hint="clone it whole: git clone without --filter; in a partial clone: git fetch --refetch --no-filter",
            )
        sizes = []
        for entry in filter(None, entries):
            self._refuse_submodule(entry["mode"], entry["path"])
            sizes.append(int(entry["size"]))
        return sum(-(-size // _BLOCK) for size in sizes) * _BLOCK, len(sizes)

    def changes(self, old: str, new: str) -> Changes | None:
        """Return the commits between two; None if the history does not connect them, as in a shallow clone."""
        try:
            back, count = self._view.read(["rev-list", "--left-right", "--count", f"{old}...{new}"]).split()
            subjects = self._view.read(["log", f"--max-count={_SUBJECTS}", "--format=%s", f"{old}..{new}"]).splitlines()
        except (Refused, ValueError):
            return None
        return Changes(int(count), int(back), subjects)

    def write(self, commit: str, directory: Path) -> None:
        """Write a commit's files as a checkout would: modes, symlinks, line endings; raises Failed, Refused.

        All of them are there afterwards, and each has the content that the commit's id stands for.
        """
        with self._writing(directory):
            entries = objects.files(self._view.cat, commit)
            for entry in entries:
                self._refuse_submodule(entry.mode, entry.path)
            with self._view.index() as index:
                self._view.with_tree(index, directory, ["read-tree", "-u", "--reset", commit])
                converted = differing(entries, directory, self._clock)
                if converted:
                    self._require_converted(index, directory, converted)
                    self._write_converted(index, directory, entries, converted)

    def drift(self, commit: str, directory: Path) -> dict[str, str]:
        """Return what ``git status`` would list in ``directory``: digest of the present content, by path.

        Files that the commit's own .gitignore names do not count. A path that
        is gone has the digest ``missing``; the digest of one that the commit does not
        have begins with ``added``. An untracked directory ends in ``/``.
        Raises Failed if git fails, or if it would read a pipe or a huge file.
        """
        for path, what in unreadable(directory, _READ_BY_GIT, LARGEST_TEXT, self._clock):
            message = f"{directory / path} is a {what}, which git cannot be given to read"
            raise Failed(Code.BUILD_FAILED, message, hint="remove it; a build hook may have made it")
        with self._writing(directory), self._view.index() as index:
            git = partial(self._view.with_tree, index, directory)
            git(["read-tree", commit])
            git(["update-index", "-q", "--refresh"], check=False)
            changed = git(["diff-files", "-z", "--name-only", "--ignore-submodules"])
            added = git(["ls-files", "-z", "--others", "--exclude-standard", "--directory"])
        found = {path: digest(directory / path, self._clock) for path in changed.split("\0") if path}
        return found | {path: f"{ADDED} {digest(directory / path, self._clock)}" for path in added.split("\0") if path}

    def verify_signature(self, tag: str, object_id: str, allowed_signers: str, revoked_signers: str = "") -> str:
        """Return the name of the allowed signer who signed a tag object (git's SSH signatures); raises Refused if none did.

        git checks a copy that is proved by its id: it would take what lies in the store at that moment for the tag.
        The name inside the tag object must be the tag's own: a signed v1.3
        under the name of v1.4 would pass a bare ``git verify-tag``.
        """
        _require_signers(allowed_signers, revoked_signers)
        if self._view.read(["cat-file", "-t", object_id]).strip() != "tag":
            raise Refused(Code.TAG_UNSIGNED, f"tag {tag} in repository {self.name} is not signed", hint=_SIGN_HINT)
        head, _, body = self._tag(object_id).partition("\n\n")
        if _SSH_SIGNATURE not in body:
            raise Refused(Code.TAG_UNSIGNED, f"tag {tag} in repository {self.name} carries no SSH signature", hint=_SIGN_HINT)
        named = re.search(r"^tag (.*)$", head, re.MULTILINE)
        if not named or named[1] != tag:
            raise Refused(
                Code.SIGNATURE_BAD,
                f"what {tag} names in repository {self.name} was signed as {named[1] if named else 'nothing'}",
                hint="somebody moved the tag after it was signed; find out who",
            )
        options = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={allowed_signers}"]
        if revoked_signers:
            options += ["-c", f"gpg.ssh.revocationFile={revoked_signers}"]
        try:
            self._view.copy([object_id])
            said = self._view.messages([*options, "verify-tag", object_id])
        except GitFailedError as error:
            raise self._not_allowed(tag, str(error)) from error
        good = _GOOD_SIGNATURE.search(said)
        if not good:
            raise self._not_allowed(tag, "git named no signer")
        return good[1]

    def _not_allowed(self, tag: str, why: str) -> Refused:
        message = f"tag {tag} in repository {self.name} is not signed by an allowed signer: {why}"
        return Refused(Code.SIGNATURE_BAD, message, hint=_SIGN_HINT)

    def _tag(self, object_id: str) -> str:
        """Return the text of a tag object, which is what its id stands for; raises Refused."""
        with self._view.readable():
            _, content = objects.contents(self._view.cat, [object_id])[object_id]
        return content.decode("utf-8", "replace")

    def _exists(self, object_id: str) -> bool:
        return "missing" not in self._view.read(["cat-file", "--batch-check"], stdin=object_id + "\n")

    def _refuse_submodule(self, mode: str, path: str) -> None:
        if mode == objects.GITLINK:
            raise Refused(
                Code.REPOSITORY_INCOMPLETE,
                f"{path} of repository {self.name} ({self.path}) is a submodule, and submodules are not supported",
                hint="configure it as a [[repository]] of its own with `into`, or commit its files",
            )

    def _require_converted(self, index: Path, directory: Path, differing: list[TreeEntry]) -> None:
        """Raise GitFailedError unless each file is there and has an attribute by which git converts it."""
        absent = [entry.path for entry in differing if digest(directory / entry.path, self._clock) == MISSING]
        if absent:
            message = f"git ended without an error, and {len(absent)} files are missing, such as {absent[0]}"
            raise GitFailedError(message)
        objects.check(self._view.cat, (entry.object_id for entry in differing))
        command = ["check-attr", "--stdin", "-z", *_CONVERTING]
        told = self._view.with_tree(index, directory, command, stdin=_listed(differing)).split("\0")
        converted = {path for path, value in zip(told[::3], told[2::3], strict=False) if value not in ("unspecified", "unset")}
        foreign = [entry.path for entry in differing if entry.path not in converted]
        if foreign:
            message = f"{len(foreign)} files are not as they are committed, such as {foreign[0]}"
            raise GitFailedError(message)

    def _write_converted(self, index: Path, directory: Path, entries: list[TreeEntry], converted: list[TreeEntry]) -> None:
        """Write the converted files again, from checked copies of their objects: these files cannot be hashed themselves.

        What git read from the repository when it wrote them may have been replaced before the objects were checked.
        """
        attributes = [entry for entry in entries if entry.path.rpartition("/")[2] == ".gitattributes"]
        self._view.copy(entry.object_id for entry in (*attributes, *converted))
        self._view.write_copied(index, directory, _listed(converted))

    @contextmanager
    def _writing(self, directory: Path) -> Iterator[None]:
        """Raise Failed for a git that failed."""
        try:
            yield
        except GitFailedError as error:
            message = f"git could not write repository {self.name} into {directory}: {str(error)[:_LONGEST_SAYING]}"
            # git does not always print why it could not write.
            if os.strerror(errno.ENOSPC) in str(error) or is_full(directory):
                raise disk_full(message) from error
            hint = "look at the disk and the repository: git fsck --full"
            raise Failed(Code.BUILD_FAILED, message, hint=hint) from error


def _listed(entries: Iterable[TreeEntry]) -> str:
    return "".join(f"{entry.path}\0" for entry in entries)


def _require_signers(allowed: str, revoked: str) -> None:
    """Raise Refused unless the files of signers can be read: without them no tag passes, whoever signed it."""
    for what, file in (("allowed", allowed), ("revoked", revoked)):
        if file and not is_regular(file):
            raise Refused(
                Code.SIGNERS_MISSING,
                f"cannot read the {what} signers, {file}",
                hint="put the file there, readable for the agent's user: see [revision] in docs/configuration.md",
            )
