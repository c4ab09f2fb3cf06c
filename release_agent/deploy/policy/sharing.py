"""How a release may share its files with the one before."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.config.sections import Sharing

if TYPE_CHECKING:
    from release_agent.config.sections import Hooks

_WORTH_A_CLONE = 64 << 10  # bytes; below it a clone costs more than the file


def sharing(share: str, hooks: Hooks) -> Sharing | None:
    """Return what ``[release] share`` means for a release with these hooks; None: every file is its own.

    Hooks run as the owner of the files: one that writes into a file would change every release that has a hard link to it.
    """
    if share == "reflink":
        return Sharing(links=False, clones_from=0)
    if share == "hardlink":
        return Sharing(links=True, clones_from=None)
    has_hooks = any(vars(hooks).values())
    return None if share == "copy" or has_hooks else Sharing(links=True, clones_from=_WORTH_A_CLONE)
