"""What is mounted where, see proc_pid_mountinfo(5)."""

from __future__ import annotations

import re
from pathlib import Path


def mount_points(table: Path = Path("/proc/self/mountinfo")) -> set[str]:
    """Return where something is mounted: directories, and single files."""
    lines = table.read_text(encoding="utf-8", errors="surrogateescape").splitlines()
    return {_unescaped(line.split(" ")[4]) for line in lines}


def _unescaped(path: str) -> str:
    """Return a path as it is: in the table a space, a tab, a newline and a backslash are octal numbers."""
    return re.sub(r"\\([0-7]{3})", lambda found: chr(int(found[1], 8)), path)
