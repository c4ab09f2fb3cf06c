"""Make real git repositories with git itself, as another user of the machine would."""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import zlib
from typing import TYPE_CHECKING

from release_agent.config import sections
from release_agent.repository.source import GitSource
from release_agent.system.clock import SystemClock
from support.environment import clean_environment

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

ALL_MODES = 0o7777

# The service: its commit's file `behaviour` decides how it behaves. It runs from `current`.
# It uses only sockets: every deployment starts it again, and an import of http.server costs more than all of this.
WEB = """\
import os, socket, sys, threading, time
here = os.path.dirname(os.path.realpath(__file__))
behaviour, version = (open(os.path.join(here, name)).read().strip() for name in ("behaviour", "version"))
if behaviour == "crash":
    sys.exit(3)
def answer(connection):
    with connection:
        connection.recv(65536)
        if behaviour == "hang":
            time.sleep(3600)
        well = behaviour == "ok" and not os.path.exists(os.environ["SICK_FILE"])
        status = "200 OK" if well else "500 Internal Server Error"
        head = f"HTTP/1.0 {status}\\r\\nContent-Length: {len(version)}\\r\\n\\r\\n"
        connection.sendall((head + version).encode())
server = socket.create_server(("127.0.0.1", int(os.environ["PORT"])), backlog=64)
while True:
    threading.Thread(target=answer, args=(server.accept()[0],), daemon=True).start()
"""


_PERSON = {"NAME": "Ada", "EMAIL": "ada@example.org"}
_PEOPLE = {f"GIT_{who}_{what}": value for who in ("AUTHOR", "COMMITTER") for what, value in _PERSON.items()}


def git_environment() -> dict[str, str]:
    """Return an environment in which git reads only the repository's own configuration."""
    return clean_environment() | _PEOPLE | {"GIT_CONFIG_GLOBAL": "/dev/null", "GIT_CONFIG_NOSYSTEM": "1"}


def git(place: Path, *arguments: str, stdin: str = "", check: bool = True) -> str:
    """Run git in ``place``; returns its output."""
    done = subprocess.run(
        ["git", *arguments], cwd=place, env=git_environment(), input=stdin, check=check, capture_output=True, text=True
    )
    return done.stdout.strip()


class Repository:
    """A repository that tests write to, and that the agent only reads."""

    def __init__(self, path: Path, *options: str) -> None:
        """Make the repository; ``options``: those of ``git init``."""
        self.path = path
        path.mkdir(parents=True)
        self.git("init", "--quiet", "--template=", "--initial-branch=main", *options)

    @classmethod
    def copied(cls, template: Repository, path: Path) -> Repository:
        """Make a copy, which costs less than git's own work."""
        shutil.copytree(template.path, path, symlinks=True)
        made = cls.__new__(cls)
        made.path = path
        return made

    def git(self, *arguments: str, stdin: str = "") -> str:
        """Run git in the repository."""
        # Accept any owner, which tests change; and start no maintenance after each commit.
        settings = ("-c", f"safe.directory={self.path}", "-c", "maintenance.auto=false", "-c", "gc.auto=0")
        return git(self.path, *settings, *arguments, stdin=stdin)

    def commit(self, files: Mapping[str, str | bytes] | None = None, *, tag: str = "") -> str:
        """Write files, and commit everything; returns the commit's id."""
        for name, content in (files or {}).items():
            file = self.path / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_bytes(content if isinstance(content, bytes) else content.encode())
        self.git("add", "--all", "--force")
        self.git("commit", "--quiet", "--allow-empty", "--message", tag or "change")
        head = self.head
        if tag:
            self._tag(tag, head)
        return head

    def _tag(self, name: str, commit: str) -> None:
        """Tag a commit, as ``git tag`` does, without a process; raises FileExistsError if the tag is there."""
        place = self.path / ".git" / "refs" / "tags" / name
        place.parent.mkdir(parents=True, exist_ok=True)
        with place.open("x") as file:
            file.write(f"{commit}\n")

    def release(self, tag: str | None = None, behaviour: str = "ok", **files: str) -> str:
        """Commit and tag a version of the hosts' service; returns the commit's id. ``a__b`` is the file ``a/b``."""
        # An unhealthy version has a short deadline; a healthy version may take as long as a busy machine needs.
        deadline = "60s" if behaviour == "ok" else "4s"
        health = f'[health]\ndeadline = "{deadline}"\nstable_for = "100ms"\n'
        wanted = {"web.py": WEB, "behaviour": behaviour, "version": tag or "untagged", "release.toml": health, **files}
        return self.commit({name.replace("__", "/"): text for name, text in wanted.items()}, tag=tag or "")

    @property
    def head(self) -> str:
        """Return the id of the commit that is checked out."""
        head = (self.path / ".git" / "HEAD").read_text().strip()
        branch = self.path / ".git" / head.removeprefix("ref: ")
        return branch.read_text().strip() if branch.is_file() else self.git("rev-parse", "HEAD")


def loose_object(repo: Repository, name: str) -> Path:
    """Return the path of an object that is in no pack."""
    object_id = repo.git("rev-parse", name)
    return repo.path / ".git/objects" / object_id[:2] / object_id[2:]


def replace_object(repo: Repository, name: str, content: bytes) -> None:
    """Replace the content of an object in the store, under the same id."""
    kind = repo.git("cat-file", "-t", name)
    loose = loose_object(repo, name)
    loose.chmod(0o644)
    loose.write_bytes(zlib.compress(f"{kind} {len(content)}\0".encode() + content))


def source_of(scratch: Path, /, subdirectory: str = "", **repositories: Repository | Path) -> GitSource:
    """Return the agent's source of repositories: one fills the release, several go into directories of their names.

    ``subdirectory``: the part of each repository in a release.
    """
    several = len(repositories) > 1
    scratch.mkdir(exist_ok=True)
    paths = {name: there.path if isinstance(there, Repository) else there for name, there in repositories.items()}
    places = [sections.Repository(name, str(path), name if several else ".", subdirectory) for name, path in paths.items()]
    return GitSource(places, scratch, SystemClock())


def listing(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return all facts about a directory's entries, except the time of their last read."""
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
