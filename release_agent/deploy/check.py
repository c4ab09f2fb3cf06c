"""``deploy --dry-run`` and ``release.check``: what a deployment would do."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from release_agent.deploy.building import Way
from release_agent.deploy.plan import plan
from release_agent.deploy.policy.freeze import refuse_if_frozen
from release_agent.deploy.policy.requests import of_dropped, outlook
from release_agent.deploy.resolve import accept, find
from release_agent.deploy.room import may_go
from release_agent.deploy.run import timed
from release_agent.deploy.switch.leaving import left
from release_agent.errors import ReleaseError
from release_agent.model import Record, State

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.config.sections import Service
    from release_agent.deploy.context import Context
    from release_agent.deploy.plan import Plan
    from release_agent.deploy.policy.requests import Outlook
    from release_agent.deploy.programs import Known
    from release_agent.deploy.switch.leaving import Side
    from release_agent.model import Release, Request


def check(context: Context, request: Request) -> tuple[Record, dict[str, Any]]:
    """Resolve and plan, and change nothing; returns the record, and the JSON that docs/reference/commands.md promises for it."""
    live = context.store.current()
    record = Record(request.id, revision=request.revision or None, previous=live.name if live else None)
    began = context.clock.now()
    try:
        planned = _plan(context, request, record)
    except ReleaseError as error:
        record.outcome, record.error = error.outcome, error.to_json()
        return record, record.to_json()
    record.seconds = context.clock.now() - began
    return record, record.to_json() | {"outcome": "checked"} | _takes(context, planned, live)


def _plan(context: Context, request: Request, record: Record) -> Plan:
    """Note in the record what is known by then: a refusal names the commits, too."""
    refuse_if_frozen(context.journal.frozen, request)
    with timed(record, "resolve", context.clock):
        target = find(context, request)
        record.revision, record.commits = target.revision, target.commits
        target = accept(context, request, target)
        record.signers = target.signers
    context.store.describe(target.revision)
    with timed(record, "plan", context.clock):
        planned = plan(context, target, force=request.force)
    record.release = planned.name
    return planned


def outlooks(known: Known, services: Sequence[Service]) -> list[Outlook]:
    """Return what a deployment means for the requests of each service, those of the live release too; raises SupervisorGone."""
    context, migrates = known.context, known.context.services.migrates_requests()
    leaving = _leaving(context)
    dropped = leaving.services.keys() - {service.name for service in services} if leaving else ()
    return [
        *(
            outlook(service, known.smallest_program(service.name), known.socket_of(service.name), migrates=migrates)
            for service in services
        ),
        *map(of_dropped, sorted(dropped)),
    ]


def _leaving(context: Context) -> Side | None:
    try:
        return left(context, context.store.current())
    except ReleaseError:  # a root that cannot be read has a check of its own
        return None


def _takes(context: Context, planned: Plan, live: Release | None) -> dict[str, Any]:
    """Return what building and publishing it would take, and what is new in it."""
    kept, building = planned.kept, planned.building
    is_live = bool(kept and live and kept.name == live.name)
    stays = kept is not None and is_live and kept.state is State.HEALTHY
    return {
        "build": building.way is not Way.KEPT,
        "way": str(building.way),
        "live": is_live,
        "needed_bytes": building.size,
        "files": building.files,
        "free_bytes": context.store.free(),
        "may_go": list(may_go(context, building.size, building.files)),
        "services": [] if stays else [outlook.to_json() for outlook in outlooks(planned.known, planned.blueprint.services)],
        "changes": context.source.changes(live.commits, planned.target.commits) if live else {},
    }
