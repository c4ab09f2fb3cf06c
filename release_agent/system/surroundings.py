"""Identify the surroundings of a command: the system, and the programs that it names."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import stat
import subprocess
from contextlib import suppress
from pathlib import Path
from string import Template
from typing import TYPE_CHECKING

from release_agent.system.disk import read_regular

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

# These files name the version of the system, and every package with its version.
_OF_THE_SYSTEM = ("/etc/os-release", "/var/lib/dpkg/status", "/lib/apk/db/installed")
_LONGEST = 256 << 20  # bytes of these files
_INTERPRETERS = ("node", "python", "python3")  # they select programs that the command does not name
_WORD = re.compile(r"[\w./+@-]+")
_FIRST_LINE = 256  # bytes
_PATIENCE = 10.0  # seconds for ``--version``


def surroundings(
    names: Iterable[str], scripts: Iterable[Path], directory: Path, environment: Mapping[str, str]
) -> list[list[object]]:
    """Return the identity of this machine and of programs; raises OSError, subprocess.SubprocessError.

    ``names``: words that may name a program. ``scripts``: files whose interpreters are also programs.
    The identity has the system's list of packages, and the path, size and time of each program's file. A version manager
    replaces an interpreter by a script, so the identity also has the version of such an interpreter.
    """
    machine = os.uname()
    found: list[list[object]] = [[machine.sysname, machine.machine]]
    for name in _OF_THE_SYSTEM:
        with suppress(FileNotFoundError):
            found.append([name, hashlib.sha256(read_regular(Path(name), _LONGEST)).hexdigest()])
    interpreters = [word for script in scripts for word in _words(_first_line(script))]
    found += sorted(_programs({*names, *interpreters, *_INTERPRETERS}, directory, environment))
    return found


def own_umask() -> int:
    """Return the umask of this process; umask(2) would have to change it for a moment."""
    status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
    return int(re.findall(r"^Umask:\s*([0-7]+)$", status, re.MULTILINE)[0], 8)


def words(command: str, environment: Mapping[str, str]) -> set[str]:
    """Return the words of a shell command that may name a program or a file, with its variables and with their values."""
    return {*_words(command), *_words(Template(command).safe_substitute(environment))}


def _words(text: str) -> list[str]:
    return _WORD.findall(text)


def _programs(names: set[str], directory: Path, environment: Mapping[str, str]) -> Iterator[list[object]]:
    seen: set[str] = set()
    left = list(names)
    while left:
        name = left.pop()
        place = shutil.which(name, path=environment.get("PATH", os.defpath))
        if name in seen or place is None or not place.startswith("/"):
            continue  # a file of the release is a separate input
        seen.add(name)
        there, first = Path(place).stat(), _first_line(Path(place))
        said = ""
        if first:
            left += [word for word in _words(first) if word not in seen]
            said = _version(place, directory, environment) if name in _INTERPRETERS else ""
        yield [name, str(Path(place).resolve()), there.st_size, there.st_mtime_ns, said]


def _first_line(place: Path) -> str:
    """Return the first line of a script, an empty text for anything else; never wait for a pipe."""
    try:
        descriptor = os.open(place, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:  # an interpreter could also not read it
        return ""
    try:
        begin = os.read(descriptor, _FIRST_LINE) if stat.S_ISREG(os.fstat(descriptor).st_mode) else b""
    finally:
        os.close(descriptor)
    return begin.splitlines()[0].decode(errors="replace") if begin.startswith(b"#!") else ""


def _version(program: str, directory: Path, environment: Mapping[str, str]) -> str:
    done = subprocess.run(  # noqa: S603 - the interpreter that the hook would run
        [program, "--version"],
        cwd=directory,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=_PATIENCE,
        check=False,
    )
    return f"{done.returncode} {done.stdout!r} {done.stderr!r}"
