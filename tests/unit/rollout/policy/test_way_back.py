from __future__ import annotations

import pytest

from release_agent.rollout.host.model import HostStatus
from release_agent.rollout.model import Host, HostStage, Rollout
from release_agent.rollout.options import Options
from release_agent.rollout.policy.way_back import WayBack, stays_as_noted, way_back

OLD, NEW, OTHER = "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb", "000003-cccccccccccc"
OURS, THEIRS = {"api": "b" * 40}, {"api": "c" * 40}
ROLLOUT = Rollout("rollout-1", "api", "test", "v2", OURS, Options(), {}, "ada", "2026-11-24T10:00:00.000000Z")


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
        # This rollout brought it: by the commits, or by the release it told of
        (host(S.DONE), live(NEW), WayBack.ROLL_BACK),
        (host(S.DONE, release=None), live(NEW), WayBack.ROLL_BACK),
        (host(S.FAILED), live(NEW), WayBack.ROLL_BACK),
        (host(S.FAILED), live(NEW, THEIRS), WayBack.ROLL_BACK),
        (host(S.DEPLOYING, release=None), live(NEW), WayBack.ROLL_BACK),
        (host(S.STUCK), live(NEW), WayBack.ROLL_BACK),
        # What was live before is live
        (host(S.DONE), live(OLD, THEIRS), WayBack.NOTE_BACK),
        (host(S.STARTING, deployment=None, release=None), live(OLD, THEIRS), WayBack.NOTE_BACK),
        (host(S.STUCK), live(OLD, THEIRS), WayBack.NOTE_BACK),
        (host(S.FAILED, release=None), live(OLD, THEIRS), WayBack.LEAVE_ALONE),
        (host(S.UNREACHABLE, deployment=None, release=None), live(OLD, THEIRS), WayBack.LEAVE_ALONE),
        # Something else is live
        (host(S.DONE), live(OTHER, THEIRS), WayBack.MOVED_ON),
        (host(S.DONE), live(None), WayBack.MOVED_ON),
        (host(S.FAILED, release=None), live(OTHER, THEIRS), WayBack.LEAVE_ALONE),
        # Nothing was live before
        (host(S.DONE, before=None), live(NEW), WayBack.NO_TARGET),
        (host(S.UNREACHABLE, before=None, wave=-1), live(NEW), WayBack.ROLL_BACK),
        # It is not known to have deployed
        (host(S.UNREACHABLE, deployment=None), live(NEW), WayBack.READ_HISTORY),
        (host(S.STARTING, deployment=None), live(NEW), WayBack.READ_HISTORY),
        # It was on its way back already
        (host(S.REVERTING), live(NEW), WayBack.ROLL_BACK),
        (host(S.REVERTING), live(OLD, THEIRS), WayBack.ROLL_BACK),
        (host(S.REVERTING, before=None), live(NEW), WayBack.NO_TARGET),
    ],
)
def test_what_is_done_with_a_host(of: Host, status: HostStatus, expected: WayBack) -> None:
    assert way_back(of, status, ROLLOUT) is expected


@pytest.mark.parametrize(
    ("stage", "brought", "expected"),
    [
        (S.UNREACHABLE, True, WayBack.ROLL_BACK),
        (S.STARTING, True, WayBack.ROLL_BACK),
        (S.UNREACHABLE, False, WayBack.LEAVE_ALONE),
        (S.STARTING, False, WayBack.MOVED_ON),
    ],
)
def test_history_decides_when_nobody_knows_whether_it_deployed(stage: HostStage, brought: bool, expected: WayBack) -> None:
    assert way_back(host(stage, deployment=None), live(NEW), ROLLOUT, brought=brought) is expected


@pytest.mark.parametrize(("stage", "wave", "stays"), [(S.UNREACHABLE, -1, True), (S.REVERTING, -1, False), (S.DONE, 0, False)])
def test_host_that_was_left_out_and_cannot_be_asked_keeps_its_reason(stage: HostStage, wave: int, stays: bool) -> None:
    assert stays_as_noted(host(stage, wave=wave)) is stays
