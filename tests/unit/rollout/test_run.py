"""A rollout run to its end over hosts without a network, with a real record in a file."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.errors import Code, Exit, LockLost, RecordUnreachable
from release_agent.model import Completed
from release_agent.rollout.host.model import HostError
from release_agent.rollout.model import Application, Host, HostStage, Order, Phase, Rollout
from release_agent.rollout.options import Options, amount
from release_agent.rollout.record.file import FileRolloutStore
from release_agent.rollout.run import RolloutRun
from release_agent.rollout.writer import Writer
from support.fake_hosts import COMMITS, NEW, OLD, FakeAccess, Heard
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence
    from pathlib import Path

ID = "rollout-20261124T100000Z-aaaaaa"


class Scene:
    """A rollout of v2 over three hosts, the first of them a wave of its own."""

    def __init__(self, store: FileRolloutStore, **options: Any) -> None:
        self.store = store
        self.patience = 0.0  # seconds for a record that is away
        self.orders = FileRolloutStore(store.path)  # of another operator
        self.access = FakeAccess(store)
        self.heard = Heard()
        hosts = {
            name: Host(name, "", app="api", order=number, wave=min(number, 1), before=OLD, before_revision="v1")
            for number, name in enumerate(self.access.by_name)
        }
        chosen = Options(**{"bake": 1.0, **options})
        of = [Application("api", COMMITS["v2"])]
        self.rollout = Rollout(ID, of, "test", "v2", chosen, hosts, "ada", "2026-11-24T10:00:00.000000Z")
        store.begin(self.rollout)

    async def run(self, go: Callable[[RolloutRun], Awaitable[Exit]] = RolloutRun.go) -> Exit:
        """Run it with whoever is there."""
        writer = Writer(self.store, self.patience, lambda _why: None)
        return await go(RolloutRun(self.rollout, writer, self.access.host_access(self.rollout), self.heard))

    def run_to_its_end(self, go: Callable[[RolloutRun], Awaitable[Exit]] = RolloutRun.go) -> Exit:
        """Run it to its end."""
        return asyncio.run(self.run(go))

    @property
    def stages(self) -> list[str]:
        """How far each host is, as the record has it."""
        return [str(host.stage) for host in self.store.read(ID).hosts.values()]

    @property
    def phase(self) -> Phase:
        """How far it is, as the record has it."""
        return self.store.read(ID).phase

    @property
    def begun(self) -> list[str]:
        """The hosts that were begun, in order."""
        return [event.split()[1] for event in self.heard.events if event.startswith("host.started")]


@pytest.fixture
def store(tmp_path: Path) -> FileRolloutStore:
    """A record in a file."""
    return FileRolloutStore(tmp_path / "rollouts.db")


def test_healthy_fleet_takes_it_wave_after_wave(store: FileRolloutStore) -> None:
    scene = Scene(store)

    assert scene.run_to_its_end() is Exit.OK
    assert scene.begun == ["host-1", "host-2", "host-3"]
    waves = [event for event in scene.heard.events if not event.startswith("host.")]
    watched = ["wave.started", "bake.started"]
    assert waves == [*watched, *watched, "verification.started", "rollout.completed"]
    assert (scene.phase, scene.stages) == (Phase.COMPLETED, ["done"] * 3)
    followed = store.completed("api", "test")
    assert followed
    assert (followed.id, followed.revision) == (ID, "v2")
    assert store.read(ID).ended_at is not None


@pytest.mark.parametrize(("whole", "follow", "followed"), [(False, False, False), (False, True, True), (True, False, True)])
def test_fleet_follows_a_rollout_of_the_whole_inventory_or_one_that_is_told_to_count(
    store: FileRolloutStore, whole: bool, follow: bool, followed: bool
) -> None:
    scene = Scene(store, follow=follow)
    scene.rollout.whole = whole

    assert scene.run_to_its_end() is Exit.OK
    assert (store.completed("api", "test") is not None) is followed


def test_host_that_rolls_back_stops_it_and_no_other_is_begun(store: FileRolloutStore) -> None:
    scene = Scene(store, parallel=1)
    scene.access.by_name["host-2"].fails = True

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.FAILED, ["done", "failed", "pending"])
    assert store.read(ID).hosts["host-2"].code == "unhealthy"
    assert store.completed("api", "test") is None


def test_stopped_rollout_is_put_back_where_that_was_asked_for(store: FileRolloutStore) -> None:
    scene = Scene(store, revert=True)
    scene.access.by_name["host-3"].fails = True

    assert scene.run_to_its_end() is Exit.FLEET_REVERTED
    assert (scene.phase, scene.stages) == (Phase.REVERTED, ["reverted", "reverted", "failed"])
    assert [host.revision for host in scene.access.by_name.values()] == ["v1"] * 3
    assert scene.access.by_name["host-1"].triggers == [ID, f"{ID}-revert"]


def test_host_that_cannot_be_put_back_is_named(store: FileRolloutStore) -> None:
    scene = Scene(store, revert=True)
    scene.access.by_name["host-3"].fails = scene.access.by_name["host-1"].stays = True

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.FAILED, ["stuck", "reverted", "failed"])
    assert "not all hosts could be rolled back" in store.read(ID).why


class _AwayOnce(FileRolloutStore):
    """A record that does not answer once, when a bake begins."""

    was_away = False

    def save(self, rollout: Rollout) -> None:
        if rollout.step == "bake" and not self.was_away:
            self.was_away = True
            raise RecordUnreachable(Code.RECORD_UNREACHABLE, "no leader", hint="wait")
        super().save(rollout)


def test_record_that_is_away_when_a_bake_begins_is_no_lack_of_progress(tmp_path: Path) -> None:
    scene = Scene(_AwayOnce(tmp_path / "rollouts.db"), progress_deadline=1.5)  # less than until the next try
    scene.patience = 60.0

    assert scene.run_to_its_end() is Exit.OK


class _AwayInAWave(FileRolloutStore):
    """A record that does not answer until a host's turn was tried to be written down three times."""

    tries = 0

    def _look(self) -> None:
        if 0 < self.tries < 3:
            raise RecordUnreachable(Code.RECORD_UNREACHABLE, "no leader", hint="wait")

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        self.tries += any(host.name == "host-2" for host in hosts)
        self._look()
        super().save_hosts(hosts)

    def save(self, rollout: Rollout) -> None:
        self._look()
        super().save(rollout)

    def renew(self) -> None:
        self._look()
        super().renew()

    def waiting(self, identity: str) -> list[Order]:
        self._look()
        return super().waiting(identity)


