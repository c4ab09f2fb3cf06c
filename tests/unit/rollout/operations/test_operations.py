"""The operations, called by other code than the command line: arguments in, results out."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.errors import Code, Exit, FleetStopped, Locked, Misconfigured, NoTarget, Refused
from release_agent.model import Completed
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import ASKED, Application, HostStage, InventoryHost, Order, Phase, Rollout
from release_agent.rollout.operations import look, orders
from release_agent.rollout.operations.operator import Operator
from release_agent.rollout.operations.results import Result, RolloutPlan, StartRequest
from release_agent.rollout.options import Options
from release_agent.rollout.record.file import FileRolloutStore
from support import no_time
from support.fake_hosts import COMMITS, FakeAccess, Heard
from support.rollouts import a_rollout, a_system

if TYPE_CHECKING:
    from collections.abc import Coroutine, Sequence
    from pathlib import Path

    from release_agent.rollout.model import Host

HOSTS = [InventoryHost(f"host-{number}", f"http://10.0.0.{number}:9001") for number in (1, 2, 3)]
REQUEST = StartRequest("v2", HOSTS, Options(bake=0.0))
DRY = StartRequest("v2", HOSTS, Options(bake=0.0), dry_run=True)
LEFT = "rollout-20261122T100000Z-aaaaaa"
AHEAD = "rollout-20991231T235959Z-aaaaaa"


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the record is."""
    return tmp_path / "rollouts.db"


@pytest.fixture
def access(path: Path) -> FakeAccess:
    """Three hosts that run v1, and a record."""
    return FakeAccess(FileRolloutStore(path))


def test_id_sorts_after_that_of_an_operator_whose_clock_was_ahead(access: FakeAccess) -> None:
    access.record.begin(a_rollout(AHEAD, app="api", environment="test"))
    access.record.release()
    access.record.begin(a_rollout(LEFT, app="api", environment="test"))
    access.record.release()

    plan = asyncio.run(Operator(access, Heard()).plan(REQUEST))

    assert plan.rollout.id.startswith("rollout-21000101T000000Z-")


def test_plan_changes_nothing_and_a_dry_run_needs_no_record() -> None:
    access = FakeAccess(None)
    access.by_name["host-2"].revision = "v2"

    plan = asyncio.run(Operator(access, Heard()).plan(DRY))

    assert plan.exceeded == ""
    assert [[host.name for host in wave] for wave in plan.rollout.waves] == [["host-1"], ["host-3"]]
    assert plan.rollout.hosts["host-2"].stage is HostStage.SKIPPED
    assert [host.triggers for host in access.by_name.values()] == [[], [], []]


class _Asked(Heard):
    """An observer that keeps how many hosts were asked for their status."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: list[object] = []

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Keep it."""
        if event == "preflight.progress" and details["what"] == "status":
            self.asked.append(details["asked"])
        super().tell(event, host, **details)


def test_preflight_that_takes_a_while_tells_how_far_it_is_and_asks_more_hosts_at_a_time_than_are_deployed_to() -> None:
    access, heard = FakeAccess(None, 12), _Asked()
    for host in access.by_name.values():
        host.slow = 3.5
    hosts = [InventoryHost(name, "") for name in access.by_name]

    no_time.run(Operator(access, heard).plan(StartRequest("v2", hosts, Options(parallel=1), dry_run=True)))

    assert heard.asked == [0, 4, 4, 8, 8], "after 2, 4, 6, 8 and 10 seconds"


def test_preflight_of_a_few_hosts_tells_nothing() -> None:
    heard = Heard()

    asyncio.run(Operator(FakeAccess(None), heard).plan(DRY))

    assert heard.events == ["preflight", "end"]


def test_plan_says_which_budget_is_exceeded_before_anything_is_changed() -> None:
    access = FakeAccess(None)
    access.by_name["host-2"].error = HostError(Code.HOST_UNREACHABLE, "Connection refused", unreachable=True)

    plan = asyncio.run(Operator(access, Heard()).plan(DRY))

    assert plan.exceeded == "1 of 3 hosts unreachable, and --max-unreachable allows 0"


def test_revision_that_no_host_has_is_refused() -> None:
    with pytest.raises(Refused, match="every host of api refuses v9"):
        asyncio.run(Operator(FakeAccess(None), Heard()).plan(StartRequest("v9", HOSTS, dry_run=True)))


