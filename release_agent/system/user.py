"""The user a command runs as."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path


def become_owner(place: Path) -> str | None:
    """Become the user who owns a directory, where root is asked to work in it; returns the user's name.

    Whoever enters a container is root. What root wrote, the agent's own user
    could neither change nor remove later.
    """
    if os.geteuid() != 0 or not place.exists() or place.stat().st_uid == 0 or not _is_open_to_all(Path(os.__file__)):
        return None
    status = place.stat()
    try:
        user = pwd.getpwuid(status.st_uid)
        name, home = user.pw_name, user.pw_dir
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
    except KeyError:  # a volume of a user this container does not know
        name, home = str(status.st_uid), "/"
        os.setgroups([])
        os.setgid(status.st_gid)
    os.setuid(status.st_uid)
    os.environ.update(HOME=home, USER=name, LOGNAME=name)
    return name


def _is_open_to_all(file: Path) -> bool:
    """Whether another user could go on importing: a Python in somebody's home cannot be shared."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in file.resolve().parents)
