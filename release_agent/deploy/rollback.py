"""Roll back by command."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.deploy.policy.freeze import refuse_if_frozen
from release_agent.deploy.policy.line import rollback_target
from release_agent.deploy.policy.overtaken import refuse_if_overtaken
from release_agent.deploy.programs import checked
from release_agent.deploy.publication import Publication
from release_agent.deploy.run import Ending
from release_agent.deploy.switch.leaving import before_rollback, left
from release_agent.health import HealthState
from release_agent.model import Outcome

if TYPE_CHECKING:
    from release_agent.deploy.run import Run


def roll_back(run: Run) -> Ending:
    """Publish the release that the request names, or the one before, and prove it.

    Raises NoTarget, Failed, Refused (frozen, overtaken).

    The ``before_rollback`` hooks of the live release may refuse it.
    """
    context = run.context
    refuse_if_frozen(context.journal.frozen, run.request)
    refuse_if_overtaken(run.request, run.record.previous)
    with run.phase("plan"):
        journal, store = context.journal, context.store
        target = rollback_target(journal.line(), store.releases(), store.current(), run.request.release)
        run.about(target)
        checked(context, context.blueprint(target))
    if target.name == run.record.previous:
        health = run.look(target)
        if health.state is HealthState.PASSING:
            return Ending(Outcome.UNCHANGED, health)
    else:
        before_rollback(run, left(context, context.store.current()), target)
    run.changes(target)
    return Publication(run, target).go_live()