def test_no_host_that_answers_ends_it() -> None:
    access = FakeAccess(None)
    for host in access.by_name.values():
        host.error = HostError(Code.HOST_UNFIT, "no plugin")

    with pytest.raises(FleetStopped, match="none of 3 hosts gives a valid answer: host-1: no plugin"):
        asyncio.run(Operator(access, Heard()).plan(DRY))


async def _started(operator: Operator) -> tuple[RolloutPlan, Result]:
    plan = await operator.plan(REQUEST)
    return plan, await operator.start(plan)


def test_start_runs_a_plan_to_its_end_and_lets_go_of_the_lock(access: FakeAccess) -> None:
    heard = Heard()

    plan, result = asyncio.run(_started(Operator(access, heard)))

    assert (result.exit, result.elsewhere, result.rollout.phase) == (Exit.OK, False, Phase.COMPLETED)
    assert result.rollout.id == plan.rollout.id
    assert [host.revision for host in access.by_name.values()] == ["v2"] * 3
    assert access.record.holder("api", "test") is None
    assert [event for event in heard.events if event in ("preflight", "begin", "end")] == ["preflight", "end", "begin", "end"]


def test_start_is_refused_while_another_rollout_of_the_fleet_runs(access: FakeAccess, path: Path) -> None:
    other = FileRolloutStore(path)
    other.begin(a_rollout(LEFT, environment="test"))

    with pytest.raises(Locked, match=LEFT):
        asyncio.run(_started(Operator(access, Heard())))
    assert [host.triggers for host in access.by_name.values()] == [[], [], []]


def test_start_supersedes_a_rollout_that_was_left(access: FakeAccess, path: Path) -> None:
    other = FileRolloutStore(path)
    other.begin(a_rollout(LEFT, environment="test"))
    other.release()
    heard = Heard()

    asyncio.run(_started(Operator(access, heard)))

    assert "rollout.supersedes" in heard.events
    assert look.status(access.record, LEFT).rollout.phase is Phase.SUPERSEDED


def _left(path: Path, phase: Phase = Phase.INTERRUPTED) -> FileRolloutStore:
    """Leave a rollout of v2; returns the record of whoever left it, which holds the lock."""
    store = FileRolloutStore(path)
    rollout = a_rollout(LEFT, environment="test", revision="v2")
    rollout.applications[0].commits = {"api": "b" * 40}
    rollout.phase = phase
    for host in rollout.hosts.values():
        host.before = "000001-aaaaaaaaaaaa"
    store.begin(rollout)
    return store


def test_resume_goes_on_with_a_rollout_that_was_left(access: FakeAccess, path: Path) -> None:
    _left(path).release()

    result = asyncio.run(Operator(access, Heard()).resume(LEFT))

    assert (result.exit, result.rollout.phase) == (Exit.OK, Phase.COMPLETED)
    assert [host.triggers for host in access.by_name.values()] == [[LEFT]] * 3


def test_resume_of_a_paused_rollout_is_heard_by_whoever_runs_it(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.PAUSED)

    async def hear(_seconds: float) -> None:
        (order,) = running.waiting(LEFT)
        assert order.verb == "resume"
        rollout = running.read(LEFT)
        rollout.enter(Phase.RUNNING)
        running.save(rollout)

    result = asyncio.run(Operator(access, Heard(), sleep=hear).resume(LEFT))

    assert (result.elsewhere, result.exit) == (True, Exit.OK)
    assert [host.triggers for host in access.by_name.values()] == [[], [], []]


def test_resume_of_a_paused_rollout_whose_operator_does_not_hear_is_refused_while_it_holds_the_lock(
    access: FakeAccess, path: Path
) -> None:
    _running = _left(path, Phase.PAUSED)
    looks = []

    async def nothing(seconds: float) -> None:
        looks.append(seconds)

    with pytest.raises(Locked):
        asyncio.run(Operator(access, Heard(), sleep=nothing).resume(LEFT))
    assert looks == [1.0] * 5


def test_approval_given_while_nobody_ran_it_counts(access: FakeAccess, path: Path) -> None:
    _left(path, Phase.WAITING).release()
    access.record.order(LEFT, Order("approve", "bob"))

    result = asyncio.run(Operator(access, Heard()).resume(LEFT))

    assert result.rollout.approved


