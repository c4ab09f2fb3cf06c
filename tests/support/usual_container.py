"""Run a container with the usual directories and users, in namespaces of its own: supervisord is its first process.

Commands of the documentation work in it as they are written; only ports and the directory of the repositories differ.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import release_agent
from support import warm
from support.bare_container import SYSTEM_PYTHON
from support.environment import PROJECT, clean_environment
from support.host import Ran
from support.markdown import page
from support.recipes import php_fpm
from support.servers import free_port
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Mapping

EXAMPLES = sorted(path.parent.name for path in (PROJECT / "examples").glob("*/repository"))
NAMESPACES = ["unshare", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child"]
_INSTALLED = Path(release_agent.__file__).parent.parent
# The user and group ids of the image.
_USERS = {"release": 900, "app": 901}
# /home keeps its contents, because this project may be there.
_START = """
for home in /home/*; do
    [ ! -d "$home" ] || [ -e "$0$home" ] || { mkdir "$0$home"; mount --rbind "$home" "$0$home"; }
done
for name in etc home run srv; do mount --rbind "$0/$name" "/$name"; done
exec supervisord -c /etc/supervisord.conf
"""


class UsualContainer:
    """Namespaces with the directories and users of docs/install.md, and an example's files."""

    def __init__(self, place: Path, example: str, environment: Mapping[str, str] | None = None) -> None:
        """Start the container; ``environment``: its variables."""
        self.place = place
        self.port = free_port()
        self.root = place / "srv/app"
        self._example = place / "examples" / example
        self._page = page(f"examples/{example}/README.md")
        self._environment = clean_environment() | {"PATH": f"{place}/bin:/usr/bin:/bin:/usr/sbin:/sbin", "HOME": "/root"}
        self._environment |= environment or {}
        self._install()
        self._copy(example)
        self._container = self._start()

    def _install(self) -> None:
        """Make the users, the directories and the agent's environment, as docs/install.md says."""
        shutil.copytree("/etc", self.place / "etc", symlinks=True)
        for name in ("bin", "home", "run", "srv/repos"):
            (self.place / name).mkdir(parents=True)
        with (self.place / "etc/passwd").open("a") as users, (self.place / "etc/group").open("a") as groups:
            for name, number in _USERS.items():
                users.write(f"{name}:x:{number}:{number}::/home/{name}:/usr/sbin/nologin\n")
                groups.write(f"{name}:x:{number}:{'release' if name == 'app' else ''}\n")
                home = self.place / "home" / name
                home.mkdir(mode=0o755)
                os.chown(home, number, number)
        shutil.copy(PROJECT / "supervisor.d/supervisord.conf", self.place / "etc/supervisord.conf")
        agent = self.place / "agent"
        subprocess.run([SYSTEM_PYTHON, "-m", "venv", "--without-pip", agent], check=True)
        (packages,) = agent.glob("lib/*/site-packages")
        (packages / "installed.pth").write_text(str(_INSTALLED))
        for name in ("release-agent", "supervisord", "supervisorctl"):
            module, _, function = warm.ENTRIES[name].partition(":")
            program = self.place / "bin" / name
            program.write_text(f"#!{agent}/bin/python3\nfrom {module} import {function}\n{function}()\n")
            program.chmod(0o755)

    def _copy(self, example: str) -> None:
        """Copy the files of an example."""
        shutil.copytree(PROJECT / "examples" / example, self._example)
        shutil.copy(PROJECT / "examples" / "tag", self._example.parent)
        for path in [self._example.parent / "tag", *self._example.rglob("*")]:
            if path.is_file():
                path.write_text(self._placed(path.read_text()))

    def _placed(self, text: str) -> str:
        replaced = {"8080": str(self.port), "/repos/": "/srv/repos/", "php-fpm8.2": php_fpm()}
        for shipped, here in replaced.items():
            text = text.replace(shipped, here)
        return text

    def _start(self) -> subprocess.Popen[bytes]:
        with (self.place / "log").open("wb") as log:
            streams = {"stdin": subprocess.DEVNULL, "stdout": log, "stderr": log}
            command = [*NAMESPACES, "sh", "-euc", _START, self.place]
            started = subprocess.Popen(command, env=self._environment, cwd="/", **streams)
        eventually((self.place / "run/supervisor.sock").exists, "supervisord answers")
        return started

    def run(self, script: str) -> Ran:
        """Run a shell script in the container, in the directory of the example."""
        inside = ["nsenter", "--target", str(self._first()), "--mount", "--pid"]
        command = [*inside, "sh", "-euc", f"cd {self._example}\n{script}"]
        done = subprocess.run(command, env=self._environment, check=False, capture_output=True, text=True, timeout=300)
        return Ran(done.returncode, done.stdout, done.stderr)

    def paste(self, title: str) -> Ran:
        """Run the commands of a section of the example's page; they must print the output that the page shows."""
        section = self._page.section(title)
        (commands,), (shown,) = section.examples("sh"), section.examples("text")
        ran = self.run(self._placed(commands))
        missing = [line for line in shown.splitlines() if line not in ran.out + ran.err]
        assert not missing, f"{missing} not in: {ran.out}{ran.err}{self.log()}"
        return ran

    def file(self, name: str) -> str:
        """Return the text of a file of the example."""
        return (self._example / name).read_text()

    def log(self) -> str:
        """Return the container's log."""
        return (self.place / "log").read_text()

    def live(self) -> str:
        """Return the name of the live release."""
        return (self.root / "current").readlink().name

    def processes(self) -> str:
        """Return the pids of all programs from supervisor."""
        return self.run("supervisorctl status | awk '$3 == \"pid\" { print $1, $4 }'").out

    def _first(self) -> int:
        """Return the pid of the container's first process."""
        pid = self._container.pid
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text())

    def close(self) -> None:
        """End everything in the container."""
        # When the first process ends, the kernel ends all others first.
        os.kill(self._first(), signal.SIGKILL)
        self._container.wait()
