"""The user a command runs as."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from pathlib import Path


def become_owner(place: Path) -> str | None:
    """Change from root to the owner of a directory; returns the owner's name, or None if nothing was changed.

    A person who enters a container is the root user. The agent's own user could
    neither change nor remove files that root wrote.
    """
    if os.geteuid() != 0 or not place.exists():
        return None
    status = place.stat()
    return become(status.st_uid, status.st_gid)


def become(user: int, group: int | None = None) -> str | None:
    """Change from root to a user; returns the user's name, or None if nothing was changed.

    ``group``: the group of a user whom this container does not know (default: the same number).
    """
    if os.geteuid() != 0 or user == 0 or not is_open_to_all(Path(os.__file__)):
        return None
    try:
        known = pwd.getpwuid(user)
        name, home = known.pw_name, known.pw_dir
        os.initgroups(name, known.pw_gid)
        os.setgid(known.pw_gid)
    except KeyError:  # the owner of a volume need not be a user of this container
        name, home = str(user), "/"
        os.setgroups([])
        os.setgid(user if group is None else group)
    os.setuid(user)
    os.environ.update(HOME=home, USER=name, LOGNAME=name)
    return name


def name_of(user: int) -> str:
    """Return the name of a user, or the number if this container does not know it."""
    try:
        return pwd.getpwuid(user).pw_name
    except KeyError:
        return str(user)


def group_name(group: int) -> str:
    """Return the name of a group, or the number if this container does not know it."""
    try:
        return grp.getgrgid(group).gr_name
    except KeyError:
        return str(group)


def owner_of(place: Path) -> int | None:
    """Return the user id of the owner of a place, or None if it does not exist or may not be looked at."""
    try:
        return place.stat().st_uid
    except OSError:
        return None


def user_to_be(place: Path) -> str:
    """Return a hint for a user who may not use a place: which user to be. Empty if that would not help."""
    user = os.geteuid()
    for there in (place, *place.parents):
        owner = owner_of(there)
        if owner is not None:
            return f"run it as {name_of(owner)}, who owns {there}, or as root" if 0 not in (user, owner) and owner != user else ""
    return ""


def who_may_read(file: Path) -> str:
    """Return a hint for a user who may not read a file: which user to be. Empty if that would not help."""
    try:
        there = file.stat()
    except OSError:
        return user_to_be(file)
    if there.st_mode & stat.S_IRGRP and there.st_gid:
        return f"run it as root, or as a user in the group {group_name(there.st_gid)}, who may read {file}"
    return user_to_be(file)


def is_open_to_all(file: Path) -> bool:
    """Whether another user can read this Python: one in somebody's home cannot be shared."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in file.resolve().parents)
