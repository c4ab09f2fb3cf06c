"""Call git on one repository without the repository's own configuration.

Repositories belong to others, and the agent does not trust their configuration: filters,
hooks, fsmonitor, gpg.program and lazy fetches of partial clones run programs.
So the agent reads only reference names through a repository itself. It reads
objects through a *view*, a git directory of its own with an empty configuration
that borrows the repository's objects. It writes nothing into a repository.
"""

from __future__ import annotations

import os
import shutil
import tempfile
from contextlib import contextmanager
from dataclasses import replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Refused
from release_agent.repository.object_reader import ObjectReader
from release_agent.repository.objects import Listing
from release_agent.repository.process import READING, WHOLE_TREE, GitCall, GitFailedError, output, stream
from release_agent.system.disk import explained
from release_agent.system.user import name_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from release_agent.config.sections import Repository
    from release_agent.repository.objects import ObjectHead
    from release_agent.system.clock import Clock

# The environment of every call of git besides PATH and the like: git reads no configuration except the view's.
_ENVIRONMENT = {
    "GIT_CONFIG_GLOBAL": "/dev/null",
    "GIT_CONFIG_NOSYSTEM": "1",
    "GIT_ATTR_NOSYSTEM": "1",
    "GIT_NO_REPLACE_OBJECTS": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LITERAL_PATHSPECS": "1",
    "LC_ALL": "C.UTF-8",
}
_VIEW_CONFIG = """[core]
\trepositoryformatversion = {version}
\tbare = true
\thooksPath = /dev/null
\tattributesFile = {attributes}
\texcludesFile = {excludes}
\tfsync = none
[extensions]
\tobjectFormat = {object_format}
[gpg]
\tprogram = /bin/false
[gpg "x509"]
\tprogram = /bin/false
"""


# Attributes and excludes of a part from the directories above it; see release_agent.repository.above.
_ABOVE = ("attributes", "excludes")


