"""Check as the deploying user, because the root user may read and write more than that user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.errors import Failed
from release_agent.system.user import become, become_owner, name_of, owner_of, user_to_be

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def become_deployer(deployer: int | None, root: Path) -> Failed | None:
    """Become the user of supervisor's program `deploy`; if that is the root user or unknown, the owner of the root directory.

    `deploy` does the same: supervisor starts it as its user, and from the root user it changes to the owner.
    Returns the reason why the change failed, or None.
    """
    try:
        if not become(deployer or 0, "runs the program deploy"):
            become_owner(root)
    except Failed as refused:
        return refused
    return None


def examine(deployer: int | None, root: Path, refused: Failed | None) -> Iterator[Finding]:
    """Show the user of the checks, and whether it is the deploying user; ``refused``: the reason why root did not change."""
    user = os.geteuid()
    if refused:
        yield Finding("user", FAULT, f"{refused.message}; root does the other checks", refused.hint)
    elif deployer == user:
        yield Finding("user", OK, f"checks as {name_of(user)}, the user of the program deploy")
    elif user == owner_of(root) and not deployer:
        yield Finding("user", OK, f"checks as {name_of(user)}, who owns {root}")
    elif deployer:
        message = f"checks as {name_of(user)}, but the program deploy runs as {name_of(deployer)}"
        yield Finding("user", WARNING, message, f"run doctor as {name_of(deployer)}, or as root")
    elif hint := user_to_be(root):
        message = f"checks as {name_of(user)}, who neither deploys nor owns {root}: the other checks are about that user"
        yield Finding("user", WARNING, message, hint)
    else:
        yield Finding("user", OK, f"checks as {name_of(user)}")
