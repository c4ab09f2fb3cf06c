"""Check that the agent's programs run as the owner of the root directory, and find the edit that fixes it."""

from __future__ import annotations

import pwd
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.services.programs import is_own
from release_agent.system.user import name_of, owner_of

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.cli.doctor.supervised import Program, Supervised


@dataclass(frozen=True)
class WrongUser:
    """A program whose user cannot deploy: the problem, and the one edit that fixes it."""

    message: str
    edit: str


def wrong_user(supervised: Supervised, program: Program, root: Path) -> WrongUser | None:
    """Compare a program's user with the owner of the root directory; None if they agree or one is unknown.

    The root user is right, because the agent changes to the owner.
    """
    user, owner, named = supervised.user_of(program), owner_of(root), supervised.next_user_of(program)
    if named and "%" not in named and not _exists(named):
        message = f"{section_of(program)} has user={named}, a user that does not exist: supervisord does not start with it"
    elif not user:
        return None
    elif not _exists(user):
        message = f"runs as {user}, a user that does not exist: supervisor cannot start it"
    elif owner in (None, user):
        return None
    else:
        message = f"runs as {name_of(user)}, and {root} belongs to {name_of(owner)}"
    return WrongUser(message, _edit(supervised, program, root))


def section_of(program: Program) -> str:
    """Return the name of a program's section in supervisord's configuration."""
    return f"[{'eventlistener' if is_own(program, ('monitor',)) else 'program'}:{program['name']}]"


def _edit(supervised: Supervised, program: Program, root: Path) -> str:
    """Return the edit of the program's user, or of the root's owner if that owner should not deploy."""
    user, owner = supervised.user_of(program), owner_of(root)
    if owner and _exists(owner) and not _runs_a_service(supervised, owner):
        return f"set user={name_of(owner)} in {section_of(program)}"
    if user and _exists(user):
        return f"chown -R {name_of(user)} {root}"
    return f"set user= in {section_of(program)} to a user that exists and owns {root}"


def _exists(user: int | str) -> bool:
    """Return whether this container knows a user, by name or by number, as supervisor looks it up."""
    try:
        pwd.getpwuid(int(user)) if str(user).isdecimal() else pwd.getpwnam(str(user))
    except (KeyError, OverflowError):
        return False
    return True


def _runs_a_service(supervised: Supervised, user: int) -> bool:
    """Return whether a service runs as this user; then the user must not own the releases."""
    return any(program["uid"] == user and not is_own(program) for program in supervised.programs or ())
