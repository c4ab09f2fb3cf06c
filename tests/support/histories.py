"""Make histories of any trees, check out their commits with git itself, and compare directories."""

from __future__ import annotations

import hashlib
import os
import shutil
import stat
import subprocess
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from random import Random
from typing import TYPE_CHECKING

from support.repositories import Repository, git_environment

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from release_agent.repository.source import GitSource

    # Mode as git writes it, and content, by path.
    Tree = Mapping[bytes, tuple[str, bytes]]
    Picture = dict[bytes, tuple[object, ...]]

FILE, EXECUTABLE, LINK = "100644", "100755", "120000"
_PERSON = b"Ada <ada@example.org> 1700000000 +0000"


class History:
    """Commits of a repository, and git's own checkout of each."""

    def __init__(self, place: Path, repository: Repository, commits: Sequence[str]) -> None:
        """``place``: a directory of its own for checkouts."""
        self.part = "."
        self.repository = repository
        self.commits = commits
        self._place = place
        self._pictures: dict[str, Picture] = {}

    @classmethod
    def of(cls, place: Path, trees: Iterable[Tree], *options: str) -> History:
        """Make a repository with one commit for each tree; ``options``: those of ``git init``."""
        repository = Repository(place / "repository", *options)
        return cls(place / "checkouts", repository, commit_all(repository, trees))

    def expected(self, commit: str) -> Picture:
        """Return the picture of a commit in a fresh clone, of its directory ``part``."""
        if commit not in self._pictures:
            clone = self._place / "clone"
            self._place.mkdir(exist_ok=True)
            self._git("clone", "--quiet", "--no-checkout", "--shared", self.repository.path, clone)
            self._git("-C", clone, "checkout", "--quiet", "--detach", commit)
            shutil.rmtree(clone / ".git")
            self._pictures[commit] = picture(clone / self.part)
            shutil.rmtree(clone)
        return self._pictures[commit]

    def _git(self, *arguments: object) -> None:
        command = ["git", *map(str, arguments)]
        subprocess.run(command, cwd=self._place, env=git_environment(), check=True, capture_output=True)


@dataclass
class Follower:
    """A directory that follows a history. It counts the steps of each kind, and the files of each difference."""

    history: History
    source: GitSource
    directory: Path
    ways: Counter[str] = field(default_factory=Counter)
    files: list[int] = field(default_factory=list)
    at: str = ""

    def start(self, commit: str) -> None:
        """Write a commit."""
        self.directory.mkdir()
        self.source.write({"api": commit}, self.directory)
        self.at = commit

    def go(self, commit: str, *, restore: bool = False) -> list[str]:
        """Go to another commit, by the difference if there is one; returns the differences from a fresh checkout.

        ``restore``: restore the commit from the present content instead.
        """
        difference = None if restore else self.source.difference({"api": self.at}, {"api": "."}, {"api": commit})
        if difference:
            self.files.append(difference.files)
            difference.apply(self.directory)
        else:
            self.source.restore({"api": commit}, self.directory)
        self.at = commit
        self.ways["difference" if difference else "restored"] += 1
        return differences(picture(self.directory), self.history.expected(commit))


def orders(commits: Sequence[str], seed: int) -> dict[str, Sequence[str]]:
    """Return walks over commits: orders in which a follower goes to them."""
    chance = Random(seed)  # noqa: S311 - to be had again
    return {
        "forwards": commits,
        "backwards": commits[::-1],
        "at random": [chance.choice(commits) for _ in range(2 * len(commits))],
    }


def commit_all(repository: Repository, trees: Iterable[Tree]) -> list[str]:
    """Commit trees one after the other, tag them v1.0.0, v1.1.0, …, and return the commits."""
    stream: list[bytes] = []
    count = 0
    for count, tree in enumerate(trees, 1):
        stream += [b"commit refs/heads/main\nmark :%d\ncommitter %s\ndata 0\ndeleteall\n" % (count, _PERSON)]
        for path, (mode, content) in tree.items():
            stream += [b"M %s inline %s\ndata %d\n" % (mode.encode(), _quoted(path), len(content)), content, b"\n"]
        stream += [b"reset refs/tags/v1.%d.0\nfrom :%d\n\n" % (count - 1, count)]
    marks = repository.path / ".git/marks"
    command = ["git", "fast-import", "--quiet", f"--export-marks={marks}"]
    subprocess.run(command, cwd=repository.path, env=git_environment(), input=b"".join(stream), check=True, capture_output=True)
    by_mark = dict(line.split() for line in marks.read_text().splitlines())
    return [by_mark[f":{number}"] for number in range(1, count + 1)]


def _quoted(path: bytes) -> bytes:
    return b'"' + b"".join(b"\\%03o" % byte for byte in path) + b'"'


def picture(directory: Path) -> Picture:
    """Return all facts about a directory and its contents, except inodes and times; the path of the directory itself is empty."""
    top = os.fsencode(directory)
    found = {b"": _about(top)}
    for place, directories, files in os.walk(top):
        for name in (*directories, *files):
            path = os.path.join(place, name)  # noqa: PTH118 - names are bytes
            found[os.path.relpath(path, top)] = _about(path)
    return found


def differences(found: Picture, expected: Picture) -> list[str]:
    """Return the differences between two pictures, one line per path."""
    paths = sorted(path for path in found.keys() | expected.keys() if found.get(path) != expected.get(path))
    return [f"{path!r} is {found.get(path)}, not {expected.get(path)}" for path in paths]


def _about(path: bytes) -> tuple[object, ...]:
    there = os.lstat(path)
    owner = (there.st_uid, there.st_gid, *sorted(os.listxattr(path, follow_symlinks=False)))
    if stat.S_ISLNK(there.st_mode):
        return ("link", os.readlink(path), *owner)
    if stat.S_ISDIR(there.st_mode):
        return ("directory", oct(there.st_mode), *owner)
    content = Path(os.fsdecode(path)).read_bytes() if stat.S_ISREG(there.st_mode) else b""
    shown = content if len(content) < 100 else hashlib.sha256(content).digest()
    return ("file", oct(there.st_mode), shown, *owner)
