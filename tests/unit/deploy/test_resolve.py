"""The revision of a deployment, from the request and from [revision] follow; no repository is read."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from release_agent.deploy.resolve import candidates, find, resolve
from release_agent.errors import Code, Refused
from release_agent.model import Completed, Kind, Release, Request, State, Target
from support.clocks import FakeClock
from support.configuration import configuration
from support.contexts import context
from support.roots import release

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.deploy.context import Context

OLD, NEW = "a" * 40, "b" * 40


class Source:
    """A repository of three tags and a branch; every name is one commit."""

    def tags(self) -> set[str]:
        return {"v1.9.0", "v1.10.0", "nightly"}

    def resolve(self, revision: str, kinds: Sequence[Kind]) -> Target:
        return Target(revision, kinds[0], {"api": NEW})


class Journal:
    """A journal that knows what was pinned, and what a tag named before."""

    def __init__(self, pinned: str | None = None, before: str = NEW) -> None:
        self._pinned, self._before = pinned, before

    def pinned(self) -> str | None:
        return self._pinned

    def deployed_commits(self, _tag: str) -> dict[str, str]:
        return {"api": self._before}


class Followed:
    """What the fleet's last completed rollout says."""

    def __init__(self, commit: str | None) -> None:
        self._commit = commit

    def completed(self) -> Completed | None:
        return Completed("rollout-1", "v1.9.0", {"api": self._commit}) if self._commit else None


class Store:
    """A root with a live release, or none."""

    def __init__(self, live: Release | None) -> None:
        self._live = live

    def current(self) -> Release | None:
        return self._live


def live(revision: str, state: State = State.HEALTHY, kind: Kind = Kind.TAG) -> Release:
    return replace(release(1, state), revision=revision, kind=kind)


def following(
    revision: str,
    *,
    pinned: str | None = None,
    before: str = NEW,
    rolled_out: str | None = None,
    live: Release | None = None,
) -> Context:
    return context(
        store=Store(live),
        config=configuration(f"[revision]\n{revision}\n"),
        source=Source(),
        journal=Journal(pinned, before),
        followed=Followed(rolled_out),
    )


@pytest.mark.parametrize(
    ("revision", "asked", "takes"),
    [
        pytest.param("", "", ("v1.10.0", Kind.TAG), id="the-newest-tag"),
        pytest.param("", "v1.9.0", ("v1.9.0", Kind.TAG), id="what-was-asked-for"),
        pytest.param('follow = "branch"\nbranch = "main"', "", ("main", Kind.BRANCH), id="the-tip-of-a-branch"),
        pytest.param('follow = "pin"', "", ("v1.4", Kind.TAG), id="what-is-pinned"),
        pytest.param('follow = "rollout"', "", ("v1.9.0", Kind.TAG), id="what-the-fleet-rolled-out"),
        pytest.param('follow = "rollout"', "v1.10.0", ("v1.10.0", Kind.TAG), id="what-was-asked-for-whatever-it-follows"),
    ],
)
def test_what_a_deployment_takes(revision: str, asked: str, takes: tuple[str, Kind]) -> None:
    target = resolve(following(revision, pinned="v1.4", rolled_out=NEW), Request("d-1", revision=asked))

    assert (target.revision, target.kind) == takes


@pytest.mark.parametrize(
    ("there", "code"),
    [
        pytest.param(following('pattern = "w*"'), Code.NO_VERSION, id="no-version"),
        pytest.param(following('follow = "pin"'), Code.NOT_PINNED, id="nothing-is-pinned"),
        pytest.param(following('follow = "rollout"'), Code.NO_ROLLOUT, id="no-rollout-has-completed"),
        pytest.param(following('follow = "rollout"', rolled_out=OLD), Code.TAG_MOVED, id="other-commits-than-the-fleet"),
        pytest.param(following("", before=OLD), Code.TAG_MOVED, id="a-tag-that-was-moved"),
    ],
)
def test_what_is_refused(there: Context, code: Code) -> None:
    with pytest.raises(Refused) as refused:
        resolve(there, Request("d-1"))

    assert refused.value.code is code


