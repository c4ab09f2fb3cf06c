"""Decide when a build hook would make the same outputs again: the key of its inputs."""

from __future__ import annotations

import hashlib
import json
import re
from typing import TYPE_CHECKING

from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from release_agent.config.sections import BuildHook

_FORMAT = 1  # change it with the meaning of a key or the format of the cache
# Variables of the terminal, the session and the process, which no build uses, and those of supervisor and Consul.
_OF_NO_MATTER = re.compile(
    r"_|SHLVL|PWD|OLDPWD|TERM|COLORTERM|COLUMNS|LINES|LS_COLORS|MAIL|HOSTNAME|INVOCATION_ID|JOURNAL_STREAM|TMUX.*|STY"
    r"|SSH_.*|SUDO_.*|XDG_.*|DBUS_.*|SUPERVISOR_.*|CONSUL_.*|RELEASE_.*"
)
# These are the same for every release of this root.
_OF_THE_APP = {Variable.RELEASE_APP, Variable.RELEASE_ENVIRONMENT, Variable.RELEASE_ROOT, Variable.RELEASE_SHARED}


def key(
    hook: BuildHook,
    umask: int,
    inputs: Mapping[str, object],
    variables: Mapping[str, str],
    surroundings: Sequence[object],
) -> str:
    """Return the digest (64 hex digits) of everything that a hook's outputs depend on.

    ``inputs``: their contents by path. ``variables``: see counting(). ``surroundings``: the machine and its programs.
    """
    what = [
        _FORMAT,
        [hook.run, hook.cwd, umask, list(hook.makes)],
        sorted(inputs.items()),
        sorted(variables.items()),
        surroundings,
    ]
    return hashlib.sha256(json.dumps(what).encode()).hexdigest()


def counting(command: str, environment: Mapping[str, str], named: Iterable[str] = ()) -> dict[str, str]:
    """Return the variables that can change a hook's outputs.

    A run's own variables count only if the command or a file names them. ``named``: the variables that files name.
    """
    counted = {*re.findall(r"\w+", command), *named}
    return {
        name: value
        for name, value in environment.items()
        if name in counted or name in _OF_THE_APP or not _OF_NO_MATTER.fullmatch(name)
    }


def inputs(hook: BuildHook, words: Iterable[str], directories: Iterable[str] = ()) -> list[str]:
    """Return the paths of a hook's inputs in its directory: the listed ones, and files that its command may name.

    ``directories``: the words of the command that are directories; the command may change to one first.
    """
    plain = {word.removeprefix("./") for word in words}
    mentioned = {*plain, *(f"{directory.removeprefix('./')}/{word}" for directory in directories for word in plain)}
    return [*hook.cache, *sorted(word for word in mentioned - {*hook.cache} if is_inner(word) and not _is_made(hook, word))]


def is_inner(word: str) -> bool:
    """Return whether a word may be a path in the hook's directory."""
    return not word.startswith("/") and not {"", ".", ".."} & set(word.split("/"))


def _is_made(hook: BuildHook, word: str) -> bool:
    return any(f"{word}/".startswith(f"{path}/") for path in hook.makes)