def test_rollout_that_has_ended_is_not_resumed_and_may_be_reverted(access: FakeAccess) -> None:
    _, started = asyncio.run(_started(Operator(access, Heard())))

    with pytest.raises(NoTarget, match="has ended: completed"):
        asyncio.run(Operator(access, Heard()).resume(started.rollout.id))
    assert access.record.holder("api", "test") is None, "the lock is free again"
    reverted = asyncio.run(Operator(access, Heard()).revert(started.rollout.id))
    assert (reverted.exit, reverted.rollout.phase) == (Exit.OK, Phase.REVERTED)
    assert [host.revision for host in access.by_name.values()] == ["v1"] * 3


def test_wrong_password_is_no_reason_to_give_a_rollout_up(access: FakeAccess, path: Path) -> None:
    _left(path).release()
    for host in access.by_name.values():
        host.error = HostError(Code.HOST_UNAUTHORISED, "it wants another user or password")

    with pytest.raises(Misconfigured, match="these hosts want another user or password: host-1, host-2, host-3"):
        asyncio.run(Operator(access, Heard()).resume(LEFT))

    found = look.standing(access.record, LEFT)
    assert (found.rollout.phase, found.running) == (Phase.INTERRUPTED, False)


def test_cancelled_run_is_a_result_and_is_left_as_it_is(access: FakeAccess, path: Path) -> None:
    _left(path).release()
    heard = Heard()
    access.by_name["host-1"].held = asyncio.Event()

    async def cancelled() -> Result:
        run = asyncio.create_task(Operator(access, heard).resume(LEFT))
        await heard.when("host.deploying").wait()
        run.cancel()
        return await run

    result = asyncio.run(cancelled())

    assert (result.exit, result.rollout.phase) == (Exit.CANCELLED, Phase.INTERRUPTED)
    assert access.record.holder("api", "test") is None


def test_abort_ends_a_rollout_that_nobody_runs(access: FakeAccess, path: Path) -> None:
    _left(path).release()

    found = orders.abort(access.record, LEFT)

    assert (found.running, found.rollout.phase) == (False, Phase.ABORTED)
    assert found.rollout.ended_at
    assert access.record.holder("api", "test") is None
    with pytest.raises(NoTarget, match="has ended: aborted"):
        orders.abort(access.record, LEFT)


def test_abort_ends_a_rollout_whose_operator_goes_away_in_between(access: FakeAccess, path: Path) -> None:
    class GoesAway(FileRolloutStore):
        asked = 0

        def running(self, _rollout: Rollout) -> bool:
            self.asked += 1
            return self.asked == 1

    _left(path, Phase.RUNNING).release()

    found = orders.abort(GoesAway(path), LEFT)

    assert (found.running, found.rollout.phase) == (False, Phase.ABORTED)
    assert look.status(access.record, LEFT).rollout.phase is Phase.ABORTED


def test_signal_while_the_lock_is_released_does_not_hide_how_it_ended(path: Path) -> None:
    class SlowToLetGo(FileRolloutStore):
        releasing, may_end = threading.Event(), threading.Event()

        def release(self) -> None:
            self.releasing.set()
            self.may_end.wait(60)
            super().release()

    _left(path).release()
    store = SlowToLetGo(path)

    async def cancelled_late() -> Result:
        run = asyncio.create_task(Operator(FakeAccess(store), Heard()).resume(LEFT))
        await asyncio.to_thread(store.releasing.wait, 60)
        run.cancel()
        store.may_end.set()
        return await run

    result = asyncio.run(cancelled_late())

    assert (result.exit, result.rollout.phase) == (Exit.OK, Phase.COMPLETED)


class _HeldUp(FileRolloutStore):
    """A record whose call ``slow`` waits at its start; the test lets it end."""

    def __init__(self, path: Path, slow: str) -> None:
        super().__init__(path)
        self._slow, self.inside, self.may_end = slow, threading.Event(), threading.Event()

    def _wait(self, call: str) -> None:
        if call == self._slow:
            self.inside.set()
            self.may_end.wait(60)

    def begin(self, rollout: Rollout) -> None:
        self._wait("begin")
        super().begin(rollout)

    def take(self, identity: str) -> Rollout:
        self._wait("take")
        return super().take(identity)

    def acknowledge(self, order: Order) -> None:
        self._wait("acknowledge")
        super().acknowledge(order)


