"""Mark a root with the name of its app."""

from __future__ import annotations

from contextlib import suppress
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed
from release_agent.store.files import write_durably
from release_agent.system.disk import read_regular, unusable

if TYPE_CHECKING:
    from pathlib import Path

_LONGEST = 4096  # bytes of a mark


def claim(mark: Path, app: str, incoming: Path) -> None:
    """Write an app's name into the mark, if it is missing; raises Failed (root-unusable) if the mark has another app's name.

    ``incoming``: the directory in which files are written before their rename.
    """
    try:
        owner = _owner(mark)
    except OSError as error:
        raise unusable(mark, error) from error
    if owner:
        _require(owner, app, mark)
    else:
        try:
            write_durably(mark, f"{app}\n", incoming)
        except Failed as error:
            # A full disk must not stop a rollback in the root of an older agent, which has no mark. The next run writes the mark.
            if error.code is not Code.DISK_FULL:
                raise


def require_not_anothers(mark: Path, app: str) -> None:
    """Raise Failed (root-unusable) if the mark names another app; an unreadable mark names none."""
    with suppress(OSError):
        _require(_owner(mark) or app, app, mark)


def _owner(mark: Path) -> str:
    """Return the app that the mark names, or an empty string if there is no mark; raises OSError if it cannot be read."""
    try:
        return read_regular(mark, _LONGEST, follow=False).decode(errors="replace").strip()
    except FileNotFoundError:
        return ""


def _require(owner: str, app: str, mark: Path) -> None:
    if owner != app:
        raise Failed(
            Code.ROOT_UNUSABLE,
            f"{mark.parents[1]} is the root of the app {owner}, not of {app}",
            hint=f"give each app its own [app] root; if the app was renamed, remove {mark}",
        )
