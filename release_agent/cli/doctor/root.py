"""Checks of the root directory: it is writable, it is one mount, and its files have one owner."""

from __future__ import annotations

import os
import stat
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.system.mounts import mount_points
from release_agent.system.user import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from release_agent.store.root import Root


def examine(root: Root, app: str, edit: str) -> Iterator[Finding]:
    """Check the root directory, or that it can be made; raises ReleaseError if another app uses it.

    ``edit``: the edit that gives the program `deploy` the right user, if its user is wrong.
    """
    give = edit or f"give {root.path} to the user of the agent"
    if not root.path.is_dir():
        yield _not_made_yet(root, give)
        return
    if not os.access(root.path, os.R_OK | os.X_OK):
        message = f"{root.path} belongs to {name_of(root.path.stat().st_uid)} and cannot be read by {name_of(os.geteuid())}"
        yield Finding("root", FAULT, message, give)
        return
    root.check_own()
    root.require_not_anothers(app)
    places = [place for place in root.directories() if os.path.lexists(place)]
    faults = [*_closed(places, give), *_on_other_mounts(root, places), *_of_others(root)]
    yield from faults
    yield from _closed_to_new_paths(root)
    if root.link.exists() and not root.link.is_symlink():
        yield Finding("root", FAULT, f"{root.link} is not a symlink", "move it away: the agent makes the link `current`")
    if not faults:
        yield Finding("root", OK, f"{root.path} is writable and on one mount")


def _not_made_yet(root: Root, give: str) -> Finding:
    if os.access(root.path.parent, os.W_OK):
        return Finding("root", OK, f"{root.path} does not exist: the first deployment makes it")
    return Finding("root", FAULT, f"{root.path} does not exist and cannot be made", f"make {root.path}; {give}")


def _closed(places: Sequence[Path], give: str) -> Iterator[Finding]:
    for place in places:
        if not os.access(place, os.R_OK | os.W_OK | os.X_OK):
            there = place.stat()
            closed = there.st_uid == os.geteuid() and there.st_mode & stat.S_IRWXU != stat.S_IRWXU
            hint = f"chmod u+rwx {place}; a hook may have changed its mode" if closed else give
            yield Finding("root", FAULT, f"{place} is not writable", hint)


def _closed_to_new_paths(root: Root) -> Iterator[Finding]:
    """Find a shared directory that somebody made as another user: only the existing paths in it can be shared."""
    if root.shared.is_dir() and not os.access(root.shared, os.W_OK | os.X_OK):
        message = f"{root.shared} is not writable for {name_of(os.geteuid())}: a deployment cannot add a shared path"
        own = root.shared.stat().st_uid == os.geteuid()
        cure = f"chmod u+rwx {root.shared}" if own else f"as root: chown --reference={root.path} {root.shared}"
        yield Finding("shared", WARNING, message, cure)


def _on_other_mounts(root: Root, places: Sequence[Path]) -> Iterator[Finding]:
    device, mounts = root.path.stat().st_dev, _mounts_inside(root.path)
    for place in places:
        if place.stat().st_dev != device or str(place) in mounts:
            message = f"{place} is on another mount than {root.path}"
            yield Finding("root", FAULT, message, "mount [app] root as a whole: rename(2) moves releases only within one mount")


def _mounts_inside(root: Path) -> set[str]:
    """Return the mount points in the root; a bind mount of the same disk has the same device, but rename(2) fails."""
    return {point for point in mount_points() if point.startswith(f"{os.path.realpath(root)}/")}


def _of_others(root: Root) -> Iterator[Finding]:
    owner = root.path.stat().st_uid
    for place in root.made():
        if place.lstat().st_uid != owner:
            message = f"{place} does not belong to the owner of {root.path}"
            yield Finding("root", FAULT, message, f"chown -R --reference={root.path} {place}")
