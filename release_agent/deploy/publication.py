"""Publish a release, prove it, and roll back if that fails; for deployments, rollbacks and recovery."""

from __future__ import annotations

import time
from contextlib import suppress
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from release_agent.config.sections import RestartKind
from release_agent.deploy.look import look, of_other_releases
from release_agent.deploy.policy.line import before
from release_agent.deploy.policy.order import Pids, pids_of, stops, untouched
from release_agent.deploy.run import Ending
from release_agent.deploy.switch.leaving import Side, before_rollback, left
from release_agent.deploy.switch.replacement import Replacement
from release_agent.deploy.switch.traffic import NotTakenOut, Traffic
from release_agent.errors import (
    Cancelled,
    Code,
    Failed,
    Interrupted,
    ReleaseError,
    RollbackFailed,
    RolledBack,
    SupervisorGone,
    Unhealthy,
)
from release_agent.health import Health, Look
from release_agent.model import Action, Outcome, Release, Stage, State, timestamp

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.run import Run
    from release_agent.health import Process


_BOTH_NEED = "check what both releases need (a database, a disk), then run `release-agent deploy` or `rollback RELEASE`"


class Publication:
    """The publication of one release by one run. After the swap, any failure rolls back to the previous release."""

    def __init__(self, run: Run, release: Release, undrained: Collection[str] = ()) -> None:
        """``undrained``: the names of unhealthy services of the old release, which would only get more requests."""
        self._run = run
        self._context = run.context
        self._release = release
        self._ran: Pids = {}
        self._supervisor = 0
        self._started_again: list[Process] = []
        self._touched: Collection[str] = ()
        self._out: Collection[int] = ()
        self._arrived: Collection[str] = ()
        self._sick: Collection[str] = ()
        self._undrained = undrained

    @property
    def release(self) -> Release:
        """The release to publish."""
        return self._release

    @property
    def sick(self) -> Collection[str]:
        """The names of the services that caused the rollback."""
        return self._sick

    def go_live(self) -> Ending:
        """Swap, restart, prove, mark; returns the ending. Raises ReleaseError if the old release stayed live."""
        note = self._context.store.get(self._release.name)
        try:
            self._swap()
        except Failed as failure:
            live = self._context.store.current()
            if live is None or live.name != self._release.name or self._run.record.previous == live.name:
                self._restore_note(note)
                raise
            # The disk failed after the rename, so the release is live anyway.
            return self.roll_back(failure)
        try:
            self._run.note(lambda: self._context.journal.published(self._release.name, time.time()))
            self._context.reporter.deploying(self._release)
            health = self.prove()
            self.run_after_deploy()
        except (SupervisorGone, Interrupted):
            raise
        except ReleaseError as failure:
            return self.roll_back(failure)
        return Ending(Outcome.DEPLOYED, health)

    def _swap(self) -> None:
        context, before = self._context, self._run.record.previous
        previous = before if before != self._release.name else self._release.previous
        # Recovery would roll back a failed release. A staged one stays staged until its proof.
        state = State.BUILT if self._release.state is State.FAILED else self._release.state
        self._release = replace(self._release, state=state, previous=previous, published_at=timestamp(), by=self._run.record.by)
        with self._run.phase("publish"):
            # After this line, a supervisor that goes away interrupts the run.
            context.services.alive()
            self._ran = pids_of(context.services.processes())
            self._keep(self._prepare_return)
            self._keep(lambda: context.store.save(self._release))
            # Recovery undoes a run killed between these two lines, and finishes one killed after them.
            self._run.stage(Stage.PUBLISHING)
            context.store.publish(self._release.name)
        context.log.info("release.published", release=self._release.name, previous=before)

    def _restore_note(self, note: Release | None) -> None:
        """Save the note of the release as it was before a swap that failed."""
        store = self._context.store
        if note and store.get(note.name) != note:
            self._run.note(lambda: store.save(note))

    def _keep(self, write: Callable[[], None]) -> None:
        """Write a note; on a full disk, a rollback to a proved release continues without the note."""
        if self._run.action is Action.ROLLBACK and self._release.state is State.HEALTHY:
            self._run.note(write)
        else:
            write()

    def _prepare_return(self) -> None:
        """Prepare a rollback now, because the new release may use the last inode and the last byte."""
        target = self._target()
        if target:
            self._context.store.prepare_return(target.name)
        self._context.journal.reserve()

    def prove(self, *, to_the_end: bool = False) -> Health:
        """Restart the services on the live release, prove them healthy and mark the release healthy.

        ``to_the_end``: also restart the services after an unhealthy one.
        Raises Interrupted if supervisor is gone, which says nothing about the release.
        """
        replaced = self._context.store.get(self._run.record.previous or "")
        self._restart_and_prove(replaced, to_the_end=to_the_end)
        proved = replace(self._release, state=State.HEALTHY)
        self._keep(lambda: self._context.store.save(proved))
        self._release = proved
        return Health.of()

    def run_after_deploy(self) -> None:
        """Run the ``after_deploy`` hooks of the proved release, unless the monitor rolled back to it; raises Failed."""
        release = self._release
        if self._run.by_monitor:
            return
        self._run.hooks("after_deploy", release, self._context.store.directory(release.name), self._blueprint)
        self._require_live()

    def _require_live(self) -> None:
        """Raise Failed (hook-failed) if a hook has removed the release or changed `current`."""
        live = self._context.store.current()
        if live is None or live.name != self._release.name:
            raise Failed(
                Code.HOOK_FAILED,
                f"{self._release.name} was published and is no longer live: a hook changed `current` or removed the release",
                hint="change the hooks: they must not touch `current` and `releases`",
            )

    def _restart_and_prove(self, replaced: Release | None, *, to_the_end: bool, failed: Publication | None = None) -> None:
        """Restart the services on the live release and prove them healthy; stop those that only ``replaced`` has.

        ``to_the_end``: as in Replacement.replace(). ``failed``: the release to roll back. In an automatic rollback a failing
        ``after_publish`` hook does not count. Raises Unhealthy, Failed, Interrupted.
        """
        run, context, release = self._run, self._context, self._release
        began = time.time()
        try:
            self._supervisor = context.services.supervisor_pid()
            blueprint = self._blueprint
            self._run_after_publish(forgiving=failed is not None or run.by_monitor)
            leaving = left(context, replaced)
            if leaving:
                leaving = leaving.undrained(failed.sick if failed else self._undrained)
            # Without a release to go back to, a failing before_stop would only keep the service on the old release.
            leaves = run.request.force or run.request.action is Action.ROLLBACK or self._target() is None
            forgiving = to_the_end or run.by_monitor
            traffic = Traffic(run, leaving, Side(release, blueprint), leaves=leaves, forgiving=forgiving)
            replacement = Replacement(run, blueprint, self._look, traffic)
            self._touched, self._out, self._arrived = replacement.touched, traffic.out, traffic.arrived
            if failed:
                failed.let_in_again(release, traffic)
            # Stop the services that this release lacks: they would continue to run the old release.
            for level in stops(leaving.blueprint.services if leaving else (), {service.name for service in blueprint.services}):
                replacement.stop(level)
            replacement.bring(forgiving=to_the_end)
            replacement.replace(
                untouched=failed.untouched_on(release) if failed else (),
                ran=failed.ran_on(release) if failed else None,
                to_the_end=to_the_end,
            )
            traffic.let_in(self._started_again)
            context.log.info("health.passed", release=release.name)
        except SupervisorGone as gone:
            raise _interrupted(gone) from gone
        except Unhealthy as unhealthy:
            for service in unhealthy.services:
                end, lines = context.plugin.last_words(service, began)
                unhealthy.say(service, end, [context.redact(line) for line in lines])
            raise

    def _run_after_publish(self, *, forgiving: bool) -> None:
        """Run the ``after_publish`` hooks; raises Failed, for a failing hook only if it is not ``forgiving``."""
        release, store = self._release, self._context.store
        try:
            self._run.hooks("after_publish", release, store.directory(release.name), self._blueprint)
        except Failed as hook:
            if not forgiving:
                raise
            self._context.log.warning("hook.ignored", release=release.name, why=hook.message)
        self._require_live()

    @cached_property
    def _blueprint(self) -> Blueprint:
        """Return the blueprint; read it only once, because the proof looks several times per second."""
        return self._context.blueprint(self._release)

    def _look(self, blueprint: Blueprint, without: Collection[str] = ()) -> Look:
        """Look at the restarted services; start those that supervisor has never started, as after `supervisorctl update`.

        Raises SupervisorGone if another supervisord is there, Unhealthy if it does not start them.
        """
        seen = look(self._context, self._release, blueprint, self._run.occasion, without)
        if seen.unstarted:
            self._start_again(seen.unstarted)
        return self._with_old_code(seen, blueprint) if seen.well and not without else seen

    def _start_again(self, processes: Sequence[Process]) -> None:
        context = self._context
        names = [process.full_name for process in processes]
        if context.services.supervisor_pid() != self._supervisor:
            raise SupervisorGone(
                Code.SUPERVISOR_UNREACHABLE,
                f"supervisord was restarted and has not started {', '.join(names)}",
                hint="wait for `boot`, which finishes the run when supervisor is back",
            )
        for process in processes:
            context.services.start(process)
            if process.full_name in self._arrived:  # others are let in after their own proof
                self._started_again.append(process)
            context.log.info("service.restarted", service=process.full_name, how=str(RestartKind.NONE))

    def _with_old_code(self, seen: Look, blueprint: Blueprint) -> Look:
        """Add a problem for each restarted service with a process that still runs the code of another release."""
        restarted = [service.name for service in blueprint.services if service.restart.kind is not RestartKind.NONE]
        looks = dict(seen.services)
        for name in restarted:
            old = of_other_releases(self._context, name, self._release)
            if old:
                problem = f"{name} still runs old code: process {old}"
                looks[name] = replace(looks[name], problems=(*looks[name].problems, problem), outdated=True)
        return Look(looks)

    def roll_back(self, failure: ReleaseError) -> Ending:
        """Publish the previous release, restart its services and prove them healthy; returns the ending.

        Raises Interrupted if supervisor is gone: in a container that is stopping,
        everything fails, and that does not make the release unhealthy.
        """
        context = self._context
        with context.clock.shielded():
            self._sick = failure.services if isinstance(failure, Unhealthy) else ()
            self._begin_reverting(failure)
            target = None
            try:
                target = self._target()
                if target is None:
                    return self._nothing_behind(failure)
                self._before_rollback(target)
                Publication(self._run, target).restore(self)
            except Interrupted:
                raise
            except ReleaseError as second:
                return self._neither(target, failure, second)
        context.log.info("release.rolled_back", release=self._release.name, live=target.name)
        back = RolledBack(
            failure.code,
            f"{_title(self._release)} failed: {failure.message}\n{_title(target)} is live again and healthy",
            hint=failure.hint,
        )
        return Ending.failed(back.caused_by(failure), Health.of())

    def _begin_reverting(self, failure: ReleaseError) -> None:
        """Journal the start of the rollback and mark the release failed."""
        context, run = self._context, self._run
        try:
            context.services.alive()
        except Failed as gone:
            raise _interrupted(gone) from gone
        run.note(lambda: run.stage(Stage.REVERTING))
        run.action = Action.ROLLBACK
        context.log.warning("release.failed", release=self._release.name, why=failure.message)
        # A stopped run says nothing about a release that was proved healthy before.
        stopped = isinstance(failure, Cancelled) and self._release.state is State.HEALTHY
        if not (stopped or isinstance(failure, NotTakenOut)):
            self._release = replace(self._release, state=State.FAILED)
            run.note(lambda: context.store.save(self._release))

    def _before_rollback(self, target: Release) -> None:
        """Run the ``before_rollback`` hooks of the failed release; they cannot keep it live."""
        try:
            before_rollback(self._run, left(self._context, self._release), target)
        except Failed as failed:
            self._context.log.warning("hook.ignored", release=self._release.name, why=failed.message)

    def _target(self) -> Release | None:
        return before(self._line(), self._context.store.get, self._release.name, self._run.record.previous)

    def _line(self) -> list[str]:
        try:
            return self._context.journal.line()
        except ReleaseError as error:  # the run's record names the replaced release, also without the journal
            self._context.log.warning("journal.failed", why=error.message)
            return []

    def restore(self, failed: Publication) -> None:
        """Publish a once healthy release again, restart and prove it; a hook of this release cannot prevent that.

        Services that ``failed`` has not touched still run this release, and keep running.
        """
        with self._run.phase("publish"):
            self._context.store.publish(self._release.name)
        self._run.note(lambda: self._context.journal.published(self._release.name, time.time()))
        self._restart_and_prove(failed.release, to_the_end=True, failed=failed)

    def let_in_again(self, target: Release, traffic: Traffic) -> None:
        """Let processes that still run ``target`` into the traffic again."""
        if target.name == self._run.record.previous:
            self._out = traffic.let_in_again(self._out)

    def untouched_on(self, target: Release) -> frozenset[str]:
        """Return the services whose processes have run ``target`` since before the publication; none after a killed run."""
        if target.name != self._run.record.previous:
            return frozenset()
        out = {service for service, pids in self._ran.items() if not pids.isdisjoint(self._out)}
        return untouched(self._ran, pids_of(self._context.services.processes()), out.union(self._touched))

    def ran_on(self, target: Release) -> Pids:
        """Return the processes that ran ``target`` before this release was published, by service; none after a killed run.

        Processes that are out of the traffic do not count, because perhaps only new processes can get into the traffic.
        """
        if target.name != self._run.record.previous:
            return {}
        return {service: pids.difference(self._out) for service, pids in self._ran.items()}

    def _nothing_behind(self, failure: ReleaseError) -> Ending:
        nothing = RollbackFailed(
            Code.NOTHING_BEHIND,
            f"{_title(self._release)} is live and failed: {failure.message}\nthere is no healthy release before it",
            hint="deploy a working revision; the failed release stays live until then",
        )
        return Ending.failed(nothing.caused_by(failure), Health.of(failure.message))

    def _neither(self, target: Release | None, failure: ReleaseError, second: ReleaseError) -> Ending:
        """Return the ending if the rollback failed; ``target``: None if nobody could look for one."""
        back = self._is_live(target)
        how = "was published again and is live, but it is also unhealthy" if back else "could not be published again"
        behind = _title(target) if target else "the release before it"
        neither = RollbackFailed(
            Code.ROLLBACK_UNHEALTHY,
            f"{_title(self._release)} failed: {failure.message}\n{behind} {how}: {second.message}",
            hint=second.hint if second.code in (Code.OLD_CODE_RUNNING, Code.ROOT_UNUSABLE) else _BOTH_NEED,
        )
        return Ending.failed(neither.caused_by(failure), Health.of(second.message))

    def _is_live(self, release: Release | None) -> bool:
        with suppress(ReleaseError):  # a hook may have closed the root
            live = self._context.store.current()
            return bool(live and release and live.name == release.name)
        return False


def _title(release: Release) -> str:
    return f"{release.name} ({release.revision})"


def _interrupted(gone: Failed) -> Interrupted:
    return Interrupted(
        Code.INTERRUPTED,
        f"published, but not proved: {gone.message}",
        hint="once supervisord runs, `release-agent boot`, or the next deploy, finishes the run",
    )
