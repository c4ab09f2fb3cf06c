"""Read the inputs of a build hook: the files and directories that it lists, and the files that its command names."""

from __future__ import annotations

import errno
import os
import re
import stat
from typing import TYPE_CHECKING

from release_agent.deploy.policy import outputs
from release_agent.system.disk import read_regular
from release_agent.system.trees import LINK, scan
from release_agent.variables import OF_ONE_RELEASE

if TYPE_CHECKING:
    from collections.abc import Collection
    from pathlib import Path

    from release_agent.config.sections import BuildHook
    from release_agent.system.clock import Clock

_VARIABLE = re.compile(r"\bRELEASE_\w+")
_LONGEST_SCRIPT = 1 << 20  # bytes


class HookInputs:
    """The inputs of one hook in one release."""

    def __init__(self, hook: BuildHook, words: Collection[str], directory: Path, clock: Clock) -> None:
        """``words``: the words of the command. ``directory``: the working directory of the hook."""
        self._listed = hook.cache
        self._directory = directory
        self._clock = clock
        directories = [word for word in words if outputs.is_inner(word) and stat.S_ISDIR(_mode(directory / word))]
        paths = outputs.inputs(hook, words, directories)
        self._paths = [path for path in paths if path in self._listed or stat.S_ISREG(_mode(directory / path))]

    @property
    def places(self) -> list[Path]:
        """Return the paths of all inputs; a listed one may be missing."""
        return [self._directory / path for path in self._paths]

    def variables(self) -> set[str]:
        """Return a run's variables that input files name; raises OSError for a variable whose value differs for each release."""
        found: set[str] = set()
        for place in self.places:
            named = _variables(place)
            for name in sorted(named & {*OF_ONE_RELEASE}):
                raise OSError(errno.EINVAL, f"it names {name}, whose value differs for each release", str(place))
            found |= named
        return found

    def held(self) -> dict[str, object]:
        """Return the contents of the inputs by path; None for a missing one. Raises OSError, Cancelled."""
        found: dict[str, object] = dict.fromkeys(self._listed)
        for path in self._paths:
            if os.path.lexists(self._directory / path):
                for name, entry in scan(self._directory, [path], self._clock).items():
                    found[name] = [entry.kind, entry.mode, entry.holds]
                    if entry.kind == LINK:
                        found[f"{name} ->"] = self._led_to(self._directory / name)
        return found

    def require_unchanged(self, before: dict[str, object]) -> None:
        """Raise OSError if the inputs have changed."""
        now = self.held()
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name, "") != now.get(name, ""))
        if changed:
            raise OSError(errno.EINVAL, "the hook has changed its own inputs", str(self._directory / changed[0]))

    def _led_to(self, link: Path) -> str | None:
        """Return the content of a link's target, None if the target is missing; raises OSError for a directory."""
        mode = _mode(link)
        if not mode:
            return None
        if not stat.S_ISREG(mode):
            raise OSError(errno.EISDIR, "an input is a link, and not to a file", str(link))
        place = link.resolve()
        return scan(place.parent, [place.name], self._clock)[place.name].holds


def _variables(place: Path) -> set[str]:
    """Return a run's variables that a file names; none for a file that is not a script or very large."""
    try:
        return set(_VARIABLE.findall(read_regular(place, _LONGEST_SCRIPT).decode(errors="replace")))
    except OSError:
        return set()


def _mode(place: Path) -> int:
    """Return the kind and mode of a path's target, 0 if it is missing."""
    try:
        return place.stat().st_mode
    except OSError:
        return 0
