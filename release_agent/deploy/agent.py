"""Deploy, roll back and boot under the root's lock. Every run ends in a record, even after a bug."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import TYPE_CHECKING

from release_agent.deploy.deployment import Deployment
from release_agent.deploy.look import look
from release_agent.deploy.policy.freeze import is_automatic
from release_agent.deploy.pruning import prune
from release_agent.deploy.recovery import recover
from release_agent.deploy.resolve import candidates
from release_agent.deploy.rollback import roll_back
from release_agent.deploy.run import Ending, Run
from release_agent.deploy.switch.leaving import Side
from release_agent.deploy.switch.replacement import Replacement
from release_agent.deploy.switch.traffic import Traffic
from release_agent.errors import (
    Cancelled,
    Code,
    Failed,
    Interrupted,
    Refused,
    ReleaseError,
    RollbackFailed,
    RolledBack,
    SupervisorGone,
)
from release_agent.health import Health
from release_agent.model import ROLLOUT, SUCCESSES, Action, Outcome, Record, Release, Request, Stage, State, Trigger, new_id

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.context import Context
    from release_agent.health import Look

# A boot without a live release tries lower and lower versions. If this many fail in a row,
# the cause is not the version.
_MOST_TRIES = 5
# Causes that an older version does not change.
_NOT_THE_VERSION = {
    Code.SUPERVISOR_UNREACHABLE,
    Code.SUPERVISOR_REFUSED,
    Code.PLUGIN_NEEDED,
    Code.ROOT_UNUSABLE,
    Code.DISK_FULL,
    Code.SIGNERS_MISSING,
    Code.CANCELLED,
    Code.INTERRUPTED,
}
# Outcomes of deployments that changed nothing.
_BEFORE_THE_SWAP = (Refused.outcome, Failed.outcome)


class Agent:
    """The commands that change something. The caller holds the root's lock."""

    def __init__(self, context: Context) -> None:
        self._context = context

    def deploy(self, request: Request) -> Record:
        """Deploy the requested revision, or the one of ``[revision]``."""
        return self._recorded(request, self._deploy)

    def stage(self, request: Request) -> Record:
        """Build and rehearse the requested revision for a later deployment."""
        return self._recorded(request, lambda run: Deployment(run).stage())

    def roll_back(self, request: Request) -> Record:
        """Roll back to the previous release, or to the named one."""
        return self._recorded(request, roll_back)

    def boot(self, request: Request) -> tuple[Record, bool]:
        """Recover, deploy if no release is live, start stopped services; returns whether a healthy release is live."""
        try:
            recover(self._context, keep_proved=True)
        except ReleaseError as error:
            if error.code is Code.SUPERVISOR_UNREACHABLE or isinstance(error, Cancelled):
                return Record(request.id, error.outcome, error=error.to_json()), False
            # A failed recovery must not keep the live release from starting.
            self._context.log.warning("recovery.failed", why=error.message)
        except Exception as bug:  # noqa: BLE001 - nor must a bug in the recovery
            self._context.log.warning("recovery.failed", why=f"a bug in the agent: {type(bug).__name__}: {bug}")
        live = self._context.store.current()
        # A failed release is live if none was ever healthy: look for a healthy one.
        if live is None or live.state is State.FAILED:
            record = self._first_deployment(request)
            if record.outcome in _BEFORE_THE_SWAP and (live := self._context.store.current()):
                self._started_instead(request, live)
        elif self._is_behind(live):
            record = self._catch_up(request, live)
            return record, record.outcome in (
                *SUCCESSES,
                RolledBack.outcome,
            )  # rolled back: the previous release is live again and healthy
        else:
            record = self._started(request, live, prune)
        return record, record.outcome in SUCCESSES

    def start(self, request: Request, trouble: Failed) -> tuple[Record, bool]:
        """Start and prove the live release; returns whether it is healthy.

        ``trouble``: the error of an unusable lock or journal; this raises it if no release is live, or only a failed one.
        It writes nothing into the root.
        """
        store = self._context.store
        live = store.current() or store.unnoted()
        if live is None or live.state is State.FAILED:
            raise trouble
        self._context.log.warning("recovery.failed", why=trouble.message, hint=trouble.hint)
        record = self._started(request, live)
        return record, record.outcome in SUCCESSES

    def _is_behind(self, live: Release) -> bool:
        """Return whether the fleet's last completed rollout is known to differ from the live release."""
        context = self._context
        if context.config.revision.follow != "rollout":
            return False
        try:
            followed = context.followed.completed()
            last = context.journal.last_deployed()
        except ReleaseError as error:
            context.log.warning("boot.stayed", release=live.name, why=error.message)
            return False
        if followed is None or followed.commits == live.commits:
            return False
        trigger = last.trigger if last else ""
        if trigger.startswith(ROLLOUT) and trigger > followed.id:
            # The first hosts of an unfinished rollout must not fall back to the completed one when they restart.
            context.log.info("boot.stayed", release=live.name, why=f"{trigger}, a later rollout, deployed it")
            return False
        return True

    def _catch_up(self, request: Request, live: Release) -> Record:
        """Deploy the fleet's release; if that changes nothing, start the live release."""
        record = self.deploy(request)
        return self._started_instead(request, live) if record.outcome in _BEFORE_THE_SWAP else record

    def _started_instead(self, request: Request, live: Release) -> Record:
        """Start and prove the live release after a deployment that changed nothing."""
        again = replace(request, id=new_id())
        with self._context.log.of(again.id):
            return self._started(again, live, prune)

    def _deploy(self, run: Run) -> Ending:
        ending = Deployment(run).deploy()
        if ending.outcome != Outcome.UNCHANGED or not is_automatic(run.request):
            return ending
        # At a boot the services of an unchanged release do not run yet.
        live = self._context.store.current()
        return self._proved(run, live) if live else ending

    def _recorded(self, request: Request, work: Callable[[Run], Ending]) -> Record:
        with self._context.log.of(request.id):
            return self._run(request, work)

    def _run(self, request: Request, work: Callable[[Run], Ending]) -> Record:
        context = self._context
        run = Run.begin(context, request)
        context.reporter.begin()
        try:
            recover(context, keep_proved=False, besides=request.id)
            live = context.store.current()
            run.record.previous = live.name if live else None
            ending = work(run)
        except Interrupted as interrupted:
            # The run stays open in the journal: `boot` or the next deploy finishes it.
            run.end(Ending.failed(interrupted))
            context.log.warning("deploy.interrupted", id=request.id, why=interrupted.message)
            return run.record
        except (Cancelled, Failed, Refused) as error:
            # A signal to the whole process group also ends git.
            ending = Ending.failed(self._stopped() or error)
        except ReleaseError as error:
            ending = Ending.failed(error)
        except Exception as error:
            self._close(run, error)
            raise
        run.conclude(ending, prune)
        return run.record

    def _close(self, run: Run, bug: Exception) -> None:
        """Note in the history that a bug ended a run; a run that had published stays open for recovery."""
        with suppress(ReleaseError):  # a journal that cannot be read must not replace the bug
            unfinished = self._context.journal.unfinished()
            left = next((left for left in unfinished if left.request.id == run.request.id), None)
            if left:
                published = left.stage is not Stage.PREPARING
                run.end(Ending.failed(_bug(bug, published=published)))
                run.record.outcome = None if published else run.record.outcome
                run.close()

    def _first_deployment(self, request: Request) -> Record:
        """Deploy; if the newest version is refused or unhealthy, deploy the next lower one."""
        first = self.deploy(request)
        if first.outcome in SUCCESSES or self._context.config.revision.follow != "tag" or _is_no_fault_of(first):
            return first
        told = first
        try:
            tags = candidates(self._context)
        except ReleaseError:
            return first
        tries = 1
        for tag in tags[1:]:
            if tries >= _MOST_TRIES or self._stopped():
                break
            self._context.log.warning("boot.fell_back", revision=tag)
            record = self.deploy(replace(request, id=new_id(), revision=tag, wait_for=0.0))
            if record.outcome in SUCCESSES or _is_no_fault_of(record):
                return record
            # Report the newest version's error, unless an older version has become live.
            if record.outcome in (RolledBack.outcome, RollbackFailed.outcome):
                told = record
            # Do not try a tag that some repositories lack.
            tries += not _is_incomplete(record)
        return told

    def _stopped(self) -> Cancelled | None:
        """Return the cancellation if a signal has asked to stop.

        With the end of supervisor, nobody has decided against the revision: `poll` and rollouts try it again.
        """
        context = self._context
        try:
            context.clock.check()
        except Cancelled as cancelled:
            try:
                context.services.alive()
            except SupervisorGone as gone:
                return Cancelled(
                    Code.INTERRUPTED, f"{cancelled.message}, and {gone.message}", hint="deploy again when supervisor runs"
                )
            except Failed:  # another program answers at supervisor's address
                pass
            return cancelled
        return None

    def _started(self, request: Request, live: Release, prune: Callable[[Context], object] | None = None) -> Record:
        """Start stopped services and prove the live release; never roll back. ``prune``: removes releases afterwards."""
        context = self._context
        run = Run(context, request, journaled=False)
        run.about(live)
        run.record.previous = live.name
        context.reporter.begin()
        try:
            ending = self._proved(run, live)
        except (SupervisorGone, Cancelled) as stopped:
            run.end(Ending.failed(stopped))
            return run.record
        run.conclude(ending, prune)
        return run.record

    def _proved(self, run: Run, live: Release) -> Ending:
        """Start stopped services and prove the live release; never roll back. Raises SupervisorGone, Cancelled."""
        try:
            self._start(run, live)
        except (SupervisorGone, Cancelled):
            raise  # the container is stopping, so the failure says nothing about the live release
        except ReleaseError as error:
            return Ending.failed(_not_well(live, error), Health.of(error.message))
        return Ending(Outcome.UNCHANGED, Health.of())

    def _start(self, run: Run, live: Release) -> None:
        context, blueprint = self._context, self._context.blueprint(live)

        def once(services: Blueprint, without: Collection[str] = ()) -> Look:
            return look(context, live, services, run.occasion, without)

        replacement = Replacement(run, blueprint, once, Traffic(run, None, Side(live, blueprint)))
        replacement.bring(forgiving=True)
        if replacement.changed or not once(blueprint).well:
            replacement.start()


def boot_request(wait_for: float = 0.0) -> Request:
    """Return the request of a boot without a live release; ``wait_for``: seconds for a mirror that is still being cloned."""
    return Request(new_id(), Action.DEPLOY, trigger=Trigger.BOOT, wait_for=wait_for)


def _is_incomplete(record: Record) -> bool:
    return record.error is not None and record.error["code"] == Code.REPOSITORY_INCOMPLETE


def _is_no_fault_of(record: Record) -> bool:
    return record.error is not None and record.error["code"] in {str(code) for code in _NOT_THE_VERSION}


def _bug(bug: Exception, *, published: bool) -> ReleaseError:
    what_next = "`release-agent boot`, or the next deployment, finishes the run" if published else "deploy again"
    return ReleaseError(Code.BUG, f"a bug in the agent: {type(bug).__name__}: {bug}", hint=f"report the bug; {what_next}")


def _not_well(live: Release, error: ReleaseError) -> RollbackFailed:
    return RollbackFailed(
        Code.UNHEALTHY,
        f"{live.name} ({live.revision}) is live and unhealthy: {error.message}",
        hint="check what the release needs, or run `release-agent rollback`",
    )
