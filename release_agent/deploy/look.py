"""Look once at a release: the states of its services, and its probes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from release_agent.deploy.environment import Occasion, Place, commit_of, environment

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Config, Probe
    from release_agent.deploy.context import Context
    from release_agent.health import Look
    from release_agent.model import Release


def look(context: Context, release: Release, blueprint: Blueprint, occasion: Occasion, without: Collection[str] = ()) -> Look:
    """Look once at the services and probes of a published release; raises SupervisorGone.

    ``without``: the full names of processes that do not count.
    """
    directory = context.store.directory(release.name)
    place = Place(directory, published=directory)
    built = release.as_built()
    variables = environment(context.config, context.environ, built, occasion, place)
    services = tuple(replace(s, probes=with_commits(context.config, built, s.probes)) for s in blueprint.services)
    return context.examiner.look(replace(blueprint, services=services), directory, variables, without)


def with_commits(config: Config, built: Release, probes: Sequence[Probe]) -> tuple[Probe, ...]:
    """Return probes of a release, each with the commit of its own repository; ``built``: the release as it was built."""
    return tuple(replace(probe, commit=commit_of(config, built, probe.cwd)) for probe in probes)


def of_other_releases(context: Context, group: str, release: Release) -> str:
    """Describe the processes of a supervisor group that run the code of other releases; empty if there are none."""
    used = context.plugin.releases_in_use(group)
    return ", ".join(f"{pid} from {name}" for name, pids in used.items() if name not in ("", release.name) for pid in pids)