def test_a_tag_that_was_moved_on_purpose_is_taken() -> None:
    request = Request("d-1", accept_moved_tag=True)

    assert resolve(following("", before=OLD), request).commits == {"api": NEW}


def test_a_branch_may_move() -> None:
    there = following('follow = "branch"\nbranch = "main"', before=OLD)

    assert resolve(there, Request("d-1")).commits == {"api": NEW}


def test_versions_are_tried_highest_first() -> None:
    assert candidates(following("")) == ["v1.10.0", "v1.9.0"]


@pytest.mark.parametrize("there", [live("v1.11.0"), live("v2"), live("v1.11.0", State.BUILT), live("v1.11.0-rc.1")])
def test_a_bare_deploy_never_goes_back_when_tags_vanish(there: Release) -> None:
    with pytest.raises(Refused, match=r"the highest tag is v1\.10\.0") as refused:
        resolve(following("", live=there), Request("d-1"))

    assert refused.value.code is Code.WOULD_GO_BACK
    # The RPC lacks --allow-lower, but takes the name of the tag.
    assert refused.value.hint.endswith("to go back on purpose: `release-agent deploy v1.10.0`")


@pytest.mark.parametrize(
    ("there", "request_"),
    [
        pytest.param(live("v1.11.0"), Request("d-1", allow_lower=True), id="on-purpose"),
        pytest.param(live("v1.11.0"), Request("d-1", revision="v1.10.0"), id="by-its-name"),
        pytest.param(live("v1.11.0", State.FAILED), Request("d-1"), id="the-live-one-failed"),
        pytest.param(live("v1.10"), Request("d-1"), id="the-same-version"),
        pytest.param(live("v1.9.0"), Request("d-1"), id="a-lower-one-is-live"),
        pytest.param(live("v9", kind=Kind.BRANCH), Request("d-1"), id="a-branch-of-that-name-is-live"),
        pytest.param(live("w2.0"), Request("d-1"), id="a-tag-that-does-not-count-is-live"),
        pytest.param(None, Request("d-1"), id="nothing-is-live"),
    ],
)
def test_what_may_be_lower(there: Release | None, request_: Request) -> None:
    assert resolve(following("", live=there), request_).revision == "v1.10.0"


class Fetched(Source):
    """A repository that is fetched after so many looks, and refuses every revision until then."""

    def __init__(self, code: Code, looks: float) -> None:
        self._code, self.looks = code, looks

    def look_again(self) -> None:
        self.looks -= 1

    def resolve(self, revision: str, kinds: Sequence[Kind]) -> Target:
        if self.looks > 0:
            raise Refused(self._code, f"{revision} is not there")
        return super().resolve(revision, kinds)


MAY_COME = [
    Code.REVISION_UNKNOWN,
    Code.REVISION_NOT_A_COMMIT,
    Code.NO_VERSION,
    Code.REPOSITORY_INCOMPLETE,
    Code.REPOSITORY_UNREADABLE,
]


@pytest.mark.parametrize("code", MAY_COME)
def test_a_revision_that_is_fetched_in_time_is_taken(code: Code) -> None:
    clock = FakeClock()
    there = context(source=Fetched(code, 3), clock=clock)

    target = find(there, Request("d-1", revision="v2", wait_for=120.0))

    assert (target.revision, clock.spent) == ("v2", 3.0)


def test_a_revision_that_never_comes_is_refused_as_without_waiting() -> None:
    clock = FakeClock()
    there = context(source=Fetched(Code.REVISION_UNKNOWN, math.inf), clock=clock)

    with pytest.raises(Refused, match="v2 is not there"):
        find(there, Request("d-1", revision="v2", wait_for=2.5))
    assert clock.spent == 2.5
    with pytest.raises(Refused):
        find(there, Request("d-1", revision="v2"))
    assert clock.spent == 2.5


@pytest.mark.parametrize("code", [Code.REVISION_INVALID, Code.SUBDIRECTORY_MISSING])
def test_what_no_fetch_changes_is_refused_at_once(code: Code) -> None:
    clock = FakeClock()

    with pytest.raises(Refused):
        find(context(source=Fetched(code, 3), clock=clock), Request("d-1", revision="v2", wait_for=120.0))

    assert clock.spent == 0.0
