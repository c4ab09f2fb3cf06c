"""Finish or undo what a killed run left half done."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from release_agent.deploy.publication import Publication
from release_agent.deploy.run import Ending, Run
from release_agent.errors import Cancelled, Code, Failed, Interrupted, ReleaseError, RollbackFailed, Unhealthy
from release_agent.model import Outcome, Release, Request, Stage, State, Trigger, new_id

if TYPE_CHECKING:
    from release_agent.deploy.context import Context


def recover(context: Context, *, keep_proved: bool, besides: str = "") -> None:
    """Bring every deployment that never ended to its end; the journal then has no open one but ``besides``.

    Killed before the swap: undone. After it: finished, services restarted even
    where they run, and proved; rolled back where they are not healthy, except,
    with ``keep_proved``, a release that was proved healthy once.
    Raises Failed where supervisor is gone and nothing can be finished.
    """
    for left in context.journal.unfinished():
        if left.request.id != besides:
            _recover(Run.resumed(context, left), left.stage, keep_proved=keep_proved)
    _adopt_unknown(context, keep_proved=keep_proved)
    discard_unpublished(context)


def discard_unpublished(context: Context) -> None:
    """Remove what was built and is not live: nothing proved it, and nothing will."""
    store = context.store
    live = store.current()
    for release in store.releases():
        if release.state is State.BUILT and (live is None or live.name != release.name):
            discard(context, release.name)


def discard(context: Context, name: str) -> None:
    """Remove a release that was never live; log what cannot be removed, and leave it to the next run.

    A hook may have left a mount or an immutable file in it: that must not replace the outcome of a run.
    """
    try:
        context.store.discard(name)
    except ReleaseError as error:
        context.log.warning("leftover.stuck", name=name, why=error.message)


def _adopt_unknown(context: Context, *, keep_proved: bool) -> None:
    """A live release that nobody proved, and of which the journal was lost: finish it all the same."""
    live = context.store.current()
    if live and live.state is State.BUILT:
        run = Run.begin(context, Request(new_id(), revision=live.revision, trigger=Trigger.RECOVERY))
        run.about(live)
        run.record.previous = live.previous
        _recover(run, Stage.PUBLISHING, keep_proved=keep_proved)


def _recover(run: Run, stage: Stage, *, keep_proved: bool) -> None:
    with run.context.log.of(run.request.id):
        _Recovery(run, stage, keep_proved=keep_proved).recover()


class _Recovery:
    """One deployment that never ended."""

    def __init__(self, run: Run, stage: Stage, *, keep_proved: bool) -> None:
        self._run = run
        self._context = run.context
        self._stage = stage
        self._keep_proved = keep_proved

    def recover(self) -> None:
        """Bring it to its end and journal that."""
        run, live = self._run, self._context.store.current()
        self._context.log.warning(
            "deployment.recovered", id=run.request.id, stage=str(self._stage), live=live.name if live else None
        )
        try:
            ending = self._finish(live)
        except Interrupted as gone:
            raise Failed(
                Code.SUPERVISOR_UNREACHABLE,
                f"deployment {run.request.id} was interrupted and cannot be finished: {gone.message}",
                hint="start supervisord; `release-agent boot`, or the next deploy, finishes it",
            ) from gone
        except ReleaseError as error:
            ending = Ending.failed(error)
        run.conclude(ending)

    def _finish(self, live: Release | None) -> Ending:
        tried = self._context.store.get(self._run.record.release or "")
        # It is marked failed before it is reverted, even if that cannot be journaled.
        reverting = self._stage is Stage.REVERTING or (
            self._stage is Stage.PUBLISHING and tried is not None and tried.state is State.FAILED and tried == live
        )
        if reverting and tried:
            self._run.changes(tried)
            failure_before = Unhealthy(
                Code.INTERRUPTED, "the agent was killed while it rolled it back", hint="deploy a revision that works"
            )
            return Publication(self._run, tried).roll_back(failure_before)
        if self._stage is Stage.PREPARING or live is None or tried is None or live.name != tried.name:
            raise Cancelled(
                Code.INTERRUPTED, "killed before it published anything; what it left was removed", hint="deploy again at will"
            )
        if self._context.journal.live_at(time.time()) != live.name:
            self._context.journal.published(live.name, time.time())
        return self._prove(live)

    def _prove(self, live: Release) -> Ending:
        self._run.changes(live)
        publication, health = Publication(self._run, live), None
        stays = self._keep_proved and live.state is State.HEALTHY
        try:
            health = publication.prove(to_the_end=stays)
            publication.run_after_deploy()
        except Interrupted:
            raise
        except ReleaseError as failure:
            if stays:
                return Ending.failed(_kept(live, failure), health)
            return publication.roll_back(failure)
        return Ending(Outcome.DEPLOYED, health)


def _kept(release: Release, failure: ReleaseError) -> RollbackFailed:
    return RollbackFailed(
        Code.UNHEALTHY,
        f"{release.name} ({release.revision}) is live and not healthy: {failure.message}\n"
        "it was proved healthy before, so it stays: starting a container never rolls back",
        hint="look at what it needs; `release-agent rollback` goes back by hand",
    )
