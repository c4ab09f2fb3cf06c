"""Look for the repositories of a container, and into them."""

from __future__ import annotations

import os
import re
import tempfile
import tomllib
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.cli.init.seen import SeenRepository
from release_agent.config.blueprint import FILE
from release_agent.config.sections import Repository
from release_agent.deploy.policy.versions import matching
from release_agent.errors import Code, Misconfigured
from release_agent.model import Kind
from release_agent.repository.source import GitSource

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.system.clock import Clock

_LONGEST_NAME = 63
_BRANCHES = ("main", "master", "trunk")


def repositories_in(place: Path, clock: Clock) -> list[SeenRepository]:
    """Return the repositories in a directory, or the directory itself if it is one; raises Misconfigured, Refused."""
    try:
        found = [place] if _is_repository(place) else sorted(filter(_is_repository, place.iterdir()))
    except OSError:
        found = []
    if not found:
        raise Misconfigured(
            Code.MISCONFIGURED,
            f"no git repository that this user can read in {place}",
            hint=f"mount one there, read-only, as {place}/NAME; or name another directory with --repositories",
        )
    for path in found:
        if not str(path).isprintable():
            message = f"the name of the repository {str(path)!a} cannot stand in a configuration"
            raise Misconfigured(Code.MISCONFIGURED, message, hint="mount it by a name of printable characters")
    return [_looked_into(path, name, clock) for path, name in zip(found, _names(found), strict=True)]


def _is_repository(path: Path) -> bool:
    # One that may not be entered, such as lost+found, tells nothing.
    return os.access(path, os.X_OK) and ((path / ".git").exists() or ((path / "HEAD").is_file() and (path / "objects").is_dir()))


def _names(paths: Sequence[Path]) -> Iterator[str]:
    """Yield a name for each repository, no two alike."""
    given: set[str] = set()
    for path in paths:
        usable = re.sub(r"[^A-Za-z0-9_.-]", "-", path.name.removesuffix(".git")[:_LONGEST_NAME]).strip("-._") or "app"
        name = usable if usable not in given else next(one for n in count(2) if (one := f"{usable}-{n}") not in given)
        given.add(name)
        yield name


def _looked_into(path: Path, name: str, clock: Clock) -> SeenRepository:
    with tempfile.TemporaryDirectory(prefix="release-agent-") as scratch:
        source = GitSource([Repository(name, str(path), ".")], Path(scratch), clock)
        try:
            (repository,) = source.repositories
            tags = tuple(source.tags())
            branch = next((name for name in _BRANCHES if repository.find(name, Kind.BRANCH)), "")
            newest = next(iter(matching(tags, "*", prereleases=False)[0]), "") or branch
            text = ""
            if newest:
                text = source.read(dict(source.resolve(newest, list(Kind)).commits), FILE).get(name, "")
        finally:
            source.close()
    return SeenRepository(name, str(path), tags, branch, services=_names_services(text))


def _names_services(text: str) -> bool:
    """Whether a release.toml names services; a broken one is reported by `doctor`."""
    try:
        return bool({"service", "programs"} & set(tomllib.loads(text)))
    except (ValueError, RecursionError):
        return False