def test_record_that_is_away_in_the_middle_of_a_wave_is_no_lack_of_progress(tmp_path: Path) -> None:
    scene = Scene(_AwayInAWave(tmp_path / "rollouts.db"), progress_deadline=2.5)  # less than two tries take
    scene.patience = 60.0

    assert scene.run_to_its_end() is Exit.OK
    assert scene.stages == ["done"] * 3


def test_host_found_sick_by_the_bake_stops_it_before_the_next_wave(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.access.by_name["host-1"].sick_later = True

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert scene.begun == ["host-1"]
    assert scene.stages == ["failed", "pending", "pending"]


def test_all_hosts_found_sick_by_the_bake_are_in_the_record(store: FileRolloutStore) -> None:
    scene = Scene(store)
    for host, live in zip(scene.rollout.hosts.values(), scene.access.by_name.values(), strict=True):
        host.wave, live.sick_later = 0, True

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert scene.stages == ["failed"] * 3
    assert scene.phase is Phase.FAILED


def test_host_of_the_last_wave_found_sick_by_the_bake_stops_it(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.access.by_name["host-3"].sick_later = True

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert scene.stages == ["done", "done", "failed"]
    assert store.completed("api", "test") is None


@pytest.mark.parametrize(("seconds", "code", "stage"), [(599, Exit.OK, "done"), (601, Exit.FLEET_FAILED, "unreachable")])
def test_host_whose_journal_is_locked_is_asked_for_its_deadline_at_the_end(
    store: FileRolloutStore, seconds: float, code: Exit, stage: str
) -> None:
    scene = Scene(store, deadline=600)
    scene.access.by_name["host-2"].locked = seconds

    assert scene.run_to_its_end() is code
    assert scene.stages == ["done", stage, "done"]


@pytest.mark.parametrize(
    ("deadline", "seconds", "stage"), [(600, 29, "done"), (600, 31, "unreachable"), (10, 9, "done"), (10, 11, "unreachable")]
)
def test_host_that_refuses_connections_is_asked_for_a_first_contact_at_the_end(
    store: FileRolloutStore, deadline: float, seconds: float, stage: str
) -> None:
    scene = Scene(store, deadline=deadline)
    scene.access.by_name["host-2"].away = seconds

    scene.run_to_its_end()

    assert scene.stages == ["done", stage, "done"]


def test_whole_wave_lost_stops_it_whatever_the_budget(store: FileRolloutStore) -> None:
    scene = Scene(store, max_unreachable=amount("100%"))
    scene.access.by_name["host-1"].error = HostError(Code.HOST_UNREACHABLE, "Connection refused", unreachable=True)

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.begun, scene.stages) == (["host-1"], ["unreachable", "pending", "pending"])


@pytest.mark.parametrize(("allowed", "code"), [("0", Exit.FLEET_FAILED), ("1", Exit.FLEET_PARTIAL)])
@pytest.mark.parametrize("stage", [True, False])
def test_budgets_count_at_the_last_look_although_no_host_had_to_stage(
    store: FileRolloutStore, stage: bool, allowed: str, code: Exit
) -> None:
    scene = Scene(store, stage=stage, max_failed=amount(allowed))
    for host, live in zip(scene.rollout.hosts.values(), scene.access.by_name.values(), strict=True):
        host.stage, host.wave, live.release, live.revision = HostStage.SKIPPED, -1, NEW, "v2"
    store.save_hosts(list(scene.rollout.hosts.values()))
    scene.access.by_name["host-2"].health = "critical"

    assert scene.run_to_its_end() is code
    assert scene.stages == ["skipped", "failed", "skipped"]
    assert (store.completed("api", "test") is None) is (code is Exit.FLEET_FAILED)


def test_nobody_to_ask_for_approval_leaves_it_waiting_and_an_approval_lets_it_go_on(store: FileRolloutStore) -> None:
    scene = Scene(store, approve=True)

    assert scene.run_to_its_end() is Exit.AWAITS_APPROVAL
    assert (scene.phase, scene.begun) == (Phase.WAITING, ["host-1"])
    scene.rollout.approved = True
    assert scene.run_to_its_end() is Exit.OK
    assert scene.stages == ["done"] * 3


class AsksLong(Heard):
    """An observer whose person answers from elsewhere."""

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Wait for the approval."""
        self.tell("asked")
        await approved.wait()
        return True


def test_rollout_that_is_resumed_while_it_waits_for_approval_waits_for_it_still(store: FileRolloutStore) -> None:
    scene = Scene(store, approve=True)
    scene.heard = AsksLong()

    async def pause_and_resume() -> tuple[Phase, Exit]:
        run = asyncio.create_task(scene.run())
        await scene.heard.when("asked").wait()
        scene.orders.order(ID, Order("pause", "bob"))
        await scene.heard.when("rollout.paused").wait()
        scene.heard.when("rollout.waiting").clear()
        scene.orders.order(ID, Order("resume", "bob"))
        await scene.heard.when("rollout.waiting").wait()
        phase = scene.rollout.phase
        scene.orders.order(ID, Order("approve", "bob"))
        return phase, await run

    assert asyncio.run(asyncio.wait_for(pause_and_resume(), 60)) == (Phase.WAITING, Exit.OK)
    assert scene.phase is Phase.COMPLETED


@pytest.mark.parametrize(("answer", "code", "phase"), [(True, Exit.OK, "completed"), (False, Exit.FLEET_FAILED, "aborted")])
def test_person_at_hand_is_asked(store: FileRolloutStore, answer: bool, code: Exit, phase: str) -> None:
    scene = Scene(store, approve=True)
    scene.heard.answer = answer

    assert scene.run_to_its_end() is code
    assert scene.phase == phase


async def _order_once_begun(scene: Scene, verb: str, heard: str) -> None:
    """Order something once the first host has begun, which ends when the operator has ``heard`` of it."""
    scene.access.by_name["host-1"].held = scene.heard.when(heard)
    await scene.heard.when("host.started").wait()
    scene.orders.order(ID, Order(verb, "bob"))


def test_abort_lets_what_is_in_flight_end_and_begins_no_other(store: FileRolloutStore) -> None:
    scene = Scene(store, revert=True)

    async def abort() -> Exit:
        code, _ = await asyncio.gather(scene.run(), _order_once_begun(scene, "abort", "order.heard"))
        return code

    assert asyncio.run(abort()) is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.ABORTED, ["done", "pending", "pending"])
    assert store.read(ID).why == "ordered by bob"


def test_abort_is_obeyed_although_other_orders_follow_it_at_once(store: FileRolloutStore) -> None:
    scene = Scene(store)

    async def abort() -> Exit:
        scene.access.by_name["host-1"].held = scene.heard.when("order.heard")
        run = asyncio.create_task(scene.run())
        await scene.heard.when("host.started").wait()
        for verb in ("pause", "abort", "resume"):
            scene.orders.order(ID, Order(verb, "bob"))
        return await run

    assert asyncio.run(abort()) is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.ABORTED, ["done", "pending", "pending"])


def test_abort_in_the_last_look_waits_for_no_host(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.access.by_name["host-2"].slow = 3600

    async def abort() -> Exit:
        run = asyncio.create_task(scene.run())
        await scene.heard.when("verification.started").wait()
        scene.orders.order(ID, Order("abort", "bob"))
        return await run

    assert asyncio.run(asyncio.wait_for(abort(), 60)) is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.ABORTED, ["done"] * 3)
    assert store.completed("api", "test") is None


def test_abort_whose_operator_is_killed_once_it_has_obeyed_is_not_resumed(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.access.by_name["host-1"].triggers = [ID]
    scene.rollout.hosts["host-1"].stage = HostStage.DEPLOYING
    scene.rollout.aborted = "ordered by bob"

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.ABORTED, ["done", "pending", "pending"])


def _left_by_a_killed_operator(scene: Scene, *starting: str) -> None:
    """Record that the operator was about to ask hosts when it was killed."""
    for name in starting:
        scene.rollout.hosts[name].stage = HostStage.STARTING
    scene.store.save_hosts(list(scene.rollout.hosts.values()))


def test_abort_that_waits_for_who_resumes_starts_no_host_that_was_never_asked(store: FileRolloutStore) -> None:
    scene = Scene(store)
    _left_by_a_killed_operator(scene, "host-1", "host-2")
    scene.access.by_name["host-1"].triggers = [ID]
    scene.orders.order(ID, Order("abort", "bob"))

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.ABORTED, ["done", "pending", "pending"])
    assert [host.triggers for host in scene.access.by_name.values()] == [[ID], [], []]


def test_resumed_rollout_whose_budget_is_spent_starts_no_host_that_was_never_asked(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.rollout.hosts["host-1"].stage = HostStage.FAILED
    _left_by_a_killed_operator(scene, "host-2")

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.phase, scene.stages) == (Phase.FAILED, ["failed", "pending", "pending"])
    assert scene.access.by_name["host-2"].triggers == []


class Onlooker(Heard):
    """An observer that reads the record at each event, as a person elsewhere does."""

    def __init__(self, store: FileRolloutStore) -> None:
        super().__init__()
        self._store = FileRolloutStore(store.path)
        self.read: dict[str, Rollout] = {}

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Keep it with the record."""
        self.read[event] = self._store.read(ID)
        super().tell(event, host, **details)


def test_each_step_is_in_the_record_for_those_who_watch(store: FileRolloutStore) -> None:
    scene = Scene(store, stage=True, gate="true")
    scene.heard = seen = Onlooker(store)

    assert scene.run_to_its_end() is Exit.OK
    began = ("staging.started", "wave.started", "bake.started", "gate.started", "verification.started")
    assert [seen.read[event].step for event in began] == ["staging", "", "bake", "gate", "verification"]
    assert store.read(ID).step == ""


def test_resumed_rollout_runs_for_those_who_watch_while_its_operator_follows_hosts_in_flight(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.heard = seen = Onlooker(store)
    scene.rollout.enter(Phase.INTERRUPTED, "stopped by SIGTERM")
    scene.rollout.step, scene.rollout.stopping = "bake", "of an older agent"
    _left_by_a_killed_operator(scene, "host-1")

    assert scene.run_to_its_end() is Exit.OK
    plan = seen.read["host.deploying"]
    assert (seen.events[0], plan.phase, plan.why, plan.step, plan.stopping) == ("rollout.running", Phase.RUNNING, "", "", "")


def test_too_long_without_a_healthy_host_is_told_and_written_down_while_hosts_are_in_flight(store: FileRolloutStore) -> None:
    scene = Scene(store, progress_deadline=3.0)  # longer than until the host deploys
    held = scene.access.by_name["host-1"].held = asyncio.Event()

    async def watch() -> tuple[str, Exit]:
        run = asyncio.create_task(scene.run())
        await scene.heard.when("rollout.stopping").wait()
        stopping = await asyncio.to_thread(eventually, lambda: scene.orders.read(ID).stopping, "it is written down")
        held.set()
        return stopping, await run

    assert asyncio.run(asyncio.wait_for(watch(), 60)) == ("no host became healthy within 3 s", Exit.FLEET_FAILED)
    assert scene.stages == ["done", "pending", "pending"]
    assert (store.read(ID).why, store.read(ID).stopping) == ("no host became healthy within 3 s", "")


def test_stop_of_any_cause_is_told_once_with_its_reason(store: FileRolloutStore) -> None:
    scene = Scene(store, gate="echo errors went up; exit 1")

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert scene.heard.events.count("rollout.stopping") == 1


def test_revert_of_an_aborted_rollout_is_no_stop(store: FileRolloutStore) -> None:
    scene = Scene(store, progress_deadline=0.0)
    scene.rollout.aborted = "ordered by bob"

    assert scene.run_to_its_end(RolloutRun.revert) is Exit.OK
    assert "rollout.stopping" not in scene.heard.events


def test_paused_rollout_begins_no_other_host_and_may_be_left_and_gone_on_with(store: FileRolloutStore) -> None:
    scene = Scene(store, bake=0.0)

    async def leave_once_paused() -> None:
        run = asyncio.create_task(scene.run())
        await _order_once_begun(scene, "pause", "rollout.paused")
        await scene.heard.when("host.finished").wait()
        run.cancel()
        await run

    with pytest.raises(asyncio.CancelledError):
        asyncio.run(leave_once_paused())
    assert (scene.phase, scene.stages) == (Phase.INTERRUPTED, ["done", "pending", "pending"])
    assert store.read(ID).ended_at is None
    for order in store.waiting(ID):  # it was left before it acknowledged the pause; who resumes drops that
        store.acknowledge(order)
    scene.heard = Heard()
    assert scene.run_to_its_end() is Exit.OK
    assert scene.begun == ["host-2", "host-3"]


def test_pause_heard_in_the_last_bake_holds_before_the_last_look(store: FileRolloutStore) -> None:
    scene = Scene(store)
    for host in scene.rollout.hosts.values():
        host.wave = 0

    async def pause_and_resume() -> Exit:
        scene.access.watched.clear()
        run = asyncio.create_task(scene.run())
        await scene.heard.when("bake.started").wait()
        scene.orders.order(ID, Order("pause", "bob"))
        await scene.heard.when("rollout.paused").wait()
        scene.access.watched.set()
        scene.orders.order(ID, Order("resume", "bob"))
        return await run

    assert asyncio.run(pause_and_resume()) is Exit.OK
    after = scene.heard.events[scene.heard.events.index("rollout.paused") :]
    assert after == ["rollout.paused", "order.heard", "rollout.running", "verification.started", "rollout.completed"]


def test_resumed_rollout_asks_hosts_in_flight_what_became_of_them_and_deploys_to_none_twice(store: FileRolloutStore) -> None:
    scene = Scene(store)
    scene.access.by_name["host-1"].triggers = [ID]  # it had heard; the operator was killed before it wrote that down
    scene.rollout.hosts["host-1"].stage = HostStage.STARTING

    assert scene.run_to_its_end() is Exit.OK
    assert [host.triggers for host in scene.access.by_name.values()] == [[ID]] * 3


def test_revert_of_a_completed_rollout_takes_back_what_the_fleet_follows(store: FileRolloutStore) -> None:
    scene = Scene(store)
    assert scene.run_to_its_end() is Exit.OK

    assert scene.run_to_its_end(RolloutRun.revert) is Exit.OK

    assert (scene.phase, scene.stages) == (Phase.REVERTED, ["reverted"] * 3)
    assert store.completed("api", "test") is None


def test_revert_leaves_alone_a_host_that_somebody_moved_on(store: FileRolloutStore) -> None:
    scene = Scene(store)
    assert scene.run_to_its_end() is Exit.OK
    scene.access.by_name["host-2"].release, scene.access.by_name["host-2"].revision = "000003-cccccccccccc", "v3"

    assert scene.run_to_its_end(RolloutRun.revert) is Exit.FLEET_FAILED

    assert scene.access.by_name["host-2"].revision == "v3"
    assert store.read(ID).hosts["host-2"].code == "host-moved-on"


class LosingStore(FileRolloutStore):
    """A record whose lock is lost once a host is done."""

    def save_hosts(self, hosts: Sequence[Host]) -> None:
        if any(host.release == NEW for host in hosts):
            self.renew()
        super().save_hosts(hosts)

    def renew(self) -> None:
        raise LockLost(Code.LOCK_LOST, "the lock was lost")


def test_lost_lock_ends_the_run_and_no_other_host_is_begun(tmp_path: Path) -> None:
    scene = Scene(LosingStore(tmp_path / "rollouts.db"))

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.begun, scene.phase) == (["host-1"], Phase.INTERRUPTED)
    assert store_why(scene) == "the lock was lost"


def store_why(scene: Scene) -> str:
    """Why it was left, as the record has it."""
    return scene.store.read(ID).why


class LosingBetweenStore(FileRolloutStore):
    """A record whose lock is lost after it has written what one fleet follows."""

    losses = 2  # also when it is tried again

    def follow(self, app: str, environment: str, completed: Completed | None) -> None:
        if app == "web" and self.losses:
            self.losses -= 1
            raise LockLost(Code.LOCK_LOST, "the lock was lost")
        super().follow(app, environment, completed)


def test_operator_who_is_gone_between_what_two_fleets_follow_is_gone_on_with(tmp_path: Path) -> None:
    store = LosingBetweenStore(tmp_path / "rollouts.db")
    scene = Scene(store)
    scene.rollout.applications.append(Application("web", COMMITS["v2"]))
    before = Completed("rollout-0", "v1", COMMITS["v1"])
    store.follow("api", "test", before)

    assert scene.run_to_its_end() is Exit.FLEET_FAILED
    assert (scene.phase, store.completed("web", "test")) == (Phase.INTERRUPTED, None)
    assert scene.run_to_its_end() is Exit.OK

    assert [found and found.id for found in (store.completed(app, "test") for app in ("api", "web"))] == [ID, ID]
    assert [application.replaced for application in store.read(ID).applications] == [before, None]
    assert scene.run_to_its_end(RolloutRun.revert) is Exit.OK
    assert [store.completed(app, "test") for app in ("api", "web")] == [before, None]
