"""The inputs of a build hook: the files and directories of a release that it lists, and files that its command names."""

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
        """``words``: those of the command. ``directory``: where the hook runs."""
        self._listed = hook.cache
        self._directory = directory
        self._clock = clock
        directories = [word for word in words if outputs.is_inner(word) and stat.S_ISDIR(_mode(directory / word))]
        paths = outputs.inputs(hook, words, directories)
        self._paths = [path for path in paths if path in self._listed or stat.S_ISREG(_mode(directory / path))]

    @property
    def places(self) -> list[Path]:
        """Return the paths of all inputs; one that is listed may be missing."""
        return [self._directory / path for path in self._paths]

    def variables(self) -> set[str]:
        """Return the variables of a run that files among them name; raises OSError for one with another value in each release."""
        found: set[str] = set()
        for place in self.places:
            named = _variables(place)
            for name in sorted(named & {*OF_ONE_RELEASE}):
                raise OSError(errno.EINVAL, f"it names {name}, and each release has another", str(place))
            found |= named
        return found

    def held(self) -> dict[str, object]:
        """Return what they hold, by path; None for a listed one that is missing. Raises OSError, Cancelled."""
        found: dict[str, object] = dict.fromkeys(self._listed)
        for path in self._paths:
            if os.path.lexists(self._directory / path):
                for name, entry in scan(self._directory, [path], self._clock).items():
                    found[name] = [entry.kind, entry.mode, entry.holds]
                    if entry.kind == LINK:
                        found[f"{name} ->"] = self._led_to(self._directory / name)
        return found

    def require_unchanged(self, before: dict[str, object]) -> None:
        """Raise OSError if they do not hold what they held before."""
        now = self.held()
        changed = sorted(name for name in before.keys() | now.keys() if before.get(name, "") != now.get(name, ""))
        if changed:
            raise OSError(errno.EINVAL, "the hook has changed what it is made of", str(self._directory / changed[0]))

    def _led_to(self, link: Path) -> str | None:
        """Return what the file holds that a link leads to, None if it leads nowhere; raises OSError for a directory."""
        mode = _mode(link)
        if not mode:
            return None
        if not stat.S_ISREG(mode):
            raise OSError(errno.EISDIR, "a link to anything but a file is no input", str(link))
        place = link.resolve()
        return scan(place.parent, [place.name], self._clock)[place.name].holds


def _variables(place: Path) -> set[str]:
    """Return the variables of a run that a file names, none of anything that is no script of a usual size."""
    try:
        return set(_VARIABLE.findall(read_regular(place, _LONGEST_SCRIPT).decode(errors="replace")))
    except OSError:
        return set()


def _mode(place: Path) -> int:
    """Return the kind and mode of what a path leads to, 0 if it leads nowhere."""
    try:
        return place.stat().st_mode
    except OSError:
        return 0
