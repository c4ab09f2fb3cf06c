"""The monitor rolls a release back, or not: by the results of its looks, the time, and the settings. No test waits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.config.sections import HealthSettings
from release_agent.errors import Cancelled, Code, Failed
from release_agent.health import Look, Process, ServiceLook
from release_agent.journal.journal import StateDatabase
from release_agent.model import Action, Deployed, Outcome, Record, Request, Trigger
from release_agent.monitor.watch import HealthWatch, Sickness, is_given_up, is_watched
from support.contexts import Unheard
from support.roots import release

if TYPE_CHECKING:
    from pathlib import Path

    from release_agent.errors import ReleaseError
    from release_agent.model import Release, Target

PUBLISHED = "2024-01-01T12:00:00.000000Z"
LIVE = release(2, published_at=PUBLISHED)
AGAIN = release(2, published_at="2024-01-01T13:00:00.000000Z")
OTHER = release(1, published_at=PUBLISHED)
OF_LIVE = (LIVE.name, PUBLISHED)
SETTINGS = HealthSettings(deadline=10.0, stable_for=3.0, watch=600.0)
DEPLOYED, ROLLED_BACK = (Deployed(LIVE.name, action, "command") for action in (Action.DEPLOY, Action.ROLLBACK))


@pytest.mark.parametrize(
    ("known", "live", "failing", "since"),
    [
        pytest.param(Sickness(), LIVE, False, None, id="healthy"),
        pytest.param(Sickness(), LIVE, True, 100.0, id="the-first-failure"),
        pytest.param(Sickness(OF_LIVE), LIVE, True, 100.0, id="a-failure-after-health"),
        pytest.param(Sickness(OF_LIVE, 90.0), LIVE, True, 90.0, id="it-goes-on-failing"),
        pytest.param(Sickness(OF_LIVE, 90.0), LIVE, False, None, id="it-has-recovered"),
        pytest.param(Sickness(OF_LIVE, 90.0), OTHER, True, 100.0, id="another-release-is-live"),
        pytest.param(Sickness(OF_LIVE, 90.0), AGAIN, True, 100.0, id="the-same-release-was-published-again"),
    ],
)
def test_since_when_a_release_is_sick(known: Sickness, live: Release, *, failing: bool, since: float | None) -> None:
    assert known.after(live, 100.0, failing=failing) == Sickness((live.name, live.published_at), since)


@pytest.mark.parametrize(
    ("since", "hopeless", "given_up"),
    [
        pytest.param(None, False, False, id="no-probe-fails"),
        pytest.param(None, True, True, id="supervisor-gave-up"),
        pytest.param(95.0, False, False, id="within-the-deadline"),
        pytest.param(90.0, False, True, id="for-the-deadline"),
        pytest.param(99.0, True, True, id="both"),
    ],
)
def test_when_a_release_is_given_up(since: float | None, *, hopeless: bool, given_up: bool) -> None:
    assert is_given_up(Sickness(OF_LIVE, since), SETTINGS, 100.0, hopeless=hopeless) == given_up


@pytest.mark.parametrize(
    ("live", "watch", "minute", "newest", "watched"),
    [
        pytest.param(LIVE, 600.0, 5, DEPLOYED, True, id="deployed-a-while-ago"),
        pytest.param(LIVE, 600.0, 10, DEPLOYED, True, id="at-the-end-of-its-watch"),
        pytest.param(LIVE, 600.0, 11, DEPLOYED, False, id="long-ago"),
        pytest.param(LIVE, None, 5, DEPLOYED, False, id="no-watch"),
        pytest.param(LIVE, 600.0, 5, ROLLED_BACK, False, id="brought-back-by-a-rollback"),
        pytest.param(LIVE, 600.0, 5, Deployed(OTHER.name, Action.DEPLOY, "command"), False, id="another-was-deployed"),
        pytest.param(LIVE, 600.0, 5, None, False, id="the-journal-knows-of-none"),
        pytest.param(release(2), 600.0, 5, DEPLOYED, False, id="not-known-when-it-was-published"),
    ],
)
def test_which_release_is_watched(
    live: Release, watch: float | None, minute: int, newest: Deployed | None, *, watched: bool
) -> None:
    settings, today = HealthSettings(10.0, 3.0, watch), datetime(2024, 1, 1, 12, minute, tzinfo=UTC)

    assert is_watched(live, settings, today, newest) == watched


class Host:
    """A host whose live release is watched; it counts the rollbacks that were fired, and may refuse them."""

    def __init__(self) -> None:
        self.fired = 0
        self.refuses: str | None = None

    def health(self, _live: Release) -> HealthSettings:
        return HealthSettings(deadline=10.0, stable_for=3.0, watch=10e9)

    def fire(self, method: str, trigger: str) -> str | None:
        assert (method, trigger) == ("rollback", "watch")
        self.fired += 1
        return self.refuses

    def busy(self) -> bool:
        raise NotImplementedError

    def live(self) -> Release | None:
        raise NotImplementedError

    def look(self, live: Release) -> Look:
        raise NotImplementedError

    def target(self) -> Target:
        raise NotImplementedError


class Journal:
    def last_deployed(self) -> Deployed:
        return DEPLOYED

    def is_taken_back(self, *_of: object) -> bool:
        return False

    def take_back(self, *_of: object) -> None:
        """Forget it, as a journal that was lost."""


JOURNAL: Any = Journal()
LOST = Look({"web": ServiceLook((Process("web", "web", "FATAL", 0),), ("web is FATAL",))})


def considered(host: Host, *looks: tuple[Release, Look | None], journal: StateDatabase = JOURNAL) -> int:
    """Have each look considered, one after the other; return how many rollbacks were fired."""
    watch = HealthWatch(host, Unheard())
    for live, look in looks:
        watch.consider(live, look, journal)
    return host.fired


def test_a_release_is_rolled_back_once() -> None:
    assert considered(Host(), (LIVE, LOST), (LIVE, LOST)) == 1


def test_a_release_that_was_deployed_again_may_be_rolled_back_again() -> None:
    assert considered(Host(), (LIVE, LOST), (AGAIN, LOST)) == 2


def test_a_monitor_that_was_started_anew_does_not_fire_again(tmp_path: Path) -> None:
    host = Host()
    with StateDatabase(tmp_path / "state.db", write=True) as journal:
        journal.begin(Request("d-1"), PUBLISHED)
        journal.end(Record("d-1", Outcome.DEPLOYED, LIVE.name), None)
        considered(host, (LIVE, LOST), journal=journal)

        assert considered(host, (LIVE, LOST), journal=journal) == 1
        assert considered(host, (AGAIN, LOST), journal=journal) == 2, "it was deployed again"


@pytest.mark.parametrize(
    ("error", "fired"),
    [
        pytest.param(Cancelled(Code.INTERRUPTED, "supervisor is shutting down"), 3, id="its-container-ended"),
        pytest.param(Cancelled(Code.CANCELLED, "stopped by SIGTERM"), 1, id="a-person-has-stopped-it"),
        pytest.param(Failed(Code.DISK_FULL, "no space"), 1, id="it-failed"),
        pytest.param(None, 1, id="it-has-not-ended"),
    ],
)
def test_a_rollback_that_ended_with_its_container_is_fired_again_three_times_in_all(
    journal: StateDatabase, error: ReleaseError | None, fired: int
) -> None:
    host = Host()
    journal.begin(Request("d-1"), PUBLISHED)
    journal.end(Record("d-1", Outcome.DEPLOYED, LIVE.name), None)
    for number in range(4):
        considered(host, (LIVE, LOST), journal=journal)  # by a new monitor
        rollback = Request(f"r-{number}", Action.ROLLBACK, trigger=Trigger.WATCH)
        journal.begin(rollback, f"2024-01-01T12:0{number + 1}:00.000000Z")
        if error:
            journal.end(Record(rollback.id, error.outcome, error=error.to_json()), None)

    assert host.fired == fired


def test_a_rollback_that_was_refused_is_fired_again() -> None:
    host = Host()
    host.refuses = "busy"

    assert considered(host, (LIVE, LOST), (LIVE, LOST)) == 2


def test_a_supervisor_that_does_not_answer_is_no_reason() -> None:
    assert considered(Host(), (LIVE, None)) == 0


def test_a_probe_that_fails_for_the_first_time_is_no_reason_yet() -> None:
    failing = Look({"web": ServiceLook((Process("web", "web", "RUNNING", 1),), ("web: no connection",), failing=True)})

    assert considered(Host(), (LIVE, failing)) == 0
