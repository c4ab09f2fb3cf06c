"""Resolve the requested revision, or the one of ``[revision]``, to one commit of each repository."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

from release_agent.deploy.policy import versions
from release_agent.errors import Code, Refused
from release_agent.model import Kind, State, Target

if TYPE_CHECKING:
    from release_agent.deploy.context import Context
    from release_agent.model import Request

# Refusals that end when a mirror has finished its clone or fetch.
_MAY_COME = (
    Code.REVISION_UNKNOWN,
    Code.REVISION_NOT_A_COMMIT,
    Code.NO_VERSION,
    Code.REPOSITORY_INCOMPLETE,
    Code.REPOSITORY_UNREADABLE,
)
_PAUSE, _SAID = 1.0, 10.0  # seconds between looks, and between messages
_ANY_KIND = (Kind.TAG, Kind.BRANCH, Kind.COMMIT)


def resolve(context: Context, request: Request) -> Target:
    """Return the target of a deployment, without a line in the log; raises Refused."""
    return _accepted(context, request, find(context, request))


def find(context: Context, request: Request) -> Target:
    """Find one commit of each repository, unchecked; raises Refused.

    Waits for a missing revision as long as the request says; raises Cancelled if a signal ends that.
    """
    clock, said = context.clock, -math.inf
    end = clock.now() + request.wait_for
    while True:
        try:
            return _find(context, request)
        except Refused as refused:
            left = end - clock.now()
            if refused.code not in _MAY_COME or left <= 0:
                raise
            if clock.now() - said >= _SAID:
                said = clock.now()
                why = f"waits up to {left:.0f} s more: {refused.message}"
                context.log.info("revision.awaited", revision=request.revision, why=why)
            clock.sleep(min(_PAUSE, left))
            context.source.look_again()


def _find(context: Context, request: Request) -> Target:
    source, follow = context.source, context.config.revision
    if request.revision:
        return source.resolve(request.revision, _ANY_KIND)
    if follow.follow == "branch":
        return source.resolve(follow.branch, (Kind.BRANCH,))
    if follow.follow == "pin":
        return source.resolve(_pinned(context), _ANY_KIND)
    if follow.follow == "rollout":
        return _followed(context)
    highest = candidates(context)[0]
    if not request.allow_lower:
        _refuse_lower(context, highest)
    return source.resolve(highest, (Kind.TAG,))


def accept(context: Context, request: Request, target: Target) -> Target:
    """Return the target with its signers, and log it.

    Raises Refused if it lacks a signature that it needs, or its tag names other commits than before.
    """
    target = _accepted(context, request, target)
    context.log.info("revision.resolved", revision=target.revision, kind=str(target.kind), commits=target.commits)
    return target


def _accepted(context: Context, request: Request, target: Target) -> Target:
    follow = context.config.revision
    if follow.signed:
        signers = context.source.verify_signatures(target, follow.allowed_signers, follow.revoked_signers)
        target = replace(target, signers=signers)
    if not request.accept_moved_tag:
        _refuse_moved_tag(context, target)
    return target


def candidates(context: Context) -> list[str]:
    """Return the tags that are versions, highest first; raises Refused (no-version) if there are none."""
    follow = context.config.revision
    found, ignored = versions.matching(context.source.tags(), follow.pattern, prereleases=follow.prereleases)
    if ignored:
        context.log.info("tags.ignored", count=ignored, pattern=follow.pattern, why="not versions")
    if not found:
        raise Refused(
            Code.NO_VERSION,
            f"no tag like {follow.pattern} is a version{'' if follow.prereleases else ' (without pre-releases)'}",
            hint="tag a version such as v1.0.0 and fetch it, or change [revision]",
        )
    return found


def _pinned(context: Context) -> str:
    pinned = context.journal.pinned()
    if pinned is None:
        raise Refused(
            Code.NOT_PINNED, 'no revision is pinned, and [revision] follow = "pin"', hint="`release-agent pin REVISION`"
        )
    return pinned


def _followed(context: Context) -> Target:
    """Return the target of the fleet's last completed rollout, if it names the same commits here."""
    app, followed = context.config.app, context.followed.completed()
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
                hint="fetch the repository here; if the tag was moved on purpose, make a new tag and roll that out",
            )
    return target


def _refuse_lower(context: Context, highest: str) -> None:
    """Raise Refused (would-go-back) for a lower version than the healthy live one: a deleted tag must not roll a host back."""
    live = context.store.current()
    if live is None or live.kind is not Kind.TAG or live.state is State.FAILED:
        return
    if versions.is_lower(highest, live.revision, context.config.revision.pattern):
        raise Refused(
            Code.WOULD_GO_BACK,
            f"the highest tag is {highest}, which is lower than the live {live.revision}",
            hint=f"fetch the missing tags; to go back on purpose: `release-agent deploy {highest}`",
        )


def _refuse_moved_tag(context: Context, target: Target) -> None:
    """Raise Refused (tag-moved) if a tag names another commit than at its last deployment."""
    before = context.journal.deployed_commits(target.revision) if target.kind is Kind.TAG else None
    moved = [name for name, commit in (before or {}).items() if target.commits.get(name, commit) != commit]
    if before and moved:
        name = moved[0]
        raise Refused(
            Code.TAG_MOVED,
            f"tag {target.revision} was deployed as {before[name][:12]} of repository {name}, "
            f"and now names {target.commits[name][:12]}",
            hint=f"make a new tag; if it was moved on purpose: `release-agent deploy --accept-moved-tag {target.revision}`",
        )
