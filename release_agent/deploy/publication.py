"""From the swap to the proof, and back: shared by deployments, rollbacks and recovery."""

from __future__ import annotations

import time
from dataclasses import replace
from functools import cached_property
from typing import TYPE_CHECKING

from release_agent.deploy.line import behind
from release_agent.deploy.proof import prove
from release_agent.deploy.restart import Restarter
from release_agent.errors import (
    Cancelled,
    Code,
    Failed,
    Interrupted,
    ReleaseError,
    RollbackFailed,
    RolledBack,
    SupervisorGone,
)
from release_agent.model import Action, Release, Stage, State, timestamp

if TYPE_CHECKING:
    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Service
    from release_agent.deploy.run import Run
    from release_agent.health import Look


class Publication:
    """Makes one release live for one run. From the swap on, any failure brings back what was live before."""

    def __init__(self, run: Run, release: Release) -> None:
        """Nothing happens yet."""
        self._run = run
        self._context = run.context
        self._release = release

    def go_live(self) -> None:
        """Swap, restart, prove, mark; raises RolledBack or RollbackFailed where that does not end well."""
        try:
            self._swap()
        except Failed as failure:
            live = self._context.store.current()
            if live is None or live.name != self._release.name or self._run.record.previous == live.name:
                raise
            # The disk failed after the rename: it is live all the same.
            self.roll_back(failure)
        try:
            self._run.note(lambda: self._context.journal.published(self._release.name, time.time()))
            self._context.reporter.deploying(self._release)
            self.prove()
        except (SupervisorGone, Interrupted):
            raise
        except ReleaseError as failure:
            self.roll_back(failure)

    def _swap(self) -> None:
        context, before = self._context, self._run.record.previous
        previous = before if before != self._release.name else self._release.previous
        self._release = replace(self._release, previous=previous, published_at=timestamp())
        with self._run.phase("publish"):
            # The last moment at which a supervisor that went away changes nothing.
            context.services.alive()
            context.store.save(self._release)
            # A kill between these two lines is undone, one after them finished.
            self._run.stage(Stage.PUBLISHING)
            context.store.publish(self._release.name)
        context.log.info("release.published", release=self._release.name, previous=before)

    def prove(self) -> None:
        """Restart the services on what is live and prove them healthy, then mark it so.

        Raises Interrupted where supervisor is gone: that says nothing about the release.
        """
        run, context, release = self._run, self._context, self._release
        before = context.store.get(run.record.previous or "")
        self.restart_and_prove(before, hooks_decide=True)
        self._release = replace(release, state=State.HEALTHY)
        context.store.save(self._release)
        run.wrong = ""
        run.hooks("after_deploy", release, context.store.directory(release.name), self._blueprint)

    def restart_and_prove(self, replaced: Release | None, *, hooks_decide: bool) -> None:
        """Restart the services on what is live and prove them healthy; stop those that only ``replaced`` has.

        ``hooks_decide``: whether a failing ``after_publish`` hook fails it. Raises Unhealthy, Failed, Interrupted.
        """
        run, context, release = self._run, self._context, self._release
        try:
            blueprint = self._blueprint
            try:
                run.hooks("after_publish", release, context.store.directory(release.name), blueprint)
            except Failed as failed:
                if hooks_decide:
                    raise
                context.log.warning("hook.ignored", release=release.name, why=failed.message)
            with run.phase("restart"):
                restarter = Restarter(context.services, context.clock, context.log)
                restarter.stop(self._dropped(replaced, blueprint))
                restarter.restart(blueprint.services)
            with run.phase("health"):
                prove(self.look, blueprint.health, context.clock)
            context.log.info("health.passed", release=release.name)
        except SupervisorGone as gone:
            raise _interrupted(gone) from gone

    @cached_property
    def _blueprint(self) -> Blueprint:
        """Read once: a release does not change, and the proof looks several times a second."""
        return self._context.blueprint(self._release)

    def _dropped(self, replaced: Release | None, blueprint: Blueprint) -> list[Service]:
        """The services that only the other release has: they would go on running from it."""
        if replaced is None or replaced.name == self._release.name:
            return []
        names = {service.name for service in blueprint.services}
        return [service for service in self._context.blueprint(replaced).services if service.name not in names]

    def look(self) -> Look:
        """Look once whether the release is well."""
        context, release = self._context, self._release
        directory = context.store.directory(release.name)
        return context.examiner.look(self._blueprint, directory, self._run.environment(release, directory))

    def roll_back(self, failure: ReleaseError) -> None:
        """Publish what was live before, restart and prove *that*; always raises: how it ended."""
        context = self._context
        with context.clock.shielded():
            try:
                # A container that is being stopped fails everything; that is no sick release.
                context.services.alive()
            except Failed as gone:
                raise _interrupted(gone) from gone
            self._run.note(lambda: self._run.stage(Stage.REVERTING))
            self._run.action = Action.ROLLBACK
            self._run.wrong = failure.message
            context.log.warning("release.failed", release=self._release.name, why=failure.message)
            # A person who stops a run says nothing about a release that was proved healthy before.
            if not (isinstance(failure, Cancelled) and self._release.state is State.HEALTHY):
                self._mark_failed()
            target = self._target()
            if target is None:
                raise RollbackFailed(
                    Code.NOTHING_BEHIND,
                    f"{self._name(self._release)} is live and failed: {failure.message}\nno healthy release lies behind it",
                    hint="deploy a revision that works; the failed release stays live for you to look at",
                )
            try:
                self._bring_back(target)
            except Interrupted:
                raise
            except ReleaseError as second:
                raise self._neither(target, failure, second) from second
        self._run.wrong = ""
        context.log.info("release.rolled_back", release=self._release.name, live=target.name)
        raise RolledBack(
            failure.code,
            f"{self._name(self._release)} failed: {failure.message}\n{self._name(target)} is live again and healthy",
            hint=failure.hint,
        ) from failure

    def _bring_back(self, target: Release) -> None:
        with self._run.phase("publish"):
            self._context.store.publish(target.name)
        self._run.note(lambda: self._context.journal.published(target.name, time.time()))
        # It was healthy once: its own hook cannot keep it from coming back.
        Publication(self._run, target).restart_and_prove(self._release, hooks_decide=False)

    def _neither(self, target: Release, failure: ReleaseError, second: ReleaseError) -> RollbackFailed:
        self._run.wrong = second.message
        live = self._context.store.current()
        back = live is not None and live.name == target.name
        how = "was published again and is live, but is not healthy either" if back else "could not be published again"
        return RollbackFailed(
            Code.ROLLBACK_UNHEALTHY,
            f"{self._name(self._release)} failed: {failure.message}\n{self._name(target)} {how}: {second.message}",
            hint="look at what both need (a database, a disk), then `release-agent deploy` or `rollback RELEASE`",
        )

    def _mark_failed(self) -> None:
        self._release = replace(self._release, state=State.FAILED)
        self._run.note(lambda: self._context.store.save(self._release))

    def _target(self) -> Release | None:
        before = self._run.record.previous
        if before and before != self._release.name:
            live = self._context.store.get(before)
            if live and live.state is State.HEALTHY:
                return live
        return behind(self._context.journal, self._context.store, self._release.name, before)

    @staticmethod
    def _name(release: Release) -> str:
        return f"{release.name} ({release.revision})"


def _interrupted(gone: Failed) -> Interrupted:
    return Interrupted(
        Code.INTERRUPTED,
        f"published, but not proved: {gone.message}",
        hint="nothing is lost: `release-agent boot`, or the next deploy, finishes it",
    )
