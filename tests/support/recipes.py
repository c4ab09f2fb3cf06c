"""Read the shipped recipes: supervisor.d/examples and the files on their page, with only paths, ports and users replaced."""

from __future__ import annotations

import contextlib
import re
import shutil
import socket
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from support.environment import BIN, PROJECT
from support.host import SERVICE_PYTHON, SERVICE_USER
from support.markdown import page
from support.servers import free_port

if TYPE_CHECKING:
    from support.host import Host

EXAMPLES = PROJECT / "supervisor.d" / "examples"
PAGE = page("docs/guides/without-losing-a-request.md")
_OURS = ("gunicorn ", "python3 serve.py")  # programs in the tests' environment; maybe only root may run its Python
_VERSIONED = "php-fpm8.2"  # its name on Debian 12


def supervisor_section(host: Host, name: str) -> str:
    """Return a shipped file of supervisor's configuration, for a host."""
    text = _placed(host, (EXAMPLES / f"{name}.conf").read_text())
    user = SERVICE_USER
    for program in _OURS:
        if f"command={program}" in text:
            text, user = text.replace(f"command={program}", f"command={BIN}/{program}"), "root"
    replaced = {"user=app": f"user={user}", "command=python3": f"command={SERVICE_PYTHON}", _VERSIONED: php_fpm()}
    for shipped, here in replaced.items():
        text = text.replace(shipped, here)
    return text


def shown(host: Host, title: str, language: str) -> str:
    """Return the only example of a language under a heading of the page, for a host."""
    (example,) = PAGE.section(title).examples(language)
    return _placed(host, example)


def _placed(host: Host, text: str) -> str:
    pair = _pair(host.port)
    places = {"/srv/app": host.root, "/home/app": host.path, "/etc/haproxy": host.path, "/run/haproxy": f"{host.path}/haproxy"}
    ports = {"8080": host.port, "810": f"{pair}0", "81{process_num}": f"{pair}{{process_num}}", '"81%(': f'"{pair}%('}
    replaced = {shipped: str(here) for shipped, here in {**places, **ports}.items()}
    return re.sub("|".join(map(re.escape, replaced)), lambda found: replaced[found[0]], text)


@cache
def _pair(port: int) -> int:
    """Return the common start of the numbers of two free ports; never that of ``port``, the host's own."""
    while True:
        beginning = free_port() // 100
        if beginning == port // 100:
            continue
        with contextlib.suppress(OSError), socket.socket() as one, socket.socket() as other:
            one.bind(("127.0.0.1", beginning * 100))
            other.bind(("127.0.0.1", beginning * 100 + 1))
            return beginning


def php_fpm() -> str:
    """Return the name of the program in this version of Debian."""
    return next((str(found) for found in Path("/usr/sbin").glob("php-fpm*")), _VERSIONED)


def needed(*programs: str) -> None:
    """Fail if a program is missing that scripts/test installs."""
    missing = [program for program in programs if not shutil.which(program)]
    assert not missing, f"scripts/test installs what is missing here: {', '.join(missing)}"
