"""Change the user of a command."""

from __future__ import annotations

import grp
import os
import pwd
import stat
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed
from release_agent.system.kernel import lines

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

_EFFECTIVE = 1  # the second field of Uid and Gid in /proc/PID/status


def become_owner(place: Path) -> str | None:
    """Change from root to the owner of a directory; returns the owner's name, or None without a change.

    A person who enters a container is the root user. The agent's own user cannot
    change or remove files that root wrote. Raises Failed (user-not-changed).
    """
    if os.geteuid() != 0:
        return None
    try:
        status = place.stat()
    except OSError:  # it does not exist yet, or root may not look at it, which the use of the place explains
        return None
    return become(status.st_uid, f"owns {place}", group=status.st_gid)


def become(user: int, why: str, *, group: int | None = None) -> str | None:
    """Change from root to a user; returns the user's name, or None without a change.

    ``why``: the reason for this user, for the message. ``group``: the group if this
    container does not know the user (default: the same number). Raises Failed (user-not-changed), and stays root then.
    """
    if os.geteuid() != 0 or user == 0:
        return None
    account = _Account.of(user, group)
    with _explained(account, why):
        os.setgroups(account.groups)
        os.setgid(account.group)
        os.setuid(account.user)
    os.environ.update(HOME=account.home, USER=account.name, LOGNAME=account.name)
    return account.name


def not_the_owner(place: Path) -> str | None:
    """Return why this process must not run commands of releases: it is the root user, and another user owns the place."""
    owner = owner_of(place)
    if os.geteuid() != 0 or not owner:
        return None
    return f"this is the root user and {name_of(owner)} owns {place}; `release-agent doctor` shows what to fix"


@contextmanager
def acting_as(user: int, why: str) -> Iterator[None]:
    """Have only the rights of a user until the end, if this is the root user; ``why``: the reason for this user.

    Raises Failed (user-not-changed).
    """
    if os.geteuid() != 0 or user == 0:
        yield
        return
    account = _Account.of(user, None)
    with ExitStack() as until_end:
        with _explained(account, why):
            until_end.enter_context(account.in_effect())
        yield


@contextmanager
def _explained(account: _Account, why: str) -> Iterator[None]:
    """Refuse to change to a user who cannot read this agent, and explain a failed change; raises Failed (user-not-changed)."""
    what = f"cannot change from root to {account.name}, who {why}"
    try:
        if closed := account.first_unreadable(_loaded_from()):
            raise Failed(
                Code.USER_NOT_CHANGED,
                f"{what}: {account.name} cannot read {closed}, which this agent runs from",
                hint=f"install Python and release-agent in a directory that {account.name} can read, such as /opt",
            )
        yield
    except OSError as error:
        hint = f"run it as {account.name}, or give the container the capabilities SETUID and SETGID"
        raise Failed(Code.USER_NOT_CHANGED, f"{what}: {error.strerror}", hint=hint) from error


def _loaded_from() -> list[str]:
    """Return one file of each directory from which modules are still loaded: Python's library, the agent, its dependencies."""
    dependency = find_spec("structlog")
    return [os.__file__, __file__, *([dependency.origin] if dependency and dependency.origin else [])]


@dataclass(frozen=True)
class Identity:
    """The identity of a process for the kernel: its user, its group, and all its groups."""

    user: int
    group: int
    groups: frozenset[int]

    @classmethod
    def of_user(cls, user: int) -> Identity | None:
        """Return the identity of a user's processes; None if this container does not know the user."""
        try:
            known = pwd.getpwuid(user)
        except KeyError:
            return None
        return cls(user, known.pw_gid, frozenset(os.getgrouplist(known.pw_name, known.pw_gid)))

    @classmethod
    def of_process(cls, pid: int) -> Identity | None:
        """Return the identity of a process; None if it has ended."""
        try:
            status = lines(Path(f"/proc/{pid}/status"))
        except OSError:
            return None
        fields = {name: values.split() for name, _, values in (line.partition(":") for line in status)}
        user, group = int(fields["Uid"][_EFFECTIVE]), int(fields["Gid"][_EFFECTIVE])
        return cls(user, group, frozenset({group, *map(int, fields["Groups"])}))


@dataclass(frozen=True)
class _Account:
    """The attributes of a user that a process takes."""

    name: str
    home: str
    user: int
    group: int
    groups: Sequence[int]

    @classmethod
    def of(cls, user: int, group: int | None) -> _Account:
        """Return a user's account; ``group``: its group if this container does not know the user."""
        try:
            known = pwd.getpwuid(user)
        except KeyError:  # the owner of a volume need not be a user of this container
            return cls(str(user), "/", user, user if group is None else group, [])
        return cls(known.pw_name, known.pw_dir, user, known.pw_gid, os.getgrouplist(known.pw_name, known.pw_gid))

    def first_unreadable(self, files: Sequence[str]) -> str | None:
        """Return the first file that this user cannot read."""
        with self.in_effect():
            return next((file for file in files if not os.access(file, os.R_OK, effective_ids=True)), None)

    @contextmanager
    def in_effect(self) -> Iterator[None]:
        """Let root have only the rights of this user until the end."""
        group, groups = os.getegid(), os.getgroups()
        os.setgroups(self.groups)
        try:
            os.setegid(self.group)
            os.seteuid(self.user)
            yield
        finally:
            os.seteuid(0)
            os.setegid(group)
            os.setgroups(groups)


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
    """Return the user id of the owner of a place, or None if it does not exist or may not be inspected."""
    try:
        return place.stat().st_uid
    except OSError:
        return None


def user_to_be(place: Path) -> str:
    """Return a hint that names the user who may use a place; empty if another user would not help."""
    user = os.geteuid()
    for there in (place, *place.parents):
        owner = owner_of(there)
        if owner is not None:
            return f"run it as {name_of(owner)}, who owns {there}, or as root" if 0 not in (user, owner) and owner != user else ""
    return ""


def who_may_read(file: Path) -> str:
    """Return a hint that names the user who may read a file; empty if another user would not help."""
    try:
        there = file.stat()
    except OSError:
        return user_to_be(file)
    if there.st_mode & stat.S_IRGRP and there.st_gid:
        return f"run it as root, or as a user in the group {group_name(there.st_gid)}, who may read {file}"
    return user_to_be(file)
