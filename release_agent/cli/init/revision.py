"""Choose the revision of a bare deploy: the tags or the branch that the repositories have."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from release_agent.cli.init.seen import Note
from release_agent.deploy.policy.versions import matching

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.cli.init.seen import SeenRepository

_PATTERNS = ("v*", "[0-9]*")  # the first is the default of [revision]


class Follows(NamedTuple):
    """The source of a bare deploy: tags of a pattern, or a branch; both are empty if the repositories share neither.

    ``why``: the reason for following no tags. ``highest``: the version that a bare deploy takes; ``lacking``: the
    repositories without it. ``prerelease``: the highest pre-release, if there are no other versions.
    """

    pattern: str = ""
    branch: str = ""
    why: str = ""
    prerelease: str = ""
    highest: str = ""
    lacking: Sequence[str] = ()


def follows(repositories: Sequence[SeenRepository]) -> Follows:
    """Return the tags or the branch that a bare deploy can take: a release needs the same name in every repository."""
    tags = set.intersection(*(set(repository.tags) for repository in repositories))
    for pattern in _PATTERNS:
        if matching(tags, pattern, prereleases=False)[0]:
            (highest, *_), _ = matching({tag for each in repositories for tag in each.tags}, pattern, prereleases=False)
            lacking = [repository.name for repository in repositories if highest not in repository.tags]
            return Follows(pattern, highest=highest, lacking=lacking)
    shared = [branch for branch in repositories[0].branches if all(branch in other.branches for other in repositories)]
    prerelease = next((tag for pattern in _PATTERNS for tag in matching(tags, pattern, prereleases=True)[0]), "")
    why = "no tag is a version" if len(repositories) == 1 else "no version is in every repository"
    why = f"all versions are pre-releases, such as {prerelease}" if prerelease else why
    return Follows(branch=next(iter(shared), ""), why=why, prerelease=prerelease)


def section(repositories: Sequence[SeenRepository]) -> list[str]:
    """Return the lines of [revision], none if its defaults fit."""
    found = follows(repositories)
    if found.branch:
        keys = [f'follow = "branch"    # {found.why}; remove this line to deploy the newest version']
        return ["[revision]", *keys, f'branch = "{found.branch}"', ""]
    if found.pattern.startswith("["):
        return ["[revision]", f'pattern = "{found.pattern}"    # the tags start with a digit', ""]
    return []


def notes(repositories: Sequence[SeenRepository]) -> Iterator[Note]:
    """Yield the open points of the revision."""
    found = follows(repositories)
    where = " of each repository" if len(repositories) > 1 else ""
    what, do = "", f"tag a commit{where}, such as v1.0.0"
    if found.lacking:
        what, do = f"{', '.join(found.lacking)} lacks the tag {found.highest}", "fetch or make that tag there"
    elif found.branch:
        what = f"{found.why}, so the configuration follows the branch {found.branch}"
        do = f"to deploy versions, {do}, and remove [revision]"
    elif not found.pattern:
        what = f"{found.why}, and there is no branch main{where}"
    if found.prerelease:
        keys = "prereleases = true" + (f' and pattern = "{_PATTERNS[1]}"' if found.prerelease[0].isdigit() else "")
        do += f"; to deploy pre-releases, set only {keys} in [revision]"
    if what:
        yield Note(f"the version to deploy: {what}", do)
