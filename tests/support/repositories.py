"""Real git repositories, made by git itself as another user of the machine would make them."""

from __future__ import annotations

import hashlib
import os
import subprocess
from typing import TYPE_CHECKING

from release_agent.config import sections
from release_agent.repository.source import GitSource

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALL_MODES = 0o7777


def clean_environment() -> dict[str, str]:
    """Return an environment in which git sees no configuration but the repository's own."""
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
    people = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _PERSON.items()}
    return inherited | people | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


_PERSON = {"NAME": "Ada", "EMAIL": "ada@example.org"}


def git(place: Path, *arguments: str, stdin: str = "", check: bool = True) -> str:
    """Run git in ``place`` and return what it printed."""
    done = subprocess.run(
        ["git", *arguments], cwd=place, env=clean_environment(), input=stdin, check=check, capture_output=True, text=True
    )
    return done.stdout.strip()


class Repo:
    """A repository that tests write to; the agent only reads it."""

    def __init__(self, path: Path, *options: str) -> None:
        """Make it; ``options`` are those of ``git init``."""
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--initial-branch=main", *options)

    def git(self, *arguments: str, stdin: str = "") -> str:
        """Run git in it."""
        return git(self.path, *arguments, stdin=stdin)

    def commit(self, files: Mapping[str, str | bytes] | None = None, *, tag: str = "") -> str:
        """Write files, commit all there is, return the commit's id."""
        for name, content in (files or {}).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", tag or "change")
        if tag:
            self.git("tag", tag)
        return self.head

    @property
    def head(self) -> str:
        """The commit that is checked out."""
        return self.git("rev-parse", "HEAD")


def source_of(scratch: Path, /, **repositories: Repo | Path) -> GitSource:
    """Return the agent's view of repositories: a lone one fills the release, several go into their names."""
    several = len(repositories) > 1
    scratch.mkdir(exist_ok=True)
    paths = {name: there.path if isinstance(there, Repo) else there for name, there in repositories.items()}
    places = [sections.Repository(name, str(path), name if several else ".") for name, path in paths.items()]
    return GitSource(places, scratch)


def listing(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return everything that can be told of a directory's entries, but when they were read."""
    return {str(path.relative_to(directory)): _about(path) for path in [directory, *directory.rglob("*")]}


def _about(path: Path) -> tuple[object, ...]:
    there = path.lstat()
    content = ""
    if path.is_symlink():
        content = str(path.readlink())
    elif path.is_file():
        content = hashlib.sha256(path.read_bytes()).hexdigest()
    return (there.st_mode, there.st_uid, there.st_ino, there.st_size, there.st_mtime_ns, there.st_ctime_ns, content)


def modes(directory: Path) -> dict[str, int]:
    """Return the permissions of every regular file in a directory."""
    files = [path for path in directory.rglob("*") if path.is_file() and not path.is_symlink()]
    return {str(path.relative_to(directory)): path.stat().st_mode & ALL_MODES for path in files}
