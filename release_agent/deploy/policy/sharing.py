"""Decide how a release may share its files with the previous one."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.system.sharing import Sharing

if TYPE_CHECKING:
    from release_agent.config.sections import Hooks

_WORTH_A_CLONE = 64 << 10  # bytes; below it a clone costs more than the file


def sharing(share: str, hooks: Hooks, *, clones: bool) -> Sharing | None:
    """Return the way of sharing for a release with these hooks; None: it shares no file.

    ``clones``: whether the file system can clone files.
    Hooks run as the owner of the files: one that writes into a file would change every release that has a hard link to it.
    """
    if share == "reflink":
        return Sharing(links=False, clones_from=0) if clones else None
    if share == "hardlink":
        return Sharing(links=True, clones_from=None)
    has_hooks = any(vars(hooks).values())
    return None if share == "copy" or has_hooks else Sharing(links=True, clones_from=_WORTH_A_CLONE if clones else None)


def sharing_of_outputs(share: str) -> Sharing:
    """Return the way of sharing for the outputs of build hooks: no links unless the configuration requires them.

    Later hooks, and programs, write into such files: into ``node_modules``, and into bytecode beside a module.
    """
    return Sharing(links=share == "hardlink", clones_from=0 if share in ("auto", "reflink") else None)
