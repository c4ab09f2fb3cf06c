"""One git repository, read-only: references, commits, signatures, trees."""

from __future__ import annotations

import re
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cached_property, partial
from typing import TYPE_CHECKING

from release_agent.config import programs
from release_agent.errors import Code, Failed, Refused
from release_agent.model import Kind
from release_agent.repository import objects
from release_agent.repository.checkout import Checkout, refuse_submodules, writing
from release_agent.repository.difference import difference
from release_agent.repository.files import ADDED, REGULAR, digest, slashes, unreadable
from release_agent.repository.objects import TreeEntry
from release_agent.repository.part import ATTRIBUTES, IGNORE, Part
from release_agent.repository.process import LARGEST_TEXT, GitFailedError
from release_agent.repository.view import View, is_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

    from release_agent.config.sections import Repository
    from release_agent.repository.difference import TreeDifference
    from release_agent.system.clock import Clock

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
# A line of `git ls-tree -l`: the size is "-" for a submodule, and "BAD" for an object that a partial clone lacks.
_LISTED = re.compile(r"(?P<mode>[0-7]{6}) [a-z]+ [0-9a-f]+ +(?P<size>[0-9]+|-|BAD)\t(?P<path>.+)", re.DOTALL)
_BLOCK = 4096
_SSH_SIGNATURE = "-----BEGIN SSH SIGNATURE-----"
# The message of ssh-keygen in git's output; the name comes from the list of signers.
_GOOD_SIGNATURE = re.compile(r'^Good "git" signature for (.+) with \S+ key \S+$', re.MULTILINE)
_TAG_PREFIX = "refs/tags/"
_BRANCH_PREFIXES = ("refs/heads/", "refs/remotes/")
# Files that git reads completely; if one of them is a pipe, git waits.
_READ_BY_GIT = (ATTRIBUTES, IGNORE)
_SUBJECTS = 10
_KINDS = {objects.SYMLINK: "symlink", objects.DIRECTORY: "directory", objects.GITLINK: "submodule"}
_SIGN_HINT = "sign it: git tag -s with gpg.format=ssh and a key that allowed_signers lists"


@dataclass(frozen=True)
class Changes:
    """The commits between two commits: how many were added and removed, and the subjects of the newest ones."""

    count: int
    back: int
    subjects: list[str]


