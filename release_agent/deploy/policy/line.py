"""Find the target of a rollback on the line of releases."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.errors import Code, NoTarget
from release_agent.model import Release, Stage, State, find_release

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.model import UnfinishedDeployment


_NOT_HEALTHY = {
    State.BUILT: "was never proved healthy",
    State.STAGED: "was never live",
    State.FAILED: "failed",
}


def before(
    line: Sequence[str], get: Callable[[str], Release | None], leaving: str, replaced: str | None = None
) -> Release | None:
    """Return the release that a rollback from ``leaving`` goes to; None if there is none.

    ``replaced``: the release that ``leaving`` replaced, if an open deployment has published ``leaving``. It is the target
    if it is healthy. Otherwise the target is the nearest healthy release before both on ``line``, which names the
    oldest first. ``get`` finds an existing release by its name.
    """
    here = max((place for place, name in enumerate(line) if name in (leaving, replaced)), default=len(line))
    names = [*([replaced] if replaced else []), *reversed(line[:here])]
    found = (get(name) for name in names if name != leaving)
    return next((release for release in found if release and release.state is State.HEALTHY), None)


def replaced_by(live: Release, unfinished: Sequence[UnfinishedDeployment]) -> str | None:
    """Return the release that an open deployment replaced by the live one; None if there is no such deployment."""
    made = [run for run in unfinished if run.stage is not Stage.PREPARING and run.record.release == live.name]
    return made[-1].record.previous if made else None


def rollback_target(line: Sequence[str], releases: Sequence[Release], live: Release | None, asked: str) -> Release:
    """Return the release that a rollback by command goes to; raises NoTarget.

    ``asked``: a release's name, number or revision; empty: the release before the live one.
    """
    if asked:
        return _named(releases, asked)
    target = before(line, {release.name: release for release in releases}.get, live.name) if live else None
    if target is None:
        raise NoTarget(
            Code.NO_TARGET,
            f"there is no healthy release before {live.name} ({live.revision})" if live else "no release is live",
            hint="deploy a revision instead",
        )
    return target


def known(releases: Sequence[Release], named: str) -> Release:
    """Return the release of this name, number or revision; raises NoTarget."""
    found = find_release(releases, named)
    if found is None:
        raise NoTarget(
            Code.RELEASE_UNKNOWN, f"there is no release {named!r}", hint="`release-agent releases` lists the kept releases"
        )
    return found


def _named(releases: Sequence[Release], asked: str) -> Release:
    found = known(releases, asked)
    if found.state is not State.HEALTHY:
        how = _NOT_HEALTHY[found.state]
        raise NoTarget(
            Code.RELEASE_FAILED,
            f"{found.name} ({found.revision}) {how}",
            hint="name a healthy release of `release-agent releases`; to try again, deploy its revision",
        )
    return found
