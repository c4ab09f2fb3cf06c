"""Roll back by command, or for the monitor."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.look import look
from release_agent.deploy.policy.freeze import refuse_if_frozen
from release_agent.deploy.policy.line import rollback_target
from release_agent.deploy.policy.overtaken import refuse_if_overtaken
from release_agent.deploy.programs import checked
from release_agent.deploy.publication import Publication
from release_agent.deploy.run import Ending
from release_agent.deploy.switch.leaving import before_rollback, left
from release_agent.errors import Failed
from release_agent.health import HealthState
from release_agent.model import Outcome

if TYPE_CHECKING:
    from release_agent.deploy.run import Run


def roll_back(run: Run) -> Ending:
    """Publish the release that the request names, or the one before, and prove it.

    Raises NoTarget, Failed, Refused (frozen, overtaken).

    The ``before_rollback`` hooks of the live release may refuse it, except the monitor's rollback of an unhealthy release.
    """
    context = run.context
    refuse_if_frozen(context.journal.frozen, run.request)
    refuse_if_overtaken(run.request, run.record.previous)
    with run.phase("plan"):
        journal, store = context.journal, context.store
        target = rollback_target(journal.line(), store.releases(), store.current(), run.request.release)
        run.about(target)
        checked(context, context.blueprint(target))
    undrained: list[str] = []
    if target.name == run.record.previous:
        health = run.look(target)
        if health.state is HealthState.PASSING:
            return Ending(Outcome.UNCHANGED, health)
    else:
        leaving = left(context, context.store.current())
        if run.by_monitor and leaving:
            seen = look(context, leaving.release, leaving.blueprint, run.occasion)
            undrained = [name for name, service in seen.services.items() if not service.well]
        try:
            before_rollback(run, leaving, target)
        except Failed as failed:
            if not run.by_monitor:
                raise
            context.log.warning("hook.ignored", release=run.record.previous, why=failed.message)
    run.changes(target)
    return Publication(run, target, undrained).go_live()
