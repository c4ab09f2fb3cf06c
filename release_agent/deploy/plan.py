"""Plan a deployment before it changes anything."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from release_agent.config import blueprint
from release_agent.config.sections import RestartKind
from release_agent.deploy.building import Building, Way, choose
from release_agent.deploy.policy.freeze import is_automatic
from release_agent.deploy.policy.rehearsal import check
from release_agent.deploy.programs import Known, blueprint_of, checked
from release_agent.deploy.room import check_room
from release_agent.errors import Code, Failed
from release_agent.model import Release, State, Target, release_name
from release_agent.request import PROGRAM, no_program

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.context import Context
    from release_agent.model import Request


_WHOLE = (State.HEALTHY, State.STAGED)


@dataclass(frozen=True)
class Plan:
    """The plan of a deployment: build ``name`` as ``building`` says, or publish ``kept`` unchanged."""

    target: Target
    blueprint: Blueprint
    fingerprint: str
    name: str
    kept: Release | None
    building: Building
    known: Known


def plan(context: Context, target: Target, request: Request) -> Plan:
    """Decide which release to build or take; raises Failed or Refused."""
    store = context.store
    plans = blueprint_of(context, target.commits)
    known = checked(context, plans)
    _check_rolling(known, plans)
    _check_rehearsals(context, known, plans)
    fingerprint = blueprint.fingerprint(context.config, context.source.identities(target.commits), plans)
    number = max(store.next_number(), context.journal.last_number() + 1)
    kept = None if request.force else same_content(store.current(), store.releases(), fingerprint, again=is_automatic(request))
    building = Building(Way.KEPT) if kept else choose(context, target.commits, plans)
    if kept:  # the same content by another name: two tags on one commit, a tagged branch, or commits with the same part
        kept = _renamed(kept, target, context.config.parts)
    else:
        check_room(context, building.size, building.files)
    return Plan(target, plans, fingerprint, kept.name if kept else release_name(number, fingerprint), kept, building, known)


def _renamed(kept: Release, target: Target, parts: dict[str, str]) -> Release:
    built = kept.as_built()
    return replace(
        kept,
        revision=target.revision,
        kind=target.kind,
        commits=target.commits,
        signers=target.signers,
        parts=parts,
        built_as=built.revision,
        built_from={} if built.commits == target.commits else built.commits,
    )


def _check_rolling(known: Known, plans: Blueprint) -> None:
    """Raise Failed (service-refused) for a rolling service with a program whose only process would be down."""
    for service in plans.services:
        if service.restart.kind is not RestartKind.ROLLING or known.smallest_program(service.name) > 1:
            continue
        if not known.socket_of(service.name):
            raise Failed(
                Code.SERVICE_REFUSED,
                f"service {service.name} cannot be rolled: a program in it has only one process, and no socket that supervisord"
                " can hold",
                hint="give each program numprocs=2 or more, or make it an [fcgi-program], with the plugin inside supervisord",
            )


def _check_rehearsals(context: Context, known: Known, plans: Blueprint) -> None:
    """Raise Failed (plugin-needed, service-unknown, service-refused) for an impossible rehearsal."""
    rehearsed = [(service, service.rehearsal) for service in plans.services if service.rehearsal]
    if not rehearsed:
        return
    context.plugin.require()
    there = [process.name for processes in context.services.processes().values() for process in processes]
    if PROGRAM not in there:
        raise no_program()
    for service, settings in rehearsed:
        check(service, settings, known.candidates(service.name), known.socket_of(service.name))


def same_content(live: Release | None, releases: Sequence[Release], fingerprint: str, *, again: bool) -> Release | None:
    """Return a release of the same fingerprint: the live one, otherwise the newest healthy or staged one.

    ``again``: take the live one also if it failed, as a boot does, which tries to start what is there.
    """
    if live and live.fingerprint == fingerprint and (again or live.state is not State.FAILED):
        return live
    return next((r for r in reversed(releases) if r.fingerprint == fingerprint and r.state in _WHOLE), None)