async def _cancelled_inside(store: _HeldUp, work: Coroutine[Any, Any, Result]) -> Result:
    """Cancel an operation while its call of the record goes on."""
    run = asyncio.create_task(work)
    await asyncio.to_thread(store.inside.wait, 60)
    run.cancel("SIGINT")
    for _ in range(5):  # the cancellation arrives
        await asyncio.sleep(0)
    store.may_end.set()
    return await run


def test_rollout_that_is_stopped_while_its_plan_is_written_down_can_be_resumed_and_keeps_no_lock(path: Path) -> None:
    store, heard = _HeldUp(path, "begin"), Heard()
    access = FakeAccess(store)

    async def start() -> Result:
        return (await _started(Operator(access, heard)))[1]

    result = asyncio.run(_cancelled_inside(store, start()))

    assert (result.exit, result.rollout.phase, "begin" in heard.events) == (Exit.CANCELLED, Phase.INTERRUPTED, True)
    found = look.standing(FileRolloutStore(path), result.rollout.id)
    assert (found.rollout.phase, found.rollout.why, found.running) == (Phase.INTERRUPTED, "stopped by SIGINT", False)
    assert [host.triggers for host in access.by_name.values()] == [[], [], []]


def test_resume_that_is_stopped_while_it_takes_the_lock_lets_go_of_it(path: Path) -> None:
    _left(path).release()
    store = _HeldUp(path, "take")

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(_cancelled_inside(store, Operator(FakeAccess(store), Heard()).resume(LEFT)))

    found = look.standing(FileRolloutStore(path), LEFT)
    assert (found.rollout.phase, found.running) == (Phase.INTERRUPTED, False)


def test_resume_that_is_stopped_while_it_overrules_a_pause_lets_go_of_the_lock(path: Path) -> None:
    _left(path).release()
    store = _HeldUp(path, "acknowledge")
    store.order(LEFT, Order("pause", "bob"))

    result = asyncio.run(_cancelled_inside(store, Operator(FakeAccess(store), Heard()).resume(LEFT)))

    assert (result.exit, result.rollout.phase) == (Exit.CANCELLED, Phase.INTERRUPTED)
    assert not look.standing(FileRolloutStore(path), LEFT).running


def test_abort_is_an_order_to_whoever_runs_it(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)

    def obey(_seconds: float) -> None:
        (order,) = running.waiting(LEFT)
        assert order.verb == "abort"
        running.acknowledge(order)

    found = orders.abort(access.record, LEFT, obey)

    assert (found.running, found.obeyed) == (True, True)


def test_order_that_no_operator_obeys_is_not_said_to_be_obeyed_and_keeps_waiting(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)
    looks: list[float] = []

    found = orders.abort(access.record, LEFT, looks.append)

    assert (found.running, found.obeyed, looks) == (True, False, [1.0] * 5)
    assert [order.verb for order in running.waiting(LEFT)] == ["abort"]


