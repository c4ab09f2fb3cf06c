"""One git repository, read-only: references, commits, signatures, trees.

Repositories belong to others, and their configuration is not trusted: filters,
hooks, fsmonitor, gpg.program and lazy fetches of partial clones run programs.
So the agent reads only reference names through a repository itself. It reads
objects through a *view*, a git directory of its own with an empty configuration
that borrows the repository's objects. It writes nothing into a repository.
"""

from __future__ import annotations

import errno
import hashlib
import os
import re
import tempfile
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed, Refused
from release_agent.model import Kind
from release_agent.system.disk import disk_full, explained, is_full

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.config.sections import Repository

_COMMIT = re.compile(r"[0-9a-f]{40}|[0-9a-f]{64}")
_BLOCK = 4096
_LONGEST_SAYING = 500
ADDED, MISSING = "added", "missing"
_SSH_SIGNATURE = "-----BEGIN SSH SIGNATURE-----"
_TAG_PREFIX = "refs/tags/"
_BRANCH_PREFIXES = ("refs/heads/", "refs/remotes/")
# The environment of every call of git besides PATH and the like: git reads no configuration except the view's.
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "LC_ALL": "C.UTF-8",
}
_VIEW_CONFIG = """[core]
\trepositoryformatversion = {version}
\tbare = true
\thooksPath = /dev/null
\tattributesFile = /dev/null
\texcludesFile = /dev/null
\tfsync = none
[extensions]
\tobjectFormat = {object_format}
[gpg]
\tprogram = /bin/false
[gpg "x509"]
\tprogram = /bin/false
"""

_SUBJECTS = 10


@dataclass(frozen=True)
class _Tree:
    """A checkout of a commit: the path of git's index, and the directory of the files."""

    index: Path
    directory: Path


@dataclass(frozen=True)
class Changes:
    """The commits between two: how many are added, how many are removed, and the subjects of the newest ones."""

    count: int
    back: int
    subjects: list[str]


