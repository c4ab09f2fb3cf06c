"""Look once at a release: the states of its services, and its probes."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.environment import Occasion, Place, environment

if TYPE_CHECKING:
    from collections.abc import Collection

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.context import Context
    from release_agent.health import Look
    from release_agent.model import Release


def look(context: Context, release: Release, blueprint: Blueprint, occasion: Occasion, without: Collection[str] = ()) -> Look:
    """Look once at the services and probes of a published release; raises SupervisorGone.

    ``without``: the full names of processes that do not count.
    """
    directory = context.store.directory(release.name)
    place = Place(directory, published=directory)
    variables = environment(context.config, context.environ, release.as_built(), occasion, place)
    return context.examiner.look(blueprint, directory, variables, without)


def of_other_releases(context: Context, group: str, release: Release) -> str:
    """Describe the processes of a supervisor group that run the code of other releases; empty if there are none."""
    used = context.plugin.releases_in_use(group)
    return ", ".join(f"{pid} from {name}" for name, pids in used.items() if name not in ("", release.name) for pid in pids)
