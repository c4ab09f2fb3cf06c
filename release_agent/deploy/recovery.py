"""Finish or undo killed runs."""

from __future__ import annotations

import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from release_agent.deploy.publication import Publication
from release_agent.deploy.run import Ending, Run
from release_agent.errors import Cancelled, Code, Failed, Interrupted, ReleaseError, RollbackFailed, Unhealthy
from release_agent.model import UNPROVED, Outcome, Release, Request, Stage, State, Trigger, new_id

if TYPE_CHECKING:
    from release_agent.deploy.context import Context


def recover(context: Context, *, keep_proved: bool, besides: str = "") -> None:
    """Finish or undo every open deployment, so that the journal has no open one except ``besides``.

    A run killed before the swap is undone. A run killed after the swap is finished: all
    services are restarted, also running ones, and proved. If they are unhealthy, recovery
    rolls back; with ``keep_proved``, a release that was once proved healthy stays.
    Raises Failed if supervisor is gone, so that no run can be finished, and Cancelled if a signal stops the recovery of a
    release that was once proved healthy. Then the run stays open.
    """
    for left in context.journal.unfinished():
        if left.request.id != besides:
            _recover(Run.resumed(context, left), left.stage, keep_proved=keep_proved)
    _adopt_unknown(context, keep_proved=keep_proved)
    discard_unpublished(context)


def discard_unpublished(context: Context) -> None:
    """Remove the releases that were built and never published, because no run will prove them; not those a person protects."""
    try:
        live, releases = context.store.current(), context.store.releases()
    except ReleaseError as error:  # a hook may have closed the root
        context.log.warning("leftover.stuck", name="releases", why=error.message)
        return
    for release in releases:
        if release.state is State.BUILT and not release.protected and (live is None or live.name != release.name):
            discard(context, release.name)


def discard(context: Context, name: str) -> None:
    """Remove a release that was never live; if that fails, log it and leave it to the next run.

    A mount or an immutable file of a hook may prevent the removal; this must not change the outcome of a run.
    """
    try:
        context.store.discard(name)
    except ReleaseError as error:
        context.log.warning("leftover.stuck", name=name, why=error.message)


def _adopt_unknown(context: Context, *, keep_proved: bool) -> None:
    """Finish the deployment of an unproved live release whose journal was lost."""
    live = context.store.current()
    if live and live.state in UNPROVED:
        run = Run.begin(context, Request(new_id(), revision=live.revision, trigger=Trigger.RECOVERY))
        run.about(live)
        run.record.previous = live.previous
        _recover(run, Stage.PUBLISHING, keep_proved=keep_proved)


def _recover(run: Run, stage: Stage, *, keep_proved: bool) -> None:
    with run.context.log.of(run.request.id):
        _Recovery(run, stage, keep_proved=keep_proved).recover()


class _Recovery:
    """One open deployment."""

    def __init__(self, run: Run, stage: Stage, *, keep_proved: bool) -> None:
        self._run = run
        self._context = run.context
        self._stage = stage
        self._keep_proved = keep_proved

    def recover(self) -> None:
        """Finish or undo the deployment, and journal the outcome."""
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
                hint="start supervisord; `release-agent boot`, or the next deploy, finishes the run",
            ) from gone
        except Cancelled:  # a signal says nothing about the live release
            raise
        except ReleaseError as error:
            ending = Ending.failed(error)
        run.conclude(ending)

    def _finish(self, live: Release | None) -> Ending:
        tried = self._context.store.get(self._run.record.release or "")
        # Mark the release failed before the rollback, even if the journal cannot be written.
        reverting = self._stage is Stage.REVERTING or (
            self._stage is Stage.PUBLISHING and tried is not None and tried.state is State.FAILED and tried == live
        )
        if reverting and tried:
            self._run.changes(tried)
            failure_before = Unhealthy(
                Code.INTERRUPTED, "the agent was killed during the rollback", hint="deploy a working revision"
            )
            return Publication(self._run, tried).roll_back(failure_before)
        if self._stage is Stage.PREPARING or live is None or tried is None or live.name != tried.name:
            undone = "the agent was killed before publishing, and the next run undid the deployment"
            return Ending.failed(Cancelled(Code.INTERRUPTED, undone, hint="deploy again"))
        if self._context.journal.live_at(time.time()) != live.name:
            self._context.journal.published(live.name, time.time())
        return self._prove(live)

    def _prove(self, live: Release) -> Ending:
        self._run.changes(live)
        publication, health = Publication(self._run, live), None
        proved = live.state is State.HEALTHY
        stays = proved and self._keep_proved
        try:
            # A service that waits for its start must not stay down. After a stopped boot, the next boot starts all services.
            with self._context.clock.shielded() if proved and not stays else nullcontext():
                health = publication.prove(to_the_end=stays)
            publication.run_after_deploy()
        except Interrupted:
            raise
        except Cancelled as stopped:
            if proved:
                raise
            return publication.roll_back(stopped)
        except ReleaseError as failure:
            if stays:
                return Ending.failed(_kept(live, failure), health)
            return publication.roll_back(failure)
        return Ending(Outcome.DEPLOYED, health)


def _kept(release: Release, failure: ReleaseError) -> RollbackFailed:
    return RollbackFailed(
        Code.UNHEALTHY,
        f"{release.name} ({release.revision}) is live and unhealthy: {failure.message}\n"
        "it was proved healthy before, so it stays live: a start of the container never rolls back",
        hint="check what the release needs, or run `release-agent rollback`",
    )
