"""Choose the revision of a bare deploy: the tags or the branch that the repositories have."""

from __future__ import annotations

from fnmatch import fnmatchcase
from typing import TYPE_CHECKING, NamedTuple

from release_agent.cli.init.seen import Note

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.cli.init.seen import SeenRepository


class Follows(NamedTuple):
    """The source of a bare deploy: tags of a pattern, or a branch; both are empty if the repositories have neither."""

    pattern: str = ""
    branch: str = ""


def follows(repositories: Sequence[SeenRepository]) -> Follows:
    """Return the tags or the branch that a bare deploy can take from these repositories."""
    tags = {tag for repository in repositories for tag in repository.tags}
    pattern = next((one for one in ("v[0-9]*", "[0-9]*") if any(fnmatchcase(tag, one) for tag in tags)), "")
    return Follows(pattern, "" if pattern else repositories[0].branch)


def section(repositories: Sequence[SeenRepository]) -> list[str]:
    """Return the lines of [revision], none if its defaults fit."""
    found = follows(repositories)
    if found.branch:
        keys = ['follow = "branch"    # no tag is a version; remove this line to deploy the newest version']
        return ["[revision]", *keys, f'branch = "{found.branch}"', ""]
    if found.pattern.startswith("["):
        return ["[revision]", f'pattern = "{found.pattern}"    # the tags start with a digit', ""]
    return []


def notes(repositories: Sequence[SeenRepository]) -> Iterator[Note]:
    """Yield the open points of the revision."""
    found = follows(repositories)
    if found.branch:
        do = "to deploy versions, tag a commit, such as v1.0.0, and remove [revision]"
        yield Note(f"the version to deploy: no tag is a version, so the configuration follows the branch {found.branch}", do)
    elif not found.pattern:
        yield Note("the version to deploy: there is no version tag and no branch main", "tag a commit, such as v1.0.0")
