"""The deployment, as one sequence of named steps; it reaches the outside only through release_agent.deploy.ports."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from release_agent.config.blueprint import FILE
from release_agent.config.readers import joined
from release_agent.deploy import resolve
from release_agent.deploy.building import build
from release_agent.deploy.cached_hooks import build_hooks
from release_agent.deploy.plan import Plan, plan
from release_agent.deploy.policy.freeze import is_automatic, refuse_if_frozen
from release_agent.deploy.policy.overtaken import refuse_if_overtaken
from release_agent.deploy.publication import Publication
from release_agent.deploy.recovery import discard, discard_unpublished
from release_agent.deploy.run import Ending
from release_agent.deploy.switch.rehearsal import rehearse
from release_agent.errors import Code, Failed
from release_agent.health import HealthState
from release_agent.model import Outcome, Release, State, Target, timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.building import Building
    from release_agent.deploy.run import Run


class Deployment:
    """The deployment of a revision, for one run."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._context = run.context
        self._request = run.request

    def deploy(self) -> Ending:
        """Resolve, plan, build, publish and prove a release. Raises ReleaseError if that fails before the swap.

        At a boot, a release that was proved healthy is unchanged without a look: the agent starts it, and never rolls it back.
        """
        refuse_if_frozen(self._context.journal.frozen, self._request)
        refuse_if_overtaken(self._request, self._run.record.previous)
        planned = self._plan(self._resolve())
        kept = planned.kept
        was_proved = kept and self._was_live(kept) and kept.state is State.HEALTHY
        if kept and was_proved and (is_automatic(self._request) or self._is_healthy(kept)):
            live = self._context.store.current()
            if live and (live.revision, live.commits, live.signers) != (kept.revision, kept.commits, kept.signers):
                self._context.store.save(kept)
            return Ending(Outcome.UNCHANGED)
        return self._publish(kept or self._build(planned), planned.blueprint)

    def stage(self) -> Ending:
        """Resolve, plan, build and rehearse a release without publishing it. Raises ReleaseError if that fails."""
        planned = self._plan(self._resolve())
        kept = planned.kept
        if kept and self._was_live(kept):
            return Ending(Outcome.UNCHANGED)
        release = kept or self._build(planned)
        try:
            self._check_built(release, planned.blueprint)
            rehearse(self._run, release, planned.blueprint)
            if release.state is State.BUILT:
                self._context.store.save(replace(release, state=State.STAGED))
        finally:
            discard_unpublished(self._context)
        return Ending(Outcome.STAGED)

    def _resolve(self) -> Target:
        run, context, request = self._run, self._context, self._request
        with run.phase("resolve"):
            target = resolve.find(context, request)
            run.record.revision, run.record.commits, run.kind = target.revision, target.commits, target.kind
            target = resolve.accept(context, request, target)
            run.record.signers = target.signers
        context.store.describe(target.revision)
        return target

    def _plan(self, target: Target) -> Plan:
        with self._run.phase("plan"):
            planned = plan(self._context, target, self._request)
        self._run.record.release = planned.name
        return planned

    def _was_live(self, release: Release) -> bool:
        return release.name == self._run.record.previous

    def _is_healthy(self, live: Release) -> bool:
        with self._run.phase("health"):
            return self._run.look(live).state is HealthState.PASSING

    def _build(self, planned: Plan) -> Release:
        """Build the release and make it durable among the others; remove it if that fails."""
        release = Release(
            planned.name,
            planned.target.revision,
            planned.target.kind,
            planned.target.commits,
            planned.fingerprint,
            State.BUILT,
            timestamp(),
            previous=self._run.record.previous,
            signers=planned.target.signers,
            into={repository.name: repository.into for repository in self._context.config.repositories},
            parts=self._context.config.parts,
        )
        self._run.changes(release, planned.blueprint)
        try:
            return self._made(release, planned.building, planned.blueprint)
        except BaseException:
            discard(self._context, release.name)
            raise

    def _made(self, release: Release, building: Building, plans: Blueprint) -> Release:
        run, store = self._run, self._context.store
        with run.phase("build"):
            directory, written = build(self._context, building, release, plans)
            seeded = store.link_shared(directory, plans.shared)
            # The paths that seeds and hooks write are unknown.
            paths = None if written is None or seeded or plans.hooks.build else [*written, *_shared(plans)]
        build_hooks(run, release, directory.resolve(), plans)  # without links, as programs find their own path by getcwd(3)
        store.check_built(release.name)
        with run.phase("sync"):
            release = self._with_what_was_made(release, directory, plans)
            store.sync(directory, paths)
            store.install(release)
        self._context.log.info("release.built", release=release.name)
        run.hooks("before_publish", release, store.directory(release.name), plans)
        self._context.clock.check()
        return release

    def _with_what_was_made(self, release: Release, directory: Path, plans: Blueprint) -> Release:
        """Note the files that links and hooks changed, so that `verify` does not report them as drift."""
        shared = _shared(plans)
        if not (plans.hooks.build or shared):
            return release
        only = None if plans.hooks.build else shared
        return replace(release, built=self._context.source.drift(release.commits, directory, release.into, only))

    def _check_built(self, release: Release, plans: Blueprint) -> None:
        """Check the built release's own files again, because hooks may have changed them. Raises Failed, Refused."""
        found = self._context.blueprint(release)
        has_others = dict(found.files).keys() != dict(plans.files).keys()
        if has_others or (found.files != plans.files and self._has_other_toml(release)):
            # Without its release.toml, a release would stop its services, and count as healthy.
            raise Failed(
                Code.BUILD_FAILED,
                f"release.toml of {release.name} differs from that of its commit, or was removed",
                hint="let no hook change release.toml, and build the release again with `release-agent deploy --force`",
            )
        self._context.programs.check(found.programs)

    def _has_other_toml(self, release: Release) -> bool:
        """Return whether a ``release.toml`` is not that of its commit; git may have converted it, as with ``ident``."""
        paths = {joined(place, FILE) for place in release.into.values()}
        directory = self._context.store.directory(release.name)
        return not paths.isdisjoint(self._context.source.drift(release.commits, directory, release.into, paths))

    def _publish(self, release: Release, plans: Blueprint) -> Ending:
        self._run.changes(release, plans)
        try:
            self._check_built(release, plans)
            if not self._was_live(release):  # a restart is to heal the live release, whose copy would be as sick
                rehearse(self._run, release, plans)
            ending = Publication(self._run, release).go_live()
        finally:
            # If the run failed before the swap, remove its release.
            discard_unpublished(self._context)
        # The release was live before: the run has only restarted its services and proved it.
        again = ending.outcome == Outcome.DEPLOYED and self._was_live(release)
        return replace(ending, outcome=Outcome.UNCHANGED) if again else ending


def _shared(plans: Blueprint) -> tuple[str, ...]:
    return (*plans.shared.directories, *plans.shared.files)