class View:
    """The calls of git that read one repository; ``scratch``: a directory of the agent's own for views and indexes."""

    def __init__(self, repository: Repository, scratch: Path, clock: Clock) -> None:
        self._name = repository.name
        self._path = repository.path
        self._scratch = scratch
        self._clock = clock
        self._is_part = bool(repository.subdirectory)
        self._objects = ObjectReader(lambda: self._call(["cat-file", "--batch-command"]), clock)

    def references(self) -> str:
        """Return the object id and the full name of each tag and branch, each pair on its own line; raises Refused."""
        command = [f"--git-dir={self._origin[0]}", "for-each-ref", "--format=%(objectname) %(refname)"]
        with self.readable():
            return self._text(GitCall([*command, "refs/tags", "refs/heads", "refs/remotes"], _ENVIRONMENT))

    def read(self, command: Sequence[str], stdin: str = "", *, size: int = GitCall.size) -> str:
        """Return the output of a command that reads objects; raises Refused if it fails or prints more than ``size`` bytes."""
        with self.readable():
            return self.attempt(command, stdin, size=size)

    def attempt(self, command: Sequence[str], stdin: str = "", *, size: int = GitCall.size) -> str:
        """Return the output of a command that reads objects; raises GitFailedError."""
        return self._text(self._call(command, stdin=stdin.encode(), size=size))

    def messages(self, command: Sequence[str]) -> str:
        """Return the messages on stderr of a command that sees only copied objects; raises GitFailedError."""
        return stream(_on_copies(self._call(command)), self._clock, lambda _: None)

    def cat(self, object_ids: Iterable[str], take: Callable[[bytes], bool]) -> None:
        """Stream objects from ``git cat-file --batch`` until ``take`` returns that it has them all; raises GitFailedError."""
        self._objects.ask("".join(f"contents {object_id}\n" for object_id in object_ids), take, WHOLE_TREE)

    def heads(self, names: Sequence[str]) -> list[ObjectHead | None]:
        """Return the heads of objects, None for missing ones; raises Refused."""
        listing = Listing(len(names))
        with self.readable():
            if names:
                self._objects.ask("".join(f"info {name}\n" for name in names), listing.feed)
            return listing.heads()

    def look_again(self) -> None:
        """Drop the facts about the repository, because another one may have replaced it."""
        self.close()
        self.__dict__.pop("_origin", None)
        view = self.__dict__.pop("_view", None)
        if view:
            shutil.rmtree(view, ignore_errors=True)

    def close(self) -> None:
        """End the git that reads objects."""
        self._objects.close()

    def with_tree(self, index: Path, directory: Path, command: Sequence[str], *, stdin: str = "", check: bool = True) -> str:
        """Return the output of a command on a directory of files and its index; raises GitFailedError."""
        return self._text(replace(self._tree_call(index, directory, command, stdin), check=check))

    def copy(self, object_ids: Iterable[str]) -> None:
        """Copy objects into the view, where only the agent can write, and check each against its id; raises GitFailedError."""
        pack = self._view / "objects/pack/copied"
        pack.parent.mkdir(exist_ok=True)
        given = "".join(f"{object_id}\n" for object_id in dict.fromkeys(object_ids)).encode()
        packing = self._call(["pack-objects", "-q", "--window=0", str(pack)], stdin=given, seconds=WHOLE_TREE)
        borrowed = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": _quoted(packing.environment["GIT_OBJECT_DIRECTORY"])}
        made = self._text(replace(packing, environment=_ENVIRONMENT | borrowed)).strip()
        self._text(_on_copies(self._call(["verify-pack", f"{pack}-{made}.idx"], seconds=WHOLE_TREE)))

    def write_copied(self, index: Path, directory: Path, paths: str) -> None:
        """Write files of the index, NUL after each, only from objects that copy() has copied; raises GitFailedError."""
        command = ["checkout-index", "--force", "-z", "--stdin"]
        self._text(_on_copies(self._tree_call(index, directory, command, paths)))

    def tell_of_above(self, attributes: str, excludes: str) -> None:
        """Give git's calls the attributes and excludes from above the part."""
        with explained(self._scratch):
            for name, text in zip(_ABOVE, (attributes, excludes), strict=True):
                (self._view / name).write_bytes(text.encode("utf-8", "surrogateescape"))

    @contextmanager
    def index(self) -> Iterator[Path]:
        """Return the path of an index in the view, and remove the file afterwards."""
        index = self._view / "index"
        index.unlink(missing_ok=True)
        yield index
        index.unlink(missing_ok=True)

    @contextmanager
    def readable(self) -> Iterator[None]:
        """Raise Refused (repository-unreadable) for a git that failed."""
        try:
            yield
        except GitFailedError as error:
            raise Refused(
                Code.REPOSITORY_UNREADABLE,
                f"repository {self._name} at {self._path} cannot be read: {error}",
                hint=f"mount the repository, or let {name_of(os.geteuid())} read it; `release-agent doctor` checks all of it",
            ) from error

    @property
    def new_directory(self) -> Path:
        """A new directory of the view, with the mode and the attributes that every new directory gets."""
        return self._view / "refs"

    @cached_property
    def _origin(self) -> tuple[str, str]:
        """The repository's git directory and its object format."""
        command = ["-c", "safe.directory=*", "-C", self._path, "rev-parse", "--path-format=absolute"]
        # Never use a repository in a directory above.
        environment = {**_ENVIRONMENT, "GIT_CEILING_DIRECTORIES": str(Path(self._path).parent)}
        with self.readable():
            said = self._text(GitCall([*command, "--git-common-dir", "--show-object-format"], environment))
            answer = said.removesuffix("\n").split("\n")
            if len(answer) != 2 or answer[1] not in ("sha1", "sha256"):  # noqa: PLR2004 - the two requested values
                message = f"git rev-parse printed {answer!r}"
                raise GitFailedError(message)
        return answer[0], answer[1]

    @cached_property
    def _view(self) -> Path:
        object_format = self._origin[1]
        with explained(self._scratch):
            view = Path(tempfile.mkdtemp(prefix=f"view-{self._name}-", dir=self._scratch))
            for directory in ("objects", "refs"):
                (view / directory).mkdir()
            (view / "HEAD").write_text("ref: refs/heads/none\n")
            above = [_quoted(str(view / name)) if self._is_part else "/dev/null" for name in _ABOVE]
            settings = dict(zip(_ABOVE, above, strict=True))
            (view / "config").write_text(_VIEW_CONFIG.format(version=1, object_format=object_format, **settings))
        return view

    def _call(self, command: Sequence[str], *, stdin: bytes = b"", size: int = GitCall.size, seconds: float = READING) -> GitCall:
        environment = {**_ENVIRONMENT, "GIT_OBJECT_DIRECTORY": f"{self._origin[0]}/objects"}
        return GitCall([f"--git-dir={self._view}", *command], environment, stdin=stdin, size=size, seconds=seconds)

    def _tree_call(self, index: Path, directory: Path, command: Sequence[str], stdin: str) -> GitCall:
        given = stdin.encode("utf-8", "surrogateescape")
        call = self._call([f"--work-tree={directory}", *command], stdin=given, seconds=WHOLE_TREE)
        return replace(call, environment={**call.environment, "GIT_INDEX_FILE": str(index)}, directory=str(directory))

    def _text(self, call: GitCall) -> str:
        return output(call, self._clock).decode("utf-8", "surrogateescape")


def _quoted(path: str) -> str:
    """Write a path as the value of a setting, or one entry of a list that colons divide (GIT_ALTERNATE_OBJECT_DIRECTORIES)."""
    escaped = path.replace("\\", "\\\\").replace('"', '\\"')
    return f'"{escaped}"'


def _on_copies(call: GitCall) -> GitCall:
    """Show a call only the view's own objects, none of the repository's."""
    return replace(call, environment={name: value for name, value in call.environment.items() if name != "GIT_OBJECT_DIRECTORY"})


def is_regular(path: str) -> bool:
    """Return whether a path is a regular file that this user may read."""
    # Path.is_file raises PermissionError for a directory above that may not be entered.
    return os.path.isfile(path) and os.access(path, os.R_OK)  # noqa: PTH113