class GitRepository:
    """One repository, read-only; ``scratch``: a directory of the agent's own for views and indexes."""

    def __init__(self, repository: Repository, scratch: Path) -> None:
        self.name = repository.name
        self.path = repository.path
        self._scratch = scratch

    @cached_property
    def refs(self) -> dict[str, str]:
        """All tags and branches: object id by full reference name, tags not peeled."""
        command = [f"--git-dir={self._origin[0]}", "for-each-ref", "--format=%(objectname) %(refname)"]
        with self._readable():
            lines = self._git([*command, "refs/tags", "refs/heads", "refs/remotes"]).splitlines()
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
        answer = self._view_git(["cat-file", "--batch-check"], stdin=f"{object_id}^{{commit}}\n").split()
        if answer[1:2] != ["commit"]:  # "<id> commit <size>"
            raise Refused(
                Code.REVISION_NOT_A_COMMIT,
                f"{revision} in repository {self.name} ({self.path}) leads to no commit that is there",
                hint="fetch the repository whole, or tag a commit",
            )
        return answer[0]

    def read(self, commit: str, path: str) -> str | None:
        """Return the text of a regular file of a commit, or None if it has none of that path."""
        entry = self._view_git(["ls-tree", "-z", commit, "--", path]).partition("\t")[0].split()
        if not entry or entry[0] not in ("100644", "100755"):
            return None
        return self._view_git(["cat-file", "blob", entry[2]])

    def size(self, commit: str) -> tuple[int, int]:
        """Return the size of a checkout of a commit: bytes in whole blocks, and number of files."""
        entries = self._view_git(["ls-tree", "-r", "-l", "-z", commit]).split("\0")
        sizes = [entry.partition("\t")[0].split()[3] for entry in entries if entry]
        blocks = sum(-(-int(size) // _BLOCK) for size in sizes if size != "-")
        return blocks * _BLOCK, len(sizes)

    def changes(self, old: str, new: str) -> Changes | None:
        """Return the commits between two; None if the history does not connect them, as in a shallow clone."""
        try:
            back, count = self._view_git(["rev-list", "--left-right", "--count", f"{old}...{new}"]).split()
            subjects = self._view_git(["log", f"--max-count={_SUBJECTS}", "--format=%s", f"{old}..{new}"]).splitlines()
        except Refused:
            return None
        return Changes(int(count), int(back), subjects)

    def write(self, commit: str, directory: Path) -> None:
        """Write a commit's files as a checkout would: modes, symlinks, line endings."""
        with self._index() as index:
            self._tree_git(_Tree(index, directory), ["read-tree", "-u", "--reset", commit])

    def drift(self, commit: str, directory: Path) -> dict[str, str]:
        """Return what ``git status`` would list in ``directory``: digest of the present content, by path.

        Files that the commit's own .gitignore names do not count. A path that
        is gone has the digest ``missing``; the digest of one that the commit does not
        have begins with ``added``. An untracked directory ends in ``/``.
        """
        with self._index() as index:
            tree = _Tree(index, directory)
            self._tree_git(tree, ["read-tree", commit])
            self._tree_git(tree, ["update-index", "-q", "--refresh"], check=False)
            changed = self._tree_git(tree, ["diff-files", "-z", "--name-only", "--ignore-submodules"])
            added = self._tree_git(tree, ["ls-files", "-z", "--others", "--exclude-standard", "--directory"])
        found = {path: _digest(directory / path) for path in changed.split("\0") if path}
        return found | {path: f"{ADDED} {_digest(directory / path)}" for path in added.split("\0") if path}

    def verify_signature(self, tag: str, object_id: str, allowed_signers: str) -> None:
        """Raise Refused unless the tag object is signed by an allowed signer (git's SSH signatures).

        The name inside the tag object must be the tag's own: a signed v1.3
        under the name of v1.4 would pass a bare ``git verify-tag``.
        """
        hint = "sign it: git tag -s with gpg.format=ssh and a key that allowed_signers lists"
        if self._view_git(["cat-file", "-t", object_id]).strip() != "tag":
            raise Refused(Code.TAG_UNSIGNED, f"tag {tag} in repository {self.name} is not signed", hint=hint)
        head, _, body = self._view_git(["cat-file", "tag", object_id]).partition("\n\n")
        if _SSH_SIGNATURE not in body:
            raise Refused(Code.TAG_UNSIGNED, f"tag {tag} in repository {self.name} carries no SSH signature", hint=hint)
        named = re.search(r"^tag (.*)$", head, re.MULTILINE)
        if not named or named[1] != tag:
            raise Refused(
                Code.SIGNATURE_BAD,
                f"what {tag} names in repository {self.name} was signed as {named[1] if named else 'nothing'}",
                hint="somebody moved the tag after it was signed; find out who",
            )
        if not os.access(allowed_signers, os.R_OK):
            raise Refused(
                Code.SIGNERS_MISSING,
                f"cannot read the allowed signers, {allowed_signers}",
                hint="see [revision] in docs/configuration.md",
            )
        options = ["-c", "gpg.format=ssh", "-c", f"gpg.ssh.allowedSignersFile={allowed_signers}"]
        try:
            self._git([f"--git-dir={self._view}", *options, "verify-tag", object_id], objects=True)
        except _GitFailedError as error:
            raise Refused(
                Code.SIGNATURE_BAD,
                f"tag {tag} in repository {self.name} is not signed by an allowed signer: {error}",
                hint=hint,
            ) from error

    def _exists(self, object_id: str) -> bool:
        return "missing" not in self._view_git(["cat-file", "--batch-check"], stdin=object_id + "\n")

    @cached_property
    def _origin(self) -> tuple[str, str]:
        """The repository's git directory and its object format."""
        command = ["-c", "safe.directory=*", "-C", self.path, "rev-parse", "--path-format=absolute"]
        with self._readable():
            # Never a repository in a directory above.
            answer = self._git([*command, "--git-common-dir", "--show-object-format"], ceiling=True).splitlines()
        return answer[0], answer[1]

    @cached_property
    def _view(self) -> Path:
        object_format = self._origin[1]
        with explained(self._scratch):
            view = Path(tempfile.mkdtemp(prefix=f"view-{self.name}-", dir=self._scratch))
            for directory in ("objects", "refs"):
                (view / directory).mkdir()
            (view / "HEAD").write_text("ref: refs/heads/none\n")
            (view / "config").write_text(_VIEW_CONFIG.format(version=1, object_format=object_format))
        return view

    @contextmanager
    def _index(self) -> Iterator[Path]:
        """Return the path of an index in the view, and remove the file afterwards."""
        index = self._view / "index"
        index.unlink(missing_ok=True)
        yield index
        index.unlink(missing_ok=True)

    @contextmanager
    def _readable(self) -> Iterator[None]:
        try:
            yield
        except _GitFailedError as error:
            raise Refused(
                Code.REPOSITORY_UNREADABLE,
                f"repository {self.name} at {self.path} cannot be read: {error}",
                hint="mount it, or let this user read it; `release-agent doctor` looks at every part of the set-up",
            ) from error

    def _view_git(self, command: Sequence[str], stdin: str = "") -> str:
        with self._readable():
            return self._git([f"--git-dir={self._view}", *command], objects=True, stdin=stdin)

    def _tree_git(self, tree: _Tree, command: Sequence[str], *, check: bool = True) -> str:
        place = [f"--git-dir={self._view}", f"--work-tree={tree.directory}"]
        try:
            return self._git([*place, *command], objects=True, index=tree.index, cwd=tree.directory, check=check)
        except _GitFailedError as error:
            message = f"git could not write repository {self.name} into {tree.directory}: {str(error)[:_LONGEST_SAYING]}"
            # git does not always print why it could not write.
            if os.strerror(errno.ENOSPC) in str(error) or is_full(tree.directory):
                raise disk_full(message) from error
            raise Failed(Code.BUILD_FAILED, message, hint="look at the disk and the repository") from error

    def _git(  # noqa: PLR0913 - the only call of git; each caller names what it needs
        self,
        command: Sequence[str],
        *,
        objects: bool = False,
        index: Path | None = None,
        cwd: Path | None = None,
        stdin: str = "",
        ceiling: bool = False,
        check: bool = True,
    ) -> str:
        try:
            import git  # 90 ms, which `status` and `history` save
        except ImportError as error:
            message = "git is not installed"
            raise _GitFailedError(message) from error

        environment = dict(_ENVIRONMENT)
        if objects:
            environment["GIT_OBJECT_DIRECTORY"] = f"{self._origin[0]}/objects"
        if index:
            environment["GIT_INDEX_FILE"] = str(index)
        if ceiling:
            environment["GIT_CEILING_DIRECTORIES"] = str(Path(self.path).parent)
        with tempfile.TemporaryFile() as given:
            given.write(stdin.encode())
            given.seek(0)
            try:
                status, out, err = git.Git(str(cwd) if cwd else "/").execute(
                    ["git", *command],
                    istream=given,
                    env=environment,
                    with_extended_output=True,
                    with_exceptions=False,
                    strip_newline_in_stdout=False,
                )
            except git.exc.GitCommandNotFound as error:
                message = "git is not installed"
                raise _GitFailedError(message) from error
        if status and check:
            raise _GitFailedError(str(err).strip() or f"git exited with {status}")
        return str(out)


class _GitFailedError(Exception):
    """The output of a git that failed; each caller translates it."""


def _digest(path: Path) -> str:
    if path.is_symlink():
        return "link:" + hashlib.sha256(str(path.readlink()).encode("utf-8", "surrogateescape")).hexdigest()
    if path.is_dir():
        return "directory"
    try:
        mode = "x" if path.stat().st_mode & 0o100 else "-"
        return f"file:{mode}:" + hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:
        return MISSING
