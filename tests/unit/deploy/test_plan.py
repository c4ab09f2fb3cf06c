"""The agent finds an existing release of the same content."""

from __future__ import annotations

from dataclasses import replace

import pytest

from release_agent.deploy.plan import same_content
from release_agent.model import Release, State
from support.roots import release

SAME = "f" * 64


def same(number: int, state: State = State.HEALTHY) -> Release:
    return replace(release(number, state), fingerprint=SAME)


@pytest.mark.parametrize(
    ("live", "releases", "kept"),
    [
        pytest.param(None, [], None, id="nothing-is-there"),
        pytest.param(release(2), [release(1), release(2)], None, id="all-are-different"),
        pytest.param(same(2), [release(1), same(2)], 2, id="the-live-one"),
        pytest.param(same(1, State.FAILED), [same(1, State.FAILED)], None, id="not-the-live-one-if-it-failed"),
        pytest.param(same(1, State.FAILED), [same(1, State.FAILED), same(2)], 2, id="a-healthy-one-if-the-live-one-failed"),
        pytest.param(release(3), [same(1), same(2), release(3)], 2, id="the-newest-healthy-one"),
        pytest.param(release(3), [same(1), same(2, State.FAILED), release(3)], 1, id="a-failed-one-is-built-again-or-older"),
        pytest.param(release(3), [same(1, State.FAILED), release(3)], None, id="only-a-failed-one"),
        pytest.param(release(3), [same(1, State.BUILT), release(3)], None, id="only-one-that-nothing-proved"),
    ],
)
def test_a_release_of_the_same_content_is_taken_as_it_is(live: Release | None, releases: list[Release], kept: int | None) -> None:
    found = same_content(live, releases, SAME, again=False)

    assert (found.number if found else None) == kept


def test_a_boot_starts_the_live_release_again_though_it_failed() -> None:
    live = same(1, State.FAILED)

    assert same_content(live, [live, same(2)], SAME, again=True) == live
