"""Make a container's files and a fake supervisor for hundreds of runs: attack them, run a command, restore them."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import tempfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from support import warm
from support.environment import clean_environment
from support.repositories import Repository

if TYPE_CHECKING:
    from collections.abc import Iterator

LIMIT = 45.0  # seconds for any command on a busy machine: less than git's limit, more than any other

# Every command; those that change something come last. The input of `monitor` has ended, so it looks once.
COMMANDS = {
    "status": ["status"],
    "history": ["history"],
    "releases": ["releases", "--json"],
    "verify": ["verify"],
    "doctor": ["doctor"],
    "dry run": ["deploy", "--dry-run", "--json"],
    "init": ["init", "--dry-run"],
    "completion": ["completion", "revisions"],
    "monitor": ["monitor"],
    "unpin": ["unpin"],
    "pin": ["pin", "v1.0.0"],
    "freeze": ["freeze", "the database moves", "--until", "2h"],
    "unfreeze": ["unfreeze"],
    "protect": ["protect", "1"],
    "remove": ["remove", "--previous", "1"],
    "stage": ["stage", "--json"],
    "deploy": ["deploy", "--json"],
    "rollback": ["rollback", "--json"],
    "boot": ["boot"],
    "prune": ["prune"],
    "repair": ["doctor", "--repair"],
}
USING_GIT = ("verify", "doctor", "dry run", "completion", "pin", "stage", "deploy", "boot")
_LOOKING = ("status", "history", "releases", "verify", "doctor", "dry run", "init", "completion", "monitor")
CHANGING = tuple(name for name in COMMANDS if name not in _LOOKING)
# The monitor continues after an unexpected exception, and writes a line into its log.
_BUG = re.compile(r'Traceback|"why": "[A-Z]\w+(Error|Exception): .*monitor\.failed')
CONFIG = """
[app]
name = "api"
environment = "test"
host = "host-1"
root = "{path}/root"
[[repository]]
name = "api"
path = "{path}/repos/api"
[[service]]
name = "web"
[health]
deadline = "{deadline}"
stable_for = "1ms"
[consul]
{consul}
"""


class Container:
    """A root with two releases and a third to deploy."""

    def __init__(self, supervisor_url: str, consul: str = "enabled = false") -> None:
        self.path = Path(tempfile.mkdtemp(prefix="ra-"))
        self.root = self.path / "root"
        self.config = self.path / "release-agent.toml"
        self.environment = clean_environment() | {
            "RELEASE_AGENT_CONFIG": str(self.config),
            "SUPERVISOR_SERVER_URL": supervisor_url,
        }
        self._configure("60s", consul)
        self.repository = Repository(self.path / "repos" / "api")
        for tag in ("v1.0.0", "v1.1.0"):
            self.repository.commit({"app.py": tag, "release.toml": '[shared]\ndirectories = ["var"]\n'}, tag=tag)
            code, said, wrong = self.run(["deploy"])
            assert code == 0, said + wrong
        self._configure("300ms", consul)  # attacked services do not become healthy, and no command waits long for them
        self.live, self.before = (path.name for path in sorted(self.root.glob("releases/*"), reverse=True))
        self.repository.commit({"app.py": "v1.2.0"}, tag="v1.2.0")
        self._kept = self.path / "kept"
        self._kept.mkdir()
        for name in ("root", "repos", self.config.name):
            _copy(self.path / name, self._kept / name)

    def _configure(self, deadline: str, consul: str) -> None:
        self.config.write_text(CONFIG.format(path=self.path, deadline=deadline, consul=consul))

    def run(self, command: list[str], **environment: str) -> tuple[int, str, str]:
        """Run a command to its end or its time limit; returns its exit code and its output."""
        with Path(os.devnull).open() as nothing, tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
            descriptors = [nothing.fileno(), out.fileno(), err.fileno()]
            program = warm.start(["release-agent", *command], self.environment | environment, descriptors)
            try:
                code = program.wait(LIMIT)
            finally:
                program.kill()
            printed = []
            for file in (out, err):
                file.seek(0)
                printed.append(file.read().decode(errors="replace"))
        return code, *printed

    def wrong_with(self, command: list[str], **environment: str) -> str:
        """Run a command; returns whether it hung, ended with a bug or printed a traceback, as a message. Empty: none of these."""
        try:
            code, said, complaint = self.run(command, **environment)
        except subprocess.TimeoutExpired:
            return f"hung for {LIMIT:g} s"
        printed = said + complaint
        # 1 without a bug means that supervisor went away during the run; an answer without sense counts as that.
        if code == 2 or code < 0 or _BUG.search(printed) or (code == 1 and "interrupted" not in printed):
            return f"ended with {code}: {(said + complaint)[-900:]}"
        return ""

    def put_back(self, *names: str) -> None:
        """Restore everything, or only the named parts."""
        for name in names or ("root", "repos", self.config.name):
            remove(self.path / name)
            _copy(self._kept / name, self.path / name)

    def close(self) -> None:
        """Remove the container."""
        remove(self.path)


@contextmanager
def container(supervisor_url: str, consul: str = "enabled = false") -> Iterator[Container]:
    """Make a container as a context."""
    made = Container(supervisor_url, consul)
    try:
        yield made
    finally:
        made.close()


def remove(path: Path) -> None:
    """Remove a path of any kind."""
    if path.is_dir() and not path.is_symlink():
        shutil.rmtree(path)
    else:
        path.unlink(missing_ok=True)


def _copy(path: Path, to: Path) -> None:
    if path.is_dir():
        shutil.copytree(path, to, symlinks=True)
    else:
        shutil.copy2(path, to)
