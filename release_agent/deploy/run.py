"""The record of a run, its phases and its hooks."""

from __future__ import annotations

import os
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.deploy.environment import Occasion, Place, environment
from release_agent.deploy.look import look
from release_agent.errors import Code, Failed, ReleaseError, RollbackFailed, RolledBack
from release_agent.health import Health
from release_agent.model import Action, Kind, Outcome, Record, Release, Request, Stage, Trigger, timestamp
from release_agent.system.command import HookCommand
from release_agent.text import last_lines, plain
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Hook
    from release_agent.deploy.context import Context
    from release_agent.model import UnfinishedDeployment
    from release_agent.system.clock import Clock

_LONGEST_VARIABLE = 8192  # characters
_HOOK_LINES = 20  # package managers end with help; the cause stands before it
_WITH_SOMETHING_NEW = {*Outcome, RolledBack.outcome, RollbackFailed.outcome}


@dataclass(frozen=True)
class Ending:
    """The end of a run's work: its outcome, the live release's health then (None: unknown), and the error, if any."""

    outcome: str
    health: Health | None = None
    error: ReleaseError | None = None

    @classmethod
    def failed(cls, error: ReleaseError, health: Health | None = None) -> Ending:
        """Return the ending for an error."""
        return cls(error.outcome, health, error)


