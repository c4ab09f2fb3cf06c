"""Write the proposed files, and never replace an existing one."""

from __future__ import annotations

import os
import pwd
import shutil
import tempfile
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from release_agent.cli.init.seen import Deployer

_MODE = 0o644


def write_all(texts: Mapping[Path, str]) -> tuple[list[Path], dict[Path, OSError]]:
    """Write files; returns the written ones, and the errors of the others."""
    written, failed = [], {}
    for path, text in texts.items():
        try:
            _write_new(path, text)
        except OSError as error:
            failed[path] = error
        else:
            written.append(path)
    return written, failed


def _write_new(path: Path, text: str) -> None:
    """Write a file atomically; raises FileExistsError."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(prefix=".release-agent-", dir=path.parent)
    try:
        with os.fdopen(handle, "w", encoding="utf-8") as file:
            file.write(text)
            os.fchmod(file.fileno(), _MODE)
            os.fsync(file.fileno())
        os.link(name, path)  # fails if the file exists
    finally:
        with suppress(OSError):
            Path(name).unlink()


def make_root(root: Path, deployer: Deployer) -> bool:
    """Make the root directory for the deployer; returns whether it now belongs to the deployer.

    An empty directory of the root user's changes its owner.

    Raises OSError.
    """
    root.mkdir(parents=True, exist_ok=True)
    if root.stat().st_uid == pwd.getpwnam(deployer.name).pw_uid:
        return True
    if os.geteuid() == 0 and root.stat().st_uid == 0 and not any(root.iterdir()):
        shutil.chown(root, deployer.name, deployer.group)
        return True
    return False
