"""The deployment, as one sequence of named steps; it knows the world by release_agent.deploy.ports alone."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from release_agent.config import blueprint
from release_agent.deploy import versions
from release_agent.deploy.publication import Publication
from release_agent.errors import Code, Refused, ReleaseError
from release_agent.model import Kind, Outcome, Release, State, Target, release_name, timestamp

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.run import Run

_ANY_KIND = (Kind.TAG, Kind.BRANCH, Kind.COMMIT)


@dataclass(frozen=True)
class Plan:
    """What a deployment is going to do: make ``name``, or take ``kept`` as it is."""

    target: Target
    blueprint: Blueprint
    fingerprint: str
    name: str
    kept: Release | None


class Deployment:
    """Deploys a revision, for one run."""

    def __init__(self, run: Run) -> None:
        """Nothing happens yet."""
        self._run = run
        self._context = run.context
        self._request = run.request

    def deploy(self) -> Outcome:
        """Resolve, plan, build, publish, prove: the whole of it. Raises what ended it otherwise."""
        plan = self.plan(self.resolve())
        if plan.kept and self._is_live_and_well(plan.kept):
            live = self._context.store.current()
            if live and live.revision != plan.kept.revision:
                self._context.store.save(plan.kept)
            return Outcome.UNCHANGED
        release = plan.kept or self._build(plan)
        self._publish(release)
        return Outcome.UNCHANGED if self._was_live(release) else Outcome.DEPLOYED

    def resolve(self) -> Target:
        """Name one commit of each repository; raises Refused."""
        context, request = self._context, self._request
        follow = context.config.revision
        with self._run.phase("resolve"):
            if request.revision:
                target = context.source.resolve(request.revision, _ANY_KIND)
            elif follow.follow == "branch":
                target = context.source.resolve(follow.branch, (Kind.BRANCH,))
            elif follow.follow == "pin":
                target = context.source.resolve(self._pinned(), _ANY_KIND)
            elif follow.follow == "rollout":
                target = self._followed()
            else:
                target = context.source.resolve(self.candidates()[0], (Kind.TAG,))
            self._run.record.revision, self._run.record.commits = target.revision, target.commits
            self._run.kind = target.kind
            if follow.signed:
                context.source.verify_signatures(target, follow.allowed_signers)
            self._refuse_moved_tag(target)
        context.store.describe(target.revision)
        context.log.info("revision.resolved", revision=target.revision, kind=str(target.kind), commits=target.commits)
        return target

    def candidates(self) -> list[str]:
        """Return the tags that are versions, highest first; raises Refused (no-version) where there are none."""
        context, follow = self._context, self._context.config.revision
        found, ignored = versions.matching(context.source.tags(), follow.pattern, prereleases=follow.prereleases)
        if ignored:
            context.log.info("tags.ignored", count=ignored, pattern=follow.pattern, why="not versions")
        if not found:
            raise Refused(
                Code.NO_VERSION,
                f"no tag like {follow.pattern} is a version{'' if follow.prereleases else ' (pre-releases do not count here)'}",
                hint="tag a version such as v1.0.0 and fetch it, or change [revision]",
            )
        return found

    def _pinned(self) -> str:
        pinned = self._context.journal.pinned()
        if pinned is None:
            raise Refused(Code.NOT_PINNED, 'nothing is pinned, and [revision] follow = "pin"', hint="release-agent pin REVISION")
        return pinned

    def _followed(self) -> Target:
        """What the fleet's last completed rollout says, if it is the same here."""
        context, app = self._context, self._context.config.app
        followed = context.followed.completed()
        if followed is None:
            raise Refused(
                Code.NO_ROLLOUT,
                f'no rollout of {app.name} in {app.environment} has completed, and [revision] follow = "rollout"',
                hint="`release-agent rollout start REVISION`; or name a revision: `release-agent deploy REVISION`",
            )
        target = context.source.resolve(followed.revision, _ANY_KIND)
        for name in {**target.commits, **followed.commits}:
            here, there = (commits.get(name, "nothing")[:12] for commits in (target.commits, followed.commits))
            if here != there:
                raise Refused(
                    Code.TAG_MOVED,
                    f"{followed.revision} names {here} of repository {name} here, and {followed.id} rolled out {there}",
                    hint="is the repository fetched here? where the tag was moved on purpose, make a new one and roll that out",
                )
        return target

    def _refuse_moved_tag(self, target: Target) -> None:
        """A tag names what it named when it was deployed, or deployments are not reproducible."""
        before = self._context.journal.deployed_commits(target.revision) if target.kind is Kind.TAG else None
        moved = [name for name, commit in (before or {}).items() if target.commits.get(name, commit) != commit]
        if before and moved and not self._request.accept_moved_tag:
            name = moved[0]
            raise Refused(
                Code.TAG_MOVED,
                f"tag {target.revision} was deployed as {before[name][:12]} of repository {name}, "
                f"and now names {target.commits[name][:12]}",
                hint="make a new tag; or, where it was moved on purpose, deploy with --accept-moved-tag",
            )

    def plan(self, target: Target) -> Plan:
        """Decide what to make or take; raises Failed or Refused while everything is still as it was."""
        context, store = self._context, self._context.store
        with self._run.phase("plan"):
            plans = blueprint.combine(context.config, context.source.read(target.commits, blueprint.FILE))
            context.services.check(plans.services)
            fingerprint = blueprint.fingerprint(context.config, target.commits, plans)
            number = max(store.next_number(), context.journal.last_number() + 1)
            kept = None if self._request.force else self._kept(fingerprint)
            if kept:  # the same commits by another name: two tags on one commit, a branch that was tagged
                kept = replace(kept, revision=target.revision, kind=target.kind)
            name = kept.name if kept else release_name(number, fingerprint)
            if not kept:
                store.check_room(*context.source.size(target.commits))
            self._run.record.release = name
            return Plan(target, plans, fingerprint, name, kept)

    def _kept(self, fingerprint: str) -> Release | None:
        """A release of the same fingerprint: the live one, whatever is known of it, or else a healthy one."""
        live = self._context.store.current()
        if live and live.fingerprint == fingerprint:
            return live
        releases = reversed(self._context.store.releases())
        return next((r for r in releases if r.fingerprint == fingerprint and r.state is State.HEALTHY), None)

    def _was_live(self, release: Release) -> bool:
        return release.name == self._run.record.previous

    def _is_live_and_well(self, release: Release) -> bool:
        if not self._was_live(release) or release.state is not State.HEALTHY:
            return False
        with self._run.phase("health"):
            look = Publication(self._run, release).look()
        self._run.wrong = "; ".join(look.problems)
        return look.well

    def _build(self, plan: Plan) -> Release:
        """Make the release whole and durable among the others; nothing is left of it where that fails."""
        release = Release(
            plan.name,
            plan.target.revision,
            plan.target.kind,
            plan.target.commits,
            plan.fingerprint,
            State.BUILT,
            timestamp(),
            previous=self._run.record.previous,
        )
        try:
            return self._made(release, plan.blueprint)
        except BaseException:
            self._context.store.discard(release.name)
            raise

    def _made(self, release: Release, plans: Blueprint) -> Release:
        run, store, source = self._run, self._context.store, self._context.source
        with run.phase("build"):
            directory = store.build(release.name, lambda place: source.write(release.commits, place))
            store.link_shared(directory, plans.shared)
        run.hooks("build", release, directory, plans)
        with run.phase("sync"):
            release = self._with_what_was_made(release, directory, plans)
            store.sync()
            store.install(release)
        self._context.log.info("release.built", release=release.name)
        run.hooks("before_publish", release, store.directory(release.name), plans)
        self._context.clock.check()
        return release

    def _with_what_was_made(self, release: Release, directory: Path, plans: Blueprint) -> Release:
        """Note what links and hooks made of the commit's files, so that `verify` knows it from drift."""
        if not (plans.hooks.build or plans.shared.directories or plans.shared.files):
            return release
        return replace(release, built=self._context.source.drift(release.commits, directory))

    def _publish(self, release: Release) -> None:
        try:
            Publication(self._run, release).go_live()
        except ReleaseError:
            # Failed before the swap: as if it had never been built.
            current = self._context.store.current()
            if release.state is State.BUILT and (current is None or current.name != release.name):
                known = self._context.store.get(release.name)
                if known and known.state is State.BUILT:
                    self._context.store.discard(release.name)
            raise
