"""Read the programs that a release brings from its commits, and check that supervisor accepts them."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from release_agent.config import blueprint, programs
from release_agent.errors import Code, Failed, Refused

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.context import Context
    from release_agent.health import BroughtGroup, Candidate


def blueprint_of(context: Context, commits: dict[str, str]) -> Blueprint:
    """Return the blueprint that commits describe; raises Refused, Failed (programs-invalid)."""

    def find(repository: str, pattern: str) -> Mapping[str, str]:
        return context.source.programs(commits, repository, pattern)

    return blueprint.combine(context.config, context.source.read(commits, blueprint.FILE), find)


@dataclass(frozen=True)
class Known:
    """The groups of a release's services, from the release itself or from supervisor."""

    context: Context
    brought: Mapping[str, BroughtGroup] = field(default_factory=dict)

    def smallest_program(self, service: str) -> int:
        """Return the number of processes of the service's smallest program, 0 if there are none."""
        group = self.brought.get(service)
        return group.smallest if group else self.context.services.smallest_program(service)

    def socket_of(self, service: str) -> str | None:
        """Return the socket that supervisord holds for a service, empty if it holds none; None without the plugin."""
        group = self.brought.get(service)
        return group.socket if group else self.context.plugin.socket_of(service)

    def candidates(self, service: str) -> Sequence[Candidate]:
        """Return the processes that a rehearsal may copy; raises Failed."""
        group = self.brought.get(service)
        return group.candidates if group else self.context.plugin.candidates(service)


def checked(context: Context, plans: Blueprint) -> Known:
    """Return the groups of a release's services; raises Failed if supervisor cannot add or restart one of them."""
    brought = {group.name: group for group in context.programs.check(plans.programs)}
    leaving = programs.groups(_live(context)).keys() - brought.keys()
    for service in plans.services:
        if service.name in leaving:
            raise Failed(
                Code.SERVICE_UNKNOWN,
                f"service {service.name} came with the live release, and the next one does not bring it",
                hint="add its [program:…] to the files that `programs` of release.toml names, or remove its [[service]]",
            )
    context.services.check([service for service in plans.services if service.name not in brought])
    return Known(context, brought)


def _live(context: Context) -> Sequence[programs.ProgramFile]:
    live = context.store.current()
    try:
        return context.blueprint(live).programs if live else ()
    except Refused:  # changes in the live release's own files must not prevent a deployment
        return ()