def test_order_to_a_rollout_that_ends_meanwhile_says_so(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)

    def end(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.enter(Phase.COMPLETED)
        running.save(rollout)

    with pytest.raises(NoTarget, match="has ended: completed"):
        orders.order(access.record, LEFT, "pause", end)


def test_order_to_a_rollout_that_somebody_reverts_meanwhile_is_not_said_to_be_obeyed(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)

    def revert(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.reverting = ASKED
        rollout.enter(Phase.REVERTING, ASKED)
        running.save(rollout)
        (order,) = running.waiting(LEFT)
        running.acknowledge(order)

    with pytest.raises(NoTarget, match="is being reverted: reverting"):
        orders.abort(access.record, LEFT, revert)


def test_order_that_an_abort_overtakes_is_not_said_to_be_obeyed(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)

    def obey_all(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.aborted = "ordered by bob"
        running.save(rollout)
        for order in running.waiting(LEFT):
            running.acknowledge(order)

    with pytest.raises(NoTarget, match="is being aborted"):
        orders.order(access.record, LEFT, "pause", obey_all)
    with pytest.raises(NoTarget, match="is being aborted"):
        orders.order(access.record, LEFT, "approve", obey_all)
    assert orders.abort(access.record, LEFT, obey_all).obeyed


def test_order_to_a_rollout_that_stops_because_of_lost_hosts_is_not_said_to_be_obeyed(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)
    rollout = running.read(LEFT)
    rollout.stopping = "1 of 3 hosts failed, and --max-failed allows 0"
    running.save(rollout)

    def acknowledge(_seconds: float) -> None:
        for order in running.waiting(LEFT):
            running.acknowledge(order)

    for verb in ("pause", "approve"):
        with pytest.raises(NoTarget, match="is stopping: 1 of 3 hosts failed, and --max-failed allows 0"):
            orders.order(access.record, LEFT, verb, acknowledge)
    assert orders.abort(access.record, LEFT, acknowledge).obeyed


def test_resume_of_a_paused_rollout_that_stops_does_not_say_that_it_continues(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.PAUSED)

    async def stop(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.stopping = "1 of 3 hosts failed, and --max-failed allows 0"
        running.save(rollout)

    with pytest.raises(NoTarget, match="is stopping: 1 of 3 hosts failed"):
        asyncio.run(Operator(access, Heard(), sleep=stop).resume(LEFT))


def test_resume_of_a_paused_rollout_that_is_reverted_does_not_say_that_it_continues(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.PAUSED)

    async def revert(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.reverting = "1 of 3 hosts failed, and --max-failed allows 0"
        rollout.enter(Phase.REVERTING, rollout.reverting)
        running.save(rollout)

    with pytest.raises(NoTarget, match="is being reverted"):
        asyncio.run(Operator(access, Heard(), sleep=revert).resume(LEFT))


def test_resume_of_a_running_rollout_that_stops_says_so(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.RUNNING)
    rollout = running.read(LEFT)
    rollout.stopping = "1 of 3 hosts failed, and --max-failed allows 0"
    running.save(rollout)

    with pytest.raises(NoTarget, match="is stopping: 1 of 3 hosts failed"):
        asyncio.run(Operator(access, Heard()).resume(LEFT))


def test_resume_of_a_rollout_that_completes_at_once_has_resumed_it(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.PAUSED)

    async def complete(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.enter(Phase.COMPLETED)
        running.save(rollout)

    resumed = asyncio.run(Operator(access, Heard(), sleep=complete).resume(LEFT))

    assert (resumed.exit, resumed.elsewhere) == (Exit.OK, True)


def test_approval_that_counted_before_the_rollout_stopped_was_obeyed(access: FakeAccess, path: Path) -> None:
    running = _left(path, Phase.WAITING)

    def obey_and_stop(_seconds: float) -> None:
        rollout = running.read(LEFT)
        rollout.approved, rollout.stopping = True, "1 of 3 hosts failed, and --max-failed allows 0"
        running.save(rollout)
        for order in running.waiting(LEFT):
            running.acknowledge(order)

    assert orders.order(access.record, LEFT, "approve", obey_and_stop).obeyed


def test_abort_given_while_nobody_ran_it_outranks_what_was_ordered_before_and_after(access: FakeAccess, path: Path) -> None:
    _left(path).release()
    for verb in ("approve", "abort", "resume", "pause"):
        access.record.order(LEFT, Order(verb, "bob"))

    result = asyncio.run(Operator(access, Heard()).resume(LEFT))

    assert (result.exit, result.rollout.phase, result.rollout.why) == (Exit.FLEET_FAILED, Phase.ABORTED, "ordered by bob")
    assert [host.triggers for host in access.by_name.values()] == [[], [], []]
    assert access.record.waiting(LEFT) == []


def test_pause_given_while_nobody_ran_it_is_overruled_by_who_resumes(access: FakeAccess, path: Path) -> None:
    _left(path).release()
    access.record.order(LEFT, Order("pause", "bob"))

    result = asyncio.run(Operator(access, Heard()).resume(LEFT))

    assert (result.exit, result.rollout.phase) == (Exit.OK, Phase.COMPLETED)


def test_order_is_kept_for_whoever_resumes_and_is_refused_on_the_way_back(access: FakeAccess, path: Path) -> None:
    store = _left(path)
    rollout = store.read(LEFT)
    store.release()

    assert not orders.order(access.record, LEFT, "approve").running
    taken = access.record.take(LEFT)
    taken.reverting = "it failed"
    access.record.save(taken)
    access.record.release()
    with pytest.raises(NoTarget, match="is being reverted"):
        orders.order(access.record, rollout.id, "pause")


def test_listing_says_who_is_run(access: FakeAccess, path: Path) -> None:
    _running = _left(path, Phase.RUNNING)

    assert [(one.rollout.id, one.running) for one in look.listing(access.record)] == [(LEFT, True)]


class ReportedStore(FileRolloutStore):
    """A record that hosts report to, as Consul's."""

    def reported(self, _rollout: Rollout, hosts: Sequence[Host]) -> dict[str, dict[str, object]]:
        told = {
            "host-1": {"outcome": "deployed", "commits": {"api": "b" * 40}},
            "host-2": {"outcome": "rolled-back", "commits": {"api": "b" * 40}},
            "host-3": {"outcome": "unchanged", "commits": {"api": "a" * 40}},
        }
        return {host.name: dict(told[host.name]) for host in hosts}


@pytest.mark.parametrize(
    ("stage", "first"), [(HostStage.UNREACHABLE, "converged"), (HostStage.FAILED, "converged"), (HostStage.STUCK, "stuck")]
)
def test_host_that_was_lost_and_took_the_revision_since_has_converged(path: Path, stage: HostStage, first: str) -> None:
    store = _left(path)
    lost = list(store.read(LEFT).hosts.values())
    for host in lost:
        host.stage = stage
        host.code = Code.HOST_LATE
    store.save_hosts(lost)
    store.release()

    found = look.status(ReportedStore(path), LEFT)

    assert [str(host.stage) for host in found.rollout.hosts.values()] == [first, stage, stage]


def test_report_with_an_outcome_that_is_no_name_says_nothing(path: Path) -> None:
    class OddStore(FileRolloutStore):
        def reported(self, _rollout: Rollout, hosts: Sequence[Host]) -> dict[str, dict[str, object]]:
            return {host.name: {"outcome": ["deployed"]} for host in hosts}

    store = _left(path)
    lost = store.read(LEFT).hosts["host-1"]
    lost.stage = HostStage.UNREACHABLE
    store.save_hosts([lost])
    store.release()

    assert look.status(OddStore(path), LEFT).rollout.hosts["host-1"].stage is HostStage.UNREACHABLE


def _completed_in_staging(path: Path, commit: str) -> None:
    store = FileRolloutStore(path)
    rollout = a_rollout(LEFT, environment="staging", revision="v2")
    store.begin(rollout)
    store.follow("api", "staging", Completed(LEFT, "v2", {"api": commit * 40}))
    store.release()


def test_promotion_takes_the_revision_and_the_commits_that_completed_elsewhere(access: FakeAccess, path: Path) -> None:
    _completed_in_staging(path, "b")

    plan = asyncio.run(Operator(access, Heard()).plan(replace(REQUEST, revision="", promote_from="staging")))

    assert (plan.rollout.revision, plan.rollout.applications) == ("v2", [Application("api", {"api": "b" * 40})])
    assert plan.rollout.promoted_from == "staging"


def test_promotion_is_refused_where_the_hosts_have_other_commits(access: FakeAccess, path: Path) -> None:
    _completed_in_staging(path, "e")

    with pytest.raises(
        Refused, match=r"v2 is api eeeeeeeeeeee in staging, by rollout-.* and api bbbbbbbbbbbb on these hosts"
    ) as why:
        asyncio.run(Operator(access, Heard()).plan(replace(REQUEST, revision="", promote_from="staging")))
    assert why.value.code is Code.COMMITS_DIFFER


def test_promotion_from_where_nothing_completed_is_refused(access: FakeAccess) -> None:
    with pytest.raises(Refused, match="no rollout of the whole fleet of api in staging has completed"):
        asyncio.run(Operator(access, Heard()).plan(replace(DRY, revision="", promote_from="staging")))


def test_promotion_of_a_system_takes_one_revision_of_all_its_applications(access: FakeAccess, path: Path) -> None:
    store, system = FileRolloutStore(path), a_system(LEFT, "api", "web")
    system.environment = "staging"
    store.begin(system)
    store.follow("api", "staging", Completed(LEFT, "v2", COMMITS["v2"]))
    store.follow("web", "staging", Completed(LEFT, "v1", COMMITS["v1"]))
    access.by_name["host-3"].app = "web"
    hosts = [InventoryHost(name, "", service=host.app) for name, host in access.by_name.items()]
    wanted = replace(REQUEST, hosts=hosts, revision="", promote_from="staging")

    with pytest.raises(Refused, match="different revisions completed in staging: v2 of api, v1 of web"):
        asyncio.run(Operator(access, Heard()).plan(wanted))
    store.follow("web", "staging", Completed(LEFT, "v2", COMMITS["v2"]))
    plan = asyncio.run(Operator(access, Heard()).plan(wanted))

    assert (plan.rollout.revision, plan.rollout.apps) == ("v2", "api, web")
