"""The old release: its blueprint, and its hooks before a rollback."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from release_agent.errors import Refused
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Service
    from release_agent.deploy.context import Context
    from release_agent.deploy.run import Run
    from release_agent.model import Release


@dataclass(frozen=True)
class Side:
    """One side of a replacement: a release and its blueprint."""

    release: Release
    blueprint: Blueprint

    @property
    def services(self) -> Mapping[str, Service]:
        """Return its services by name."""
        return {service.name: service for service in self.blueprint.services}

    def undrained(self, sick: Collection[str]) -> Side:
        """Return the side without drain time for failed services, which would only get more requests."""
        services = (replace(service, drain=0.0) if service.name in sick else service for service in self.blueprint.services)
        return replace(self, blueprint=replace(self.blueprint, services=tuple(services)))


def left(context: Context, release: Release | None) -> Side | None:
    """Return the side of the old release; None if there is none, or its blueprint cannot be read."""
    if release is None:
        return None
    try:
        return Side(release, context.blueprint(release))
    except Refused as error:  # its own changes to release.toml must not keep it live
        context.log.warning("services.unknown", release=release.name, why=error.message)
        return None


def before_rollback(run: Run, leaving: Side | None, target: Release) -> None:
    """Run the ``before_rollback`` hooks of the old release, which knows its own schema. Raises Failed."""
    if leaving:
        directory = run.context.store.directory(leaving.release.name)
        run.hooks("before_rollback", leaving.release, directory, leaving.blueprint, {Variable.RELEASE_TARGET: target.name})
