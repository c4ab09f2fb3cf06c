"""Find the repositories of a container, and read their tags and services."""

from __future__ import annotations

import os
import re
import tempfile
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.cli.init.seen import SeenRepository
from release_agent.config import toml
from release_agent.config.blueprint import FILE
from release_agent.config.sections import Repository
from release_agent.deploy.policy.versions import matching
from release_agent.errors import Code, Misconfigured
from release_agent.model import Kind
from release_agent.repository.source import GitSource
from release_agent.system.user import name_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.system.clock import Clock

_LONGEST_NAME = 63
_BRANCHES = ("main", "master", "trunk")


def repositories_in(place: Path, clock: Clock) -> list[SeenRepository]:
    """Return the repositories in a directory, or the directory itself if it is one; raises Misconfigured, Refused."""
    hint = f"mount one there, read-only, as {place}/NAME; or name another directory with --repositories"
    try:
        found = [place] if _is_repository(place) else sorted(filter(_is_repository, place.iterdir()))
    except PermissionError as error:
        why = f"{error.filename} cannot be read: {error.strerror}"
        raise Misconfigured(Code.MISCONFIGURED, why, hint=f"let {name_of(os.geteuid())} read it") from error
    except OSError as error:
        why = f"cannot look for repositories in {place}: {error.strerror}"
        raise Misconfigured(Code.MISCONFIGURED, why, hint=hint) from error
    if not found:
        raise Misconfigured(Code.MISCONFIGURED, f"no git repository in {place}", hint=hint)
    for path in found:
        if not str(path).isprintable():
            message = f"the name of the repository {str(path)!a} cannot be written into a configuration"
            raise Misconfigured(Code.MISCONFIGURED, message, hint="mount it under a name of printable characters")
    return [_looked_into(path, name, clock) for path, name in zip(found, _names(found), strict=True)]


def _is_repository(path: Path) -> bool:
    if path.name == "lost+found":  # a directory of the file system; only root may read it
        return False
    return (path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir())


def _names(paths: Sequence[Path]) -> list[str]:
    """Return a name for each repository; a second one of the same name gets a number."""
    names: list[str] = []
    for path in paths:
        name = re.sub(r"[^A-Za-z0-9_.-]", "-", path.name.removesuffix(".git")[:_LONGEST_NAME]).strip("-._") or "app"
        numbered = (name if number == 1 else f"{name}-{number}" for number in count(1))
        names.append(next(one for one in numbered if one not in names))
    return names


def _looked_into(path: Path, name: str, clock: Clock) -> SeenRepository:
    with tempfile.TemporaryDirectory(prefix="release-agent-") as scratch:
        source = GitSource([Repository(name, str(path), ".")], Path(scratch), clock)
        try:
            (repository,) = source.repositories
            tags = tuple(source.tags())
            branches = tuple(name for name in _BRANCHES if repository.find(name, Kind.BRANCH))
            newest = next(iter([*matching(tags, "*", prereleases=False)[0], *branches]), "")
            text = ""
            if newest:
                text = source.read(dict(source.resolve(newest, list(Kind)).commits), FILE).get(name, "")
        finally:
            source.close()
    keys = _keys(text)
    return SeenRepository(name, str(path), tags, branches, services="service" in keys, programs="programs" in keys)


def _keys(text: str) -> set[str]:
    """Return the keys of a release.toml; none of a broken one, which `doctor` reports."""
    try:
        return set(toml.parse(text))
    except (ValueError, RecursionError):
        return set()
