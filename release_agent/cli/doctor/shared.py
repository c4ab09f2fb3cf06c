"""Check that services may write into the shared directories, which a deployment makes as the agent's own user."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import WARNING, Finding
from release_agent.system.user import group_name, name_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from pathlib import Path

    from release_agent.config.sections import Shared
    from release_agent.system.user import Identity

_WRITE = 0o3  # w and x, which a user needs to make a file in a directory
_ACCESS_LIST = "system.posix_acl_access"


def examine(shared: Path, settings: Shared, services: Mapping[str, Identity]) -> Iterator[Finding]:
    """Find the shared directories that no service may write into; the first deployment makes missing ones.

    ``shared``: the directory of all of them. ``services``: the users of the services, as far as they are known.
    """
    writers = {name: identity for name, identity in services.items() if identity.user != 0}
    for path in settings.directories if writers else ():
        there = _Directory.of(shared / path)
        if there and not any(map(there.lets_write, writers.values())):
            yield Finding(f"shared {path}", WARNING, there.refusal(writers), there.cure(next(iter(writers.values()))))


@dataclass(frozen=True)
class _Directory:
    """An existing directory without access rules besides its mode."""

    path: Path
    owner: int
    group: int
    mode: int

    @classmethod
    def of(cls, path: Path) -> _Directory | None:
        """Look at a directory; None if it is missing, or has access rules besides its mode."""
        try:
            status = path.stat()
            listed = _ACCESS_LIST in os.listxattr(path)
        except OSError:
            return None
        if listed or not stat.S_ISDIR(status.st_mode):
            return None
        return cls(path, status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode))

    def lets_write(self, who: Identity) -> bool:
        """Return whether a user may make files in it; the first match of owner, group and others decides, as in the kernel."""
        shift = 6 if who.user == self.owner else 3 if self.group in who.groups else 0
        return self.mode >> shift & _WRITE == _WRITE

    def refusal(self, writers: Mapping[str, Identity]) -> str:
        """Name the users who may not write into it, and the reason."""
        users: dict[str, list[str]] = {}
        for service, who in writers.items():
            users.setdefault(name_of(who.user), []).append(service)
        told = ", ".join(f"{user} (runs {' and '.join(services)})" for user, services in users.items())
        whose = f"{name_of(self.owner)}:{group_name(self.group)}, mode {self.mode:04o}"
        return f"{self.path} ({whose}) is not writable for {told}"

    def cure(self, who: Identity) -> str:
        """Return the command that gives a user access."""
        return f"as root: chgrp {group_name(who.group)} {self.path} && chmod g+rwxs {self.path}; see docs/guides/shared-files.md"