class Run:
    """One run: its request, its record so far, and the last known health of the live release."""

    def __init__(self, context: Context, request: Request, record: Record | None = None, *, journaled: bool = True) -> None:
        """Make a run; with ``journaled`` false, keep it out of the journal."""
        self.context = context
        self.request = request
        self.record = record or Record.of(request)
        self.kind: Kind | None = None
        self.action = request.action
        self.started_at = timestamp()
        self.health: Health | None = None
        self._journaled = journaled
        self._tried: tuple[Release, Blueprint | None] | None = None
        self._began = context.clock.now()

    @classmethod
    def begin(cls, context: Context, request: Request) -> Run:
        """Open a run in the journal."""
        run = cls(context, request)
        context.journal.begin(request, run.started_at)
        return run

    @classmethod
    def resumed(cls, context: Context, left: UnfinishedDeployment) -> Run:
        """Resume a killed run; hooks see RELEASE_ACTION=recover."""
        run = cls(context, left.request, left.record)
        run.kind, run.action = left.kind, Action.RECOVER
        return run

    @property
    def by_monitor(self) -> bool:
        """Return whether this is the monitor's automatic rollback of an unhealthy release: hooks cannot prevent it."""
        return self.request.action is Action.ROLLBACK and self.request.trigger == Trigger.WATCH

    @property
    def occasion(self) -> Occasion:
        """The facts about the run that hooks and probes see."""
        return Occasion(self.request.id, self.action, self.record.previous, self.record.by)

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time of a phase; a phase may be entered again."""
        clock = self.context.clock
        clock.check()
        if self._journaled:
            self.note(lambda: self.context.journal.phase(name, self.record))
        try:
            with timed(self.record, name, clock):
                yield
        finally:
            self.context.log.tell("phase.finished", phase=name, seconds=round(self.record.phases[name], 3))

    def about(self, release: Release) -> None:
        """Set the release of the record."""
        self.record.release = release.name
        self.record.revision = release.revision
        self.record.commits = release.commits
        self.record.signers = release.signers
        self.kind = release.kind

    def changes(self, release: Release, plans: Blueprint | None = None) -> None:
        """Note that the run now starts to change something for this release; ``plans``: its blueprint, if it may vanish."""
        self._tried = (release, plans)

    def stage(self, stage: Stage) -> None:
        """Journal the stage of the run: publishing or reverting."""
        self.context.journal.stage(stage, self.record)

    def look(self, release: Release) -> Health:
        """Look once at the live release, and keep the verdict."""
        seen = look(self.context, release, self.context.blueprint(release), self.occasion)
        self.health = Health.of(*seen.problems)
        return self.health

    def end(self, ending: Ending) -> None:
        """Write the ending into the record; a later verdict on the live release replaces an earlier one."""
        self.record.outcome = ending.outcome
        self.record.error = ending.error.to_json() if ending.error else None
        self.health = ending.health or self.health

    def conclude(self, ending: Ending, prune: Callable[[Context], object] | None = None) -> None:
        """Journal the outcome, tell Consul, log; and prune if there is a new release."""
        self.end(ending)
        with self.context.clock.shielded():
            # Journal the outcome first: a run killed after that needs no recovery.
            self.close()
            self._report()
            self._after_failure()
            if prune and self.record.outcome in _WITH_SOMETHING_NEW:
                with self.phase("prune"):
                    self.note(lambda: prune(self.context))
            self.close()
        self._log_outcome()

    def close(self) -> None:
        """Journal the outcome; called again when more is known."""
        self.record.seconds = self.context.clock.now() - self._began
        if self.record.error:
            self.record.error = {key: self.context.redact(value) for key, value in self.record.error.items()}
        if self._journaled:
            self.note(lambda: self.context.journal.end(self.record, self.kind))

    def _report(self) -> None:
        context, health = self.context, self.health
        if health:
            redacted = replace(health, problems=tuple(map(context.redact, health.problems)))
            self.note(lambda: context.journal.found(redacted))
            health = redacted
        with self.phase("report"):
            told = {**self.record.to_json(), "trigger": self.request.trigger, "started_at": self.started_at}
            # A staged release does not change what the host runs.
            is_news = self._journaled and self.request.action is not Action.STAGE
            self.note(lambda: context.reporter.finish(told if is_news else None, context.store.current(), health))

    def _after_failure(self) -> None:
        """Run the ``after_failure`` hooks of the release that was tried, if the run failed; they do not change the outcome."""
        error = self.record.error
        if error is None or self._tried is None:
            return
        release, plans = self._tried
        about: dict[str, str] = {
            Variable.RELEASE_OUTCOME: str(self.record.outcome),
            Variable.RELEASE_ERROR_CODE: error["code"],
            Variable.RELEASE_ERROR: _of_an_environment(error["message"]),
        }
        try:
            self.hooks("after_failure", release, self._place_of(release), plans or self.context.blueprint(release), about)
        except ReleaseError as failed:
            self.context.log.warning("hook.ignored", release=release.name, why=failed.message)

    def _place_of(self, release: Release) -> Path:
        """Return the directory of a release, or of the live release if it is gone, or the root."""
        store = self.context.store
        there = store.get(release.name) or store.current()
        return store.directory(there.name) if there else Path(self.context.config.app.root)

    def _log_outcome(self) -> None:
        record, log = self.record, self.context.log
        say = log.warning if record.error else log.info
        say(
            "deploy.finished",
            id=record.id,
            outcome=str(record.outcome),
            release=record.release,
            revision=record.revision,
            **({"by": record.by} if record.by else {}),
            seconds=round(record.seconds, 3),
            **(record.error or {}),
        )

    def note(self, write: Callable[[], object]) -> None:
        """Write facts that are only for the record; a full disk must not decide which release is live."""
        try:
            write()
        except ReleaseError as error:
            self.context.log.warning("journal.failed", why=error.message)

    def hooks(
        self, stage: str, release: Release, directory: Path, blueprint: Blueprint, about: dict[str, str] | None = None
    ) -> None:
        """Run a stage's hooks in order; ``about``: further variables. Raises Failed (hook-failed, hook-timed-out)."""
        hooks: tuple[Hook, ...] = getattr(blueprint.hooks, stage)
        if not hooks:
            return
        with self.phase("hooks"):
            for hook in hooks:
                self.hook(hook, stage, release, directory, about)

    def command(self, stage: str, hook: Hook, release: Release, about: dict[str, str]) -> None:
        """Run a command like a hook, in an existing release; ``about``: further variables. Raises Failed."""
        directory = self.context.store.directory(release.name)
        with self.phase("hooks"):
            self.hook(hook, stage, release, directory, about)

    def hook(self, hook: Hook, stage: str, release: Release, directory: Path, about: dict[str, str] | None = None) -> None:
        """Run one hook in a directory; ``about``: further variables. Raises Failed (hook-failed, hook-timed-out)."""
        context, environment = self.context, self.environment(hook, release, directory) | (about or {})
        context.log.info("hook.started", stage=stage, run=hook.run)
        command = HookCommand(hook.run, hook.timeout, -1 if hook.umask is None else hook.umask)
        place = directory / hook.cwd
        # The release of a failure is often gone, and the live release, or the root, may not have the repository's directory.
        if stage == "after_failure" and not os.path.isdir(place):  # noqa: PTH112 - Path.is_dir raises PermissionError
            place = directory
        try:
            ended = context.hooks.run_hook(command, stage, place, environment)
        finally:
            context.store.take_back()
        how, output = ended.describe(hook.timeout), context.redact(ended.output)
        self.note(lambda: context.journal.hook(self.request.id, stage, hook.run, how, output))
        context.log.info("hook.finished", stage=stage, run=hook.run, how=how)
        if not ended.well:
            tail = "".join(f"\n  | {line}" for line in last_lines(output, _HOOK_LINES))
            raise Failed(
                Code.HOOK_TIMED_OUT if ended.timed_out else Code.HOOK_FAILED,
                f"the {stage} hook `{hook.run}` {how}{tail}",
                hint=f"`release-agent history {self.request.id}` shows its output",
            )

    def environment(self, hook: Hook, release: Release, directory: Path) -> dict[str, str]:
        """Return the variables that a hook sees in a directory."""
        context = self.context
        place = Place(directory, context.store.directory(release.name), hook.cwd)
        return environment(context.config, context.environ, release, self.occasion, place)


def _of_an_environment(text: str) -> str:
    """Return a text that fits a variable: without control characters, valid UTF-8, and short enough for the kernel."""
    return plain(text[:_LONGEST_VARIABLE]).encode(errors="replace").decode()


@contextmanager
def timed(record: Record, phase: str, clock: Clock) -> Iterator[None]:
    """Add the time of the block to a phase of a record; a phase may be entered again."""
    began = clock.now()
    try:
        yield
    finally:
        record.phases[phase] = record.phases.get(phase, 0.0) + clock.now() - began
