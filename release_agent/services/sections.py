"""Read the keys that supervisord's RPC lacks from its configuration file: `autorestart`, and the current `user`."""

from __future__ import annotations

import os
import re
from configparser import Error, RawConfigParser
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.system.disk import read_regular
from release_agent.system.processes import all_pids

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

_SUPERVISORD = frozenset({"supervisord", "supervisord.py", "supervisor.supervisord"})  # a script, or a module after -m
_OPTIONS = ("-c", "--configuration")
_DEFAULTS = ("supervisord.conf", "etc/supervisord.conf", "/etc/supervisord.conf", "/etc/supervisor/supervisord.conf")
_WORDS = {"true": ("true", "yes", "on", "1"), "false": ("false", "no", "off", "0"), "unexpected": ("unexpected",)}
_DEFAULT = "unexpected"
_LARGEST = 4 << 20  # bytes of a file


class UnknownSectionsError(Exception):
    """supervisord's configuration cannot be found, read or understood; the text gives the reason."""


class Sections:
    """The sections of supervisord's configuration, with those of the files it includes.

    ``outer``: the names of those in the file itself; supervisorctl reads no other ones.
    """

    def __init__(self, pid: int, environ: Mapping[str, str] = os.environ) -> None:
        """Read the configuration file of a running supervisord; raises UnknownSectionsError."""
        file = self.file = _file_of(pid)
        self._environ = environ
        self._parser = RawConfigParser(inline_comment_prefixes=(";", "#"), strict=False)
        try:
            self._parser.read_string(_text(file))
            self.outer = frozenset(self._parser.sections())
            for included in [found for pattern in self.include for found in _matching(pattern)]:
                self._parser.read_string(_text(included))
        except OSError as error:
            message = f"cannot read {error.filename or file}: {error.strerror}"
            raise UnknownSectionsError(message) from error
        except Error as error:
            message = f"{file} cannot be understood: {error}"
            raise UnknownSectionsError(message) from error

    def autorestart(self, program: Mapping[str, Any]) -> str:
        """Return ``true``, ``false`` or ``unexpected`` for a program of getAllConfigInfo; raises UnknownSectionsError."""
        section = self._section(program)
        given = self._parser.get(section, "autorestart", fallback=_DEFAULT).strip()
        for word, spellings in _WORDS.items():
            if given.lower() in spellings:
                return word
        message = f"[{section}] autorestart={given} cannot be understood"
        raise UnknownSectionsError(message)

    def user(self, program: Mapping[str, Any]) -> str:
        """Return the current `user=` of a program in the file, empty without one; raises UnknownSectionsError."""
        return self._parser.get(self._section(program), "user", fallback="").strip()

    def _section(self, program: Mapping[str, Any]) -> str:
        sections = [name for name in self._parser.sections() if name.startswith("program:")]
        for name in sections:
            if name == f"program:{program['name']}" or self._parser.get(name, "command", fallback="") == program["command"]:
                return name
        message = f"no [program:{program['name']}] in the configuration of supervisord"
        raise UnknownSectionsError(message)

    @property
    def include(self) -> list[Path]:
        """The patterns of the files that [include] reads, as whole paths."""
        return [self.file.parent / pattern for pattern in self.value("include", "files").split()]

    @property
    def urls(self) -> list[str]:
        """The URLs at which supervisord listens once it has started, its socket first."""
        socket, port = self.value("unix_http_server", "file"), self.value("inet_http_server", "port")
        host, _, number = port.rpartition(":")
        host = "127.0.0.1" if host in ("", "*", "0.0.0.0") else host  # noqa: S104 - only compared
        return [f"unix://{os.path.realpath(socket)}"] * bool(socket) + [f"http://{host}:{number}"] * bool(port)

    def names(self) -> list[str]:
        """Return the names of all sections."""
        return self._parser.sections()

    def value(self, section: str, key: str) -> str:
        """Return a value, its variables replaced as supervisord does; empty if there is none."""
        values = {"here": str(self.file.parent)} | {f"ENV_{name}": value for name, value in self._environ.items()}
        given = self._parser.get(section, key, fallback="").strip()
        return re.sub(r"%\((\w+)\)s", lambda found: values.get(found[1], found[0]), given)


def running() -> list[int]:
    """Return the process ids of all supervisord on this machine."""
    return sorted(pid for pid in all_pids() if _is_supervisord(pid))


def _is_supervisord(pid: int) -> bool:
    """Return whether a process is supervisord, and not an init such as tini whose command line names it."""
    try:
        program, *following = (Path(word).name for word in command_line(pid)[:4])
    except UnknownSectionsError:
        return False
    return program == "supervisord" or (program.startswith("python") and not _SUPERVISORD.isdisjoint(following))


def _text(file: Path) -> str:
    return read_regular(file, _LARGEST).decode(errors="replace")


def _matching(pattern: Path) -> list[Path]:
    return sorted(Path(pattern.anchor).glob(str(pattern.relative_to(pattern.anchor))))


def _file_of(pid: int) -> Path:
    """Return the path of a running supervisord's configuration."""
    words = command_line(pid)
    program = next((i for i, word in enumerate(words) if "supervisord" in Path(word).name), None)
    if program is None:
        message = f"process {pid} does not look like supervisord"
        raise UnknownSectionsError(message)
    named = _option(words[program + 1 :])
    beside = Path(words[program]).parent.parent
    usual = (f"{beside}/etc/supervisord.conf", f"{beside}/supervisord.conf", *_DEFAULTS)
    for place in (_directory_of(pid) / place for place in ([named] if named else usual)):  # an absolute path stays as it is
        if named or os.path.exists(place):  # noqa: PTH110 - Path.exists raises for a directory that may not be entered
            return place
    message = "supervisord was started without a configuration file"
    raise UnknownSectionsError(message)


def _directory_of(pid: int) -> Path:
    """Return the working directory of a process; the link to it if this user may not read the link."""
    link = Path(f"/proc/{pid}/cwd")
    try:
        return link.readlink()
    except OSError:
        return link


def command_line(pid: int) -> list[str]:
    """Return the command line of a process, see proc_pid_cmdline(5)."""
    try:
        return [os.fsdecode(word) for word in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")]
    except OSError as error:
        message = f"cannot read the command line of supervisord: {error.strerror}"
        raise UnknownSectionsError(message) from error


def _option(words: Sequence[str]) -> str:
    """Return the value of the option for the configuration's file, or an empty text."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        if word in _OPTIONS:
            return following
        if word.startswith("--configuration=") or re.match("-c.", word):
            return word.removeprefix("--configuration=").removeprefix("-c")
    return ""