class GitRepository:
    """One repository, read-only; ``scratch``: a directory of the agent's own for views and indexes.

    ``checkout``: writes files of its commits.
    """

    def __init__(self, repository: Repository, scratch: Path, clock: Clock) -> None:
        self.name = repository.name
        self.path = repository.path
        self._clock = clock
        self._repository = repository
        self._view = View(repository, scratch, clock)
        self._part = Part(repository, self._view)
        self.checkout = Checkout(repository, self._part, self._view, clock)

    @cached_property
    def refs(self) -> dict[str, str]:
        """All tags and branches: object id by full reference name, tags not peeled."""
        # Never splitlines(): names may have U+2028, and the first half of such a name would replace the reference of that name.
        lines = self._view.references().removesuffix("\n").split("\n")
        return {name: sha for sha, _, name in (line.partition(" ") for line in lines)}

    def look_again(self) -> None:
        """Drop the cached references and the store of objects."""
        self.__dict__.pop("refs", None)
        self._view.look_again()

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
        (head,) = self._view.heads([f"{object_id}^{{commit}}"])
        if head is None or head.kind != "commit":
            raise Refused(
                Code.REVISION_NOT_A_COMMIT,
                f"{revision} in repository {self.name} ({self.path}) leads to no existing commit",
                hint="fetch the whole repository, or tag a commit",
            )
        return head.object_id

    def identity(self, commit: str) -> str:
        """Return the commit; for a part of a repository, the identity of the part. Raises Refused."""
        with self._view.readable():
            return self._part.identity(commit)

    def attributes(self, commit: str) -> str:
        """Return the attributes of the part from the directories above it, empty for a whole repository; raises Refused."""
        with self._view.readable():
            return self._part.attributes(commit)

    def read(self, commit: str, name: str) -> str | None:
        """Return the text of a file at the top of a commit, proved by its id; None if there is no such file.

        Raises Refused (release-toml-invalid) for anything except a regular file, and for a file that is larger than any text.
        """
        with self._view.readable():
            entry = objects.entry_of(self._view.cat, self._part.tree(commit), name)
            if entry is None:
                return None
            if entry.mode not in REGULAR:
                raise Refused(
                    Code.RELEASE_TOML_INVALID,
                    f"{name} of repository {self.name} is a {_KINDS.get(entry.mode, 'special file')}, and must be a regular file",
                    hint=f"commit the file itself as {name}, and tag again",
                )
            (head,) = self._view.heads([entry.object_id])
            if head and head.size > LARGEST_TEXT:
                raise Refused(
                    Code.RELEASE_TOML_INVALID,
                    f"{name} of repository {self.name} has {head.size} bytes, and the limit is {LARGEST_TEXT}",
                    hint=f"make {name} smaller in the repository, and tag again",
                )
            _, content = objects.contents(self._view.cat, [entry.object_id])[entry.object_id]
        return content.decode("utf-8", "surrogateescape")

    def matching(self, commit: str, pattern: str) -> dict[str, str]:
        """Return the texts of programs in a commit by path; ``pattern``: a path with a shell pattern in its last name.

        Raises Failed (programs-invalid) for anything except regular files, and for too many or too large ones.
        """
        directory, _, wanted = pattern.rpartition("/")
        with self._view.readable():
            there = objects.in_directory(self._view.cat, self._part.tree(commit), directory)
            found = [entry for entry in there if fnmatchcase(entry.path, wanted)]
            heads = self._view.heads([entry.object_id for entry in found]) if found else []
            self._require_texts(found, sum(head.size for head in heads if head))
            texts = objects.contents(self._view.cat, [entry.object_id for entry in found])
        paths = {f"{directory}/{entry.path}".lstrip("/"): entry.object_id for entry in found}
        return {path: texts[object_id][1].decode("utf-8", "surrogateescape") for path, object_id in paths.items()}

    def _require_texts(self, entries: Sequence[TreeEntry], size: int) -> None:
        """Raise Failed unless all are regular files, of a size that supervisord can read at once."""
        odd = [entry.path for entry in entries if entry.mode not in REGULAR]
        why = f"not a regular file: {', '.join(odd)}" if odd else ""
        if len(entries) > programs.MOST_FILES or size > programs.LARGEST:
            why = f"there are {size} bytes in {len(entries)} files; the limit is {programs.LARGEST} in {programs.MOST_FILES}"
        if why:
            message = f"cannot read the programs of repository {self.name}: {why}"
            raise Failed(Code.PROGRAMS_INVALID, message, hint="fix the files, or `programs` in release.toml, and tag again")

    def size(self, commit: str) -> tuple[int, int]:
        """Return the size of a checkout of a commit: bytes in whole blocks, and number of files.

        Raises Refused if a file is missing, as in a partial clone, or is a submodule.
        """
        listed = self._view.read(["ls-tree", "-r", "-l", "-z", self._tree(commit)]).split("\0")
        entries = [_LISTED.fullmatch(line) for line in listed if line]
        absent = [entry["path"] if entry else "?" for entry in entries if not entry or entry["size"] == "BAD"]
        if absent:
            raise self._incomplete(len(absent), len(entries), absent[0])
        refuse_submodules(self._repository, (TreeEntry(entry["mode"], "", entry["path"]) for entry in entries if entry))
        return _blocks(int(entry["size"]) for entry in entries if entry), len(entries)

    def difference(self, old: str, new: str) -> TreeDifference:
        """Return the difference between the files of two commits; raises Refused."""
        with self._view.readable():
            return difference(self._view.cat, self._part.tree(old), self._part.tree(new))

    def size_of(self, entries: Sequence[TreeEntry]) -> int:
        """Return the bytes, in whole blocks, of some files of a commit; raises Refused if one is missing."""
        refuse_submodules(self._repository, entries)
        heads = self._view.heads([entry.object_id for entry in entries])
        absent = [entry.path for entry, head in zip(entries, heads, strict=True) if head is None]
        if absent:
            raise self._incomplete(len(absent), len(entries), absent[0])
        return _blocks(head.size for head in heads if head)

    def changes(self, old: str, new: str) -> Changes | None:
        """Return the commits between two; None if the history does not connect them, as in a shallow clone."""
        only = ["--", self._repository.subdirectory] if self._repository.subdirectory else []
        try:
            back, count = self._view.read(["rev-list", "--left-right", "--count", f"{old}...{new}", *only]).split()
            subjects = self._view.read(["log", f"--max-count={_SUBJECTS}", "--format=%s", f"{old}..{new}", *only])
        except (Refused, ValueError):
            return None
        return Changes(int(count), int(back), subjects.split("\n")[:-1])

    def drift(self, commit: str, directory: Path, only: Sequence[str] = ()) -> dict[str, str]:
        """Return the paths that ``git status`` would list in ``directory``, each with the digest of its present content.

        ``only``: look only at these paths, if no others can have changed. Files that the commit's own .gitignore
        names do not count. A removed path has the digest ``missing``. The digest of a path that the commit does not
        have starts with ``added``. The path of an untracked directory ends in ``/``.
        Raises Failed if git fails, or if it would read a pipe or a huge file.
        """
        for path, what in () if only else unreadable(directory, _READ_BY_GIT, LARGEST_TEXT, self._clock):
            message = f"{directory / path} is a {what}, which git must not read"
            raise Failed(Code.BUILD_FAILED, message, hint="remove the file; a build hook may have made it")
        with writing(self._repository, directory), self._view.index() as index:
            self._part.enter(commit)
            tree = self._part.tree(commit)
            git = partial(self._view.with_tree, index, directory)
            shown = self._topmost_added(tree, only)
            if shown:
                git(
                    ["update-index", "-z", "--index-info"],
                    stdin=self._view.attempt(["ls-tree", "-r", "-z", tree, "--", *shown]),
                )
            else:
                git(["read-tree", tree])
            git(["update-index", "-q", "--refresh"], check=False)
            changed = git(["diff-files", "-z", "--name-only", "--ignore-submodules"])
            added = git(["ls-files", "-z", "--others", "--exclude-standard", "--directory", "--", *shown])
        found = {path: digest(directory / path, self._clock) for path in changed.split("\0") if path}
        return found | {path: f"{ADDED} {digest(directory / path, self._clock)}" for path in added.split("\0") if path}

    def _topmost_added(self, tree: str, paths: Sequence[str]) -> list[str]:
        """Return, for each path, the highest directory above it that is not in the tree, or the path itself.

        Git lists exactly these paths.
        """
        above = [[path[:end] for end in slashes(path)] for path in paths]
        asked = dict.fromkeys(parent for parents in above for parent in parents)
        listed = self._view.attempt(["ls-tree", "-z", "--name-only", tree, "--", *asked]).split("\0") if asked else []
        missing = asked.keys() - set(listed)
        return [
            next((parent for parent in parents if parent in missing), path) for path, parents in zip(paths, above, strict=True)
        ]

    def verify_signature(self, tag: str, object_id: str, allowed_signers: str, revoked_signers: str = "") -> str:
        """Return the name of the allowed signer who signed a tag object (git's SSH signatures); raises Refused if none did.

        git checks a copy that is proved by its id, because somebody may replace the object in the store at any moment.
        The name inside the tag object must be the tag's own: a signed v1.3
        under the name of v1.4 would pass a bare ``git verify-tag``.
        """
        _require_signers(allowed_signers, revoked_signers)
        (head,) = self._view.heads([object_id])
        if head is None or head.kind != "tag":
            raise Refused(Code.TAG_UNSIGNED, f"tag {tag} in repository {self.name} is not signed", hint=_SIGN_HINT)
        headers, _, body = self._tag(object_id).partition("\n\n")
        if _SSH_SIGNATURE not in body:
            raise Refused(Code.TAG_UNSIGNED, f"tag {tag} in repository {self.name} has no SSH signature", hint=_SIGN_HINT)
        named = re.search(r"^tag (.*)$", headers, re.MULTILINE)
        if not named or named[1] != tag:
            raise Refused(
                Code.SIGNATURE_BAD,
                f"the tag object of {tag} in repository {self.name} was signed as {named[1] if named else 'nothing'}",
                hint="find out who renamed the signed tag, and sign it again",
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

    def close(self) -> None:
        """End the git that reads objects."""
        self._view.close()

    def _not_allowed(self, tag: str, why: str) -> Refused:
        message = f"tag {tag} in repository {self.name} is not signed by an allowed signer: {why}"
        return Refused(Code.SIGNATURE_BAD, message, hint=_SIGN_HINT)

    def _tree(self, commit: str) -> str:
        with self._view.readable():
            return self._part.tree(commit)

    def _tag(self, object_id: str) -> str:
        """Return the text of a tag object, proved by its id; raises Refused."""
        with self._view.readable():
            _, content = objects.contents(self._view.cat, [object_id])[object_id]
        return content.decode("utf-8", "replace")

    def _incomplete(self, absent: int, all_files: int, such_as: str) -> Refused:
        return Refused(
            Code.REPOSITORY_UNREADABLE,
            f"repository {self.name} at {self.path} lacks {absent} of {all_files} files, such as {such_as}",
            hint="run `git fetch --refetch --no-filter` in the repository, or clone it without --filter",
        )

    def _exists(self, object_id: str) -> bool:
        return self._view.heads([object_id]) != [None]


def _blocks(sizes: Iterable[int]) -> int:
    return sum(-(-size // _BLOCK) for size in sizes) * _BLOCK


def _require_signers(allowed: str, revoked: str) -> None:
    """Raise Refused unless the files of signers can be read: git accepts no tag without them."""
    for what, file in (("allowed", allowed), ("revoked", revoked)):
        if file and not is_regular(file):
            raise Refused(
                Code.SIGNERS_MISSING,
                f"cannot read the {what} signers, {file}",
                hint="put a file there that the agent's user may read; see [revision] in docs/reference/configuration.md",
            )
