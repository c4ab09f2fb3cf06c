"""Checks of the configuration's file: the deploying user can read it, and the container sees later changes of it."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.system.mounts import mount_points
from release_agent.system.user import name_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def examine(file: Path) -> Iterator[Finding]:
    """Check the file of the configuration."""
    if not os.access(file, os.R_OK):
        user = name_of(os.geteuid())
        hint = f"let {user} read the file and enter its directories: chmod 644, or chgrp and chmod 640"
        yield Finding("configuration", FAULT, f"{file} cannot be read by {user}", hint)
    elif os.path.realpath(file) in mount_points():
        yield Finding(
            "configuration",
            WARNING,
            f"{file} is mounted as one file: if an editor replaces it, this container does not see the new version",
            "mount its directory instead, as the Dockerfile shows",
        )
    else:
        yield Finding("configuration", OK, f"{file} is readable")
