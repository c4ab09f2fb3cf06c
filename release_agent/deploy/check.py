"""Find the effects of a deployment, for ``deploy --dry-run`` and ``release.check``."""

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
    """Resolve and plan without changes; returns the record, and the JSON that docs/reference/commands.md describes."""
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
    """Plan, and note the known facts in the record, so that a refusal also names the commits."""
    refuse_if_frozen(context.journal.frozen, request)
    with timed(record, "resolve", context.clock):
        target = find(context, request)
        record.revision, record.commits = target.revision, target.commits
        target = accept(context, request, target)
        record.signers = target.signers
    context.store.describe(target.revision)
    with timed(record, "plan", context.clock):
        planned = plan(context, target, request)
    record.release = planned.name
    return planned


def outlooks(known: Known, services: Sequence[Service]) -> list[Outlook]:
    """Return the outlook for the requests of each service, also of the live release's services; raises SupervisorGone."""
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
    except ReleaseError:  # another check reports an unreadable root
        return None


def _takes(context: Context, planned: Plan, live: Release | None) -> dict[str, Any]:
    """Return the space that the release needs, and its new commits."""
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
