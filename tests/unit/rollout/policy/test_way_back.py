from __future__ import annotations

import pytest

from release_agent.model import Completed
from release_agent.rollout.host.model import HostStatus
from release_agent.rollout.model import Application, Host, HostStage
from release_agent.rollout.policy.way_back import WayBack, boots_since, later_with_same_commits, stays_as_noted, way_back
from support.rollouts import a_wave

OLD, NEW, OTHER = "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb", "000003-cccccccccccc"
OURS, THEIRS = {"api": "b" * 40}, {"api": "c" * 40}


def host(
    stage: HostStage, *, deployment: str | None = "d-1", before: str | None = OLD, release: str | None = NEW, wave: int = 0
) -> Host:
    return Host("host-1", "", stage=stage, deployment=deployment, before=before, release=release, wave=wave)


def live(release: str | None, commits: dict[str, str] = OURS) -> HostStatus:
    return HostStatus("api", "test", release, "v?" if release else None, commits, "passing")


S = HostStage


@pytest.mark.parametrize(
    ("of", "status", "expected"),
    [
        # Something else is live than before: whether this rollout brought it, the host's history says
        (host(S.DONE), live(NEW), WayBack.READ_HISTORY),
        (host(S.FAILED), live(NEW), WayBack.READ_HISTORY),
        (host(S.DEPLOYING, release=None), live(NEW), WayBack.READ_HISTORY),
        (host(S.STUCK), live(NEW), WayBack.READ_HISTORY),
        (host(S.DONE), live(OTHER, THEIRS), WayBack.READ_HISTORY),
        (host(S.UNREACHABLE, deployment=None), live(NEW), WayBack.READ_HISTORY),
        (host(S.STARTING, deployment=None), live(NEW), WayBack.READ_HISTORY),
        (host(S.UNREACHABLE, before=None, wave=-1), live(NEW), WayBack.READ_HISTORY),
        # What was live before is live
        (host(S.DONE), live(OLD, THEIRS), WayBack.NOTE_BACK),
        (host(S.STARTING, deployment=None, release=None), live(OLD, THEIRS), WayBack.NOTE_BACK),
        (host(S.STUCK), live(OLD, THEIRS), WayBack.NOTE_BACK),
        (host(S.FAILED, release=None), live(OLD, THEIRS), WayBack.LEAVE_ALONE),
        (host(S.UNREACHABLE, deployment=None, release=None), live(OLD, THEIRS), WayBack.LEAVE_ALONE),
        # Nothing is live any more
        (host(S.DONE), live(None), WayBack.MOVED_ON),
        # It was on its way back already
        (host(S.REVERTING), live(NEW), WayBack.ROLL_BACK),
        (host(S.REVERTING), live(OLD, THEIRS), WayBack.ROLL_BACK),
        (host(S.REVERTING, before=None), live(NEW), WayBack.NO_TARGET),
    ],
)
def test_what_is_done_with_a_host(of: Host, status: HostStatus, expected: WayBack) -> None:
    assert way_back(of, status) is expected


@pytest.mark.parametrize(
    ("of", "brought", "expected"),
    [
        (host(S.DONE), True, WayBack.ROLL_BACK),
        (host(S.FAILED), True, WayBack.ROLL_BACK),
        (host(S.UNREACHABLE, deployment=None), True, WayBack.ROLL_BACK),
        (host(S.STARTING, deployment=None), True, WayBack.ROLL_BACK),
        (host(S.UNREACHABLE, before=None, wave=-1), True, WayBack.ROLL_BACK),
        (host(S.DONE, before=None), True, WayBack.NO_TARGET),
        # The same commits, but another run brought them
        (host(S.DONE), False, WayBack.MOVED_ON),
        (host(S.STARTING, deployment=None), False, WayBack.MOVED_ON),
        (host(S.STUCK), False, WayBack.MOVED_ON),  # why it was stuck before may not be true any more
        (host(S.FAILED), False, WayBack.LEAVE_ALONE),
        (host(S.UNREACHABLE, deployment=None), False, WayBack.LEAVE_ALONE),
    ],
)
def test_history_decides_whether_this_rollout_brought_what_is_live(of: Host, brought: bool, expected: WayBack) -> None:
    assert way_back(of, live(NEW), brought=brought) is expected


@pytest.mark.parametrize(
    ("of", "commits", "expected"),
    [
        # It ran another release in preflight, and runs this one now: no clock is needed
        (host(S.UNREACHABLE, wave=0), OURS, ""),
        (host(S.UNREACHABLE, wave=-1), OURS, "2024-01-01T00:00:00.0Z"),
        # It followed the rollout before
        (host(S.FAILED, wave=-1), THEIRS, None),
        (host(S.DONE, wave=0), THEIRS, None),
    ],
)
def test_boot_counts_as_the_rollout_where_it_took_its_commits_since_then(
    of: Host, commits: dict[str, str], expected: str | None
) -> None:
    rollout = a_wave(0)
    rollout.applications[0].commits = OURS
    of.app = "api"

    assert boots_since(rollout, of, live(NEW, commits)) == expected


@pytest.mark.parametrize(
    ("followed", "is_later"),
    [
        (None, False),
        (Completed("rollout-2", "v2", OURS), True),
        (Completed("rollout-2", "v3", THEIRS), False),
        (Completed("rollout-1", "v2", OURS), False),
        (Completed("rollout-0", "v2", OURS), False),
    ],
)
def test_later_rollout_that_completed_with_the_same_commits_has_what_is_live(followed: Completed | None, is_later: bool) -> None:
    assert (later_with_same_commits("rollout-1", Application("api", OURS), followed) is not None) is is_later


@pytest.mark.parametrize(("stage", "wave", "stays"), [(S.UNREACHABLE, -1, True), (S.REVERTING, -1, False), (S.DONE, 0, False)])
def test_host_that_was_left_out_and_cannot_be_asked_keeps_its_reason(stage: HostStage, wave: int, stays: bool) -> None:
    assert stays_as_noted(host(stage, wave=wave)) is stays
