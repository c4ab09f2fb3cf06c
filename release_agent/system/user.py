"""The user a command runs as."""

from __future__ import annotations

import os
import pwd
import stat
from pathlib import Path


def become_owner(place: Path) -> str | None:
    """Change from root to the owner of a directory; returns the owner's name, or None if nothing was changed.

    A person who enters a container is the root user. The agent's own user could
    neither change nor remove files that root wrote.
    """
    if os.geteuid() != 0 or not place.exists() or place.stat().st_uid == 0 or not _is_open_to_all(Path(os.__file__)):
        return None
    status = place.stat()
    try:
        user = pwd.getpwuid(status.st_uid)
        name, home = user.pw_name, user.pw_dir
        os.initgroups(name, user.pw_gid)
        os.setgid(user.pw_gid)
    except KeyError:  # the owner of a volume need not be a user of this container
        name, home = str(status.st_uid), "/"
        os.setgroups([])
        os.setgid(status.st_gid)
    os.setuid(status.st_uid)
    os.environ.update(HOME=home, USER=name, LOGNAME=name)
    return name


def _is_open_to_all(file: Path) -> bool:
    """Whether another user can read this Python: one in somebody's home cannot be shared."""
    return all(parent.stat().st_mode & stat.S_IXOTH for parent in file.resolve().parents)
