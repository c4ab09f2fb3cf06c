"""A run in the making: its record, its phases, its hooks; everything a step needs to leave a trace."""

from __future__ import annotations

import re
from contextlib import contextmanager
from typing import TYPE_CHECKING

from release_agent.errors import Code, Failed, ReleaseError, RollbackFailed, RolledBack
from release_agent.model import Action, Kind, Outcome, Record, Release, Request, Stage, timestamp
from release_agent.system.command import last_lines
from release_agent.variables import WITHHELD, Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Hook
    from release_agent.deploy.context import Context

_AFTER_PUBLISH = {Outcome.DEPLOYED, Outcome.UNCHANGED, RolledBack.outcome, RollbackFailed.outcome}


class Run:
    """One run; ``journaled`` is false for a dry run and for a boot that only starts services."""

    def __init__(self, context: Context, request: Request, *, journaled: bool = True) -> None:
        """Begin: from here on the journal knows it."""
        self.context = context
        self.request = request
        self.record = Record(request.id, revision=request.revision or None)
        self.kind: Kind | None = None
        self.action = request.action
        self.started_at = timestamp()
        # Whether what is live was found well: see Reporter.finish.
        self.wrong: str | None = None
        self._journaled = journaled
        self._began = context.clock.now()
        if journaled:
            context.journal.begin(request, self.started_at)

    @classmethod
    def resumed(cls, context: Context, request: Request, record: Record, kind: Kind | None) -> Run:
        """Take up a run that was killed; hooks see RELEASE_ACTION=recover."""
        run = cls.__new__(cls)
        run.context, run.request, run.record, run.kind = context, request, record, kind
        run.action, run.started_at, run.wrong = Action.RECOVER, timestamp(), None
        run._journaled, run._began = True, context.clock.now()  # noqa: SLF001 - its own
        return run

    @contextmanager
    def phase(self, name: str) -> Iterator[None]:
        """Count the time spent in a phase; the same one may be entered again."""
        clock = self.context.clock
        clock.check()
        if self._journaled:
            self.note(lambda: self.context.journal.phase(name, self.record))
        began = clock.now()
        try:
            yield
        finally:
            self.record.phases[name] = self.record.phases.get(name, 0.0) + clock.now() - began

    def about(self, release: Release) -> None:
        """The record is about this release."""
        self.record.release = release.name
        self.record.revision = release.revision
        self.record.commits = release.commits
        self.kind = release.kind

    def stage(self, stage: Stage) -> None:
        """Journal that it publishes or reverts."""
        self.context.journal.stage(stage, self.record)

    def close(self) -> None:
        """Journal the outcome; may be done again when more is known."""
        self.record.seconds = self.context.clock.now() - self._began
        if self.record.error:
            self.record.error = {key: self.context.redact(value) for key, value in self.record.error.items()}
        if self._journaled:
            self.note(lambda: self.context.journal.end(self.record, self.kind))

    def conclude(self, prune: Callable[[Context], object] | None = None) -> None:
        """Journal the outcome, tell Consul, log; and prune where something was published."""
        with self.context.clock.shielded():
            # First the outcome: killed from here on, nothing is left to recover.
            self.close()
            self.wrong = self.context.redact(self.wrong) if self.wrong else self.wrong
            if self.wrong is not None:
                self.note(lambda: self.context.journal.found("critical" if self.wrong else "passing", self.wrong or ""))
            with self.phase("report"):
                told = {**self.record.to_json(), "trigger": self.request.trigger, "started_at": self.started_at}
                self.context.reporter.finish(told if self._journaled else None, self.context.store.current(), self.wrong)
            if prune and self.record.outcome in _AFTER_PUBLISH:
                with self.phase("prune"):
                    prune(self.context)
            self.close()
        self._log_outcome()

    def _log_outcome(self) -> None:
        record, log = self.record, self.context.log
        say = log.warning if record.error else log.info
        say(
            "deploy.finished",
            id=record.id,
            outcome=str(record.outcome),
            release=record.release,
            revision=record.revision,
            seconds=round(record.seconds, 3),
            **(record.error or {}),
        )

    def note(self, write: Callable[[], None]) -> None:
        """Write what is for the record alone: a full disk must not decide what is live."""
        try:
            write()
        except ReleaseError as error:
            self.context.log.warning("journal.failed", why=error.message)

    def end(self, error: ReleaseError) -> None:
        """Let an error be the outcome."""
        self.record.outcome = error.outcome
        self.record.error = error.to_json()

    def hooks(self, stage: str, release: Release, directory: Path, blueprint: Blueprint) -> None:
        """Run a stage's hooks in order; raises Failed (hook-failed, hook-timed-out)."""
        hooks: tuple[Hook, ...] = getattr(blueprint.hooks, stage)
        if not hooks:
            return
        with self.phase("hooks"):
            for hook in hooks:
                self._hook(hook, stage, directory, self.environment(release, directory, hook.cwd))

    def _hook(self, hook: Hook, stage: str, directory: Path, environment: Mapping[str, str]) -> None:
        context = self.context
        context.log.info("hook.started", stage=stage, run=hook.run)
        ended = context.hooks.run_hook(hook.run, stage, hook.timeout, directory / hook.cwd, environment)
        how, output = ended.describe(hook.timeout), context.redact(ended.output)
        self.note(lambda: context.journal.hook(self.request.id, stage, hook.run, how, output))
        context.log.info("hook.finished", stage=stage, run=hook.run, how=how)
        if not ended.well:
            tail = "".join(f"\n  | {line}" for line in last_lines(output))
            raise Failed(
                Code.HOOK_TIMED_OUT if ended.timed_out else Code.HOOK_FAILED,
                f"the {stage} hook `{hook.run}` {how}{tail}",
                hint=f"`release-agent history {self.request.id}` shows all that was kept of its output",
            )

    def environment(self, release: Release, directory: Path, cwd: str = ".") -> dict[str, str]:
        """Return what hooks and exec probes see: docs/hooks.md lists every RELEASE_* variable."""
        config, store = self.context.config, self.context.store
        environment = {name: value for name, value in self.context.environ.items() if name not in WITHHELD}
        own = next((r.name for r in config.repositories if r.into == cwd), config.repositories[0].name)
        environment |= {
            Variable.RELEASE_ACTION: str(self.action),
            Variable.RELEASE_ID: self.request.id,
            Variable.RELEASE_APP: config.app.name,
            Variable.RELEASE_ENVIRONMENT: config.app.environment,
            Variable.RELEASE_HOST: config.app.host,
            Variable.RELEASE_NAME: release.name,
            Variable.RELEASE_NUMBER: str(release.number),
            Variable.RELEASE_REVISION: release.revision,
            Variable.RELEASE_COMMIT: release.commits.get(own, ""),
            Variable.RELEASE_PREVIOUS: self.record.previous or "",
            Variable.RELEASE_ROOT: config.app.root,
            Variable.RELEASE_SHARED: f"{config.app.root}/shared",
            Variable.RELEASE_DIRECTORY: str(directory),
            Variable.RELEASE_PATH: str(store.directory(release.name)),
        }
        for name, commit in release.commits.items():
            environment[f"{Variable.RELEASE_COMMIT}_{re.sub('[^A-Z0-9]', '_', name.upper())}"] = commit
        return environment
