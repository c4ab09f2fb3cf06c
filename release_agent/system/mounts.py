"""Read the mount points, see proc_pid_mountinfo(5)."""

from __future__ import annotations

import re
from pathlib import Path

from release_agent.system.kernel import lines

_TABLE = Path("/proc/self/mountinfo")


def mount_points(table: Path = _TABLE) -> set[str]:
    """Return all mount points: directories, and single files."""
    return {point for _, _, point in _mounts(table)}


def paths_of(directory: str, table: Path = _TABLE) -> list[str]:
    """Return every path at which mounts show a directory; ``directory``: a path without links."""
    mounts = _mounts(table)
    holding = [mount for mount in mounts if _inside(directory, mount[2]) is not None]
    if not holding:  # in a chroot the table has only the mounts inside it
        return [directory]
    # Of several mounts at one path the last is visible.
    device, root, point = max(reversed(holding), key=lambda mount: len(mount[2]))
    place = _joined(root, _inside(directory, point) or "")
    return [_joined(at, inside) for on, of, at in mounts if on == device and (inside := _inside(place, of)) is not None]


def _mounts(table: Path) -> list[tuple[str, str, str]]:
    """Return the device of each mount, the mounted directory of the device, and the mount point."""
    rows = [line.split(" ") for line in lines(table)]
    return [(fields[2], _unescaped(fields[3]), _unescaped(fields[4])) for fields in rows]


def _inside(path: str, directory: str) -> str | None:
    """Return the rest of a path after a directory, with its slash; None for a path outside of it."""
    top = directory.rstrip("/")
    return path[len(top) :] if f"{path}/".startswith(f"{top}/") else None


def _joined(directory: str, inside: str) -> str:
    return directory.rstrip("/") + inside or "/"


def _unescaped(path: str) -> str:
    """Decode a path: in the table a space, a tab, a newline and a backslash are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
