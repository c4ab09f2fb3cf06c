"""A record of rollouts keeps the same promises in a file on this machine and in Consul."""

from __future__ import annotations

import subprocess
import sys
import uuid
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.errors import Code, Exit, Locked, LockLost, NoTarget, RecordUnreachable, Refused
from release_agent.model import Completed, Freeze
from release_agent.rollout.model import Holder, Host, HostStage, Order, Phase
from release_agent.rollout.options import Options
from release_agent.rollout.record.consul import ConsulRolloutStore
from release_agent.rollout.record.file import FileRolloutStore
from support.consul_process import ConsulProcess
from support.environment import clean_environment
from support.rollouts import a_rollout, a_system
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.rollout.record.port import RolloutStore

pytestmark = pytest.mark.xdist_group("record")  # one Consul, in one worker

FIRST, SECOND, THIRD = (f"rollout-20261122T10000{n}Z-aaaaaa" for n in (1, 2, 3))
TIMEOUT = 10.0  # seconds; ten thousand hosts are read in one call
COMPLETED = Completed(FIRST, "v1.4.0", {"api": "c" * 40})
_SOMEBODY_ELSE = """
import sys
from pathlib import Path
from release_agent.consul.client import ConsulClient
from release_agent.rollout.record.consul import ConsulRolloutStore
from release_agent.rollout.record.file import FileRolloutStore
from support.rollouts import a_rollout
record = {record}
record.begin(a_rollout({identity!r}, who="eve@laptop"))
print("begun", flush=True)
sys.stdin.read()
"""


class Place(Protocol):
    """Where records are: each one opened there is another person's."""

    code: str  # what opens it, for another process

    def open(self) -> RolloutStore:
        """Open it once more."""

    def ruin(self, identity: str) -> None:
        """Spoil what is written of a rollout."""

    def ruin_order(self, identity: str, order: Order) -> None:
        """Spoil what is written of an order to a rollout."""


class _File:
    def __init__(self, folder: Path) -> None:
        self.path = folder / "rollouts.db"
        self.code = f"FileRolloutStore(Path({str(self.path)!r}))"

    def open(self) -> RolloutStore:
        return FileRolloutStore(self.path)

    def ruin(self, identity: str) -> None:
        record = FileRolloutStore(self.path)
        record._db.execute("UPDATE rollout SET plan = '{' WHERE id = ?", (identity,))  # noqa: SLF001 - as sqlite3(1) would

    def ruin_order(self, _identity: str, order: Order) -> None:
        record = FileRolloutStore(self.path)
        record._db.execute("UPDATE waiting SET body = '[]' WHERE id = ?", (order.id,))  # noqa: SLF001 - likewise


class _InConsul:
    def __init__(self, consul: ConsulProcess) -> None:
        self.consul = consul
        self.environ = {"CONSUL_HTTP_ADDR": consul.address}
        self.prefix = f"test/{uuid.uuid4()}"
        self.code = f"ConsulRolloutStore(ConsulClient({self.environ!r}), {self.prefix!r})"

    def open(self) -> RolloutStore:
        return ConsulRolloutStore(ConsulClient(self.environ, TIMEOUT), self.prefix)

    def ruin(self, identity: str) -> None:
        self.consul.put(f"/v1/kv/{self.prefix}/_rollouts/{identity}/plan", ["no plan"])

    def ruin_order(self, identity: str, order: Order) -> None:
        self.consul.put(f"/v1/kv/{self.prefix}/_rollouts/{identity}/orders/{order.id}", ["no order"])


@pytest.fixture(params=["file", "consul"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> Place:
    """Somewhere that has no rollouts yet."""
    return _File(tmp_path) if request.param == "file" else _InConsul(request.getfixturevalue("consul_of_module"))


@pytest.fixture(scope="module")
def consul_of_module() -> Iterator[ConsulProcess]:
    """One real Consul for all tests here; each has a prefix of its own."""
    made = ConsulProcess()
    yield made
    made.close()


@pytest.fixture
def mine(place: Place) -> Iterator[RolloutStore]:
    """The record, as it is used here."""
    record = place.open()
    yield record
    record.release()


@pytest.fixture
def theirs(place: Place) -> Iterator[RolloutStore]:
    """The same record, as somebody else uses it."""
    record = place.open()
    yield record
    record.release()


# What is written down


def test_rollout_is_read_back_as_it_was_planned_hosts_in_order(mine: RolloutStore, theirs: RolloutStore) -> None:
    planned = a_rollout(FIRST, hosts=12)

    mine.begin(planned)

    assert theirs.read(FIRST) == planned
    assert list(theirs.read(FIRST).hosts) == [f"host-{n}" for n in range(1, 13)]


def test_what_became_of_hosts_and_rollout_is_seen_by_others(mine: RolloutStore, theirs: RolloutStore) -> None:
    rollout = a_rollout(FIRST)
    mine.begin(rollout)
    first, second, _ = rollout.hosts.values()

    first.stage, first.before, first.release = HostStage.DONE, "000001-aaaaaaaaaaaa", "000002-bbbbbbbbbbbb"
    second.stage, second.code, second.why = HostStage.FAILED, "unhealthy", 'http: answered 500, not 200: "ünwell"'
    mine.save_hosts([first, second])
    rollout.phase, rollout.wave, rollout.why = Phase.FAILED, 1, "host-2 failed"
    mine.save(rollout)

    assert theirs.read(FIRST) == rollout


def test_hosts_with_odd_names_do_not_clash(mine: RolloutStore) -> None:
    names = ["a", "a/b", "a%2Fb", "a-b", "a_b", "a b", "..", "ä", "a/", "a?b#c"]
    rollout = a_rollout(FIRST, hosts=0)
    rollout.hosts = {name: Host(name, "http://x:1", order=n) for n, name in enumerate(names)}

    mine.begin(rollout)

    assert list(mine.read(FIRST).hosts) == names


def test_ten_thousand_hosts_are_written_and_read(mine: RolloutStore, theirs: RolloutStore) -> None:
    rollout = a_rollout(FIRST, hosts=10_000)
    mine.begin(rollout)
    for host in rollout.hosts.values():
        host.stage, host.why = HostStage.FAILED, "it said why, at some length. " * 10
    mine.save_hosts(list(rollout.hosts.values()))

    assert theirs.read(FIRST) == rollout


def test_unknown_rollout_is_no_target_and_says_where_to_look(mine: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    for identity in (SECOND, "", "..", "/", f"{FIRST}/plan", f"../_rollouts/{FIRST}"):
        for ask in (mine.read, mine.take, lambda identity: mine.order(identity, Order("abort", "ada"))):
            with pytest.raises(NoTarget, match="there is no rollout") as refused:
                ask(identity)
            assert refused.value.code == Code.ROLLOUT_UNKNOWN


def test_all_are_listed_newest_first_without_their_hosts(mine: RolloutStore, theirs: RolloutStore) -> None:
    assert mine.all() == []
    mine.begin(a_rollout(SECOND))
    mine.release()
    mine.begin(a_rollout(THIRD, app="web"))
    mine.release()
    mine.begin(a_rollout(FIRST, environment="staging"))

    listed = theirs.all()

    assert [rollout.id for rollout in listed] == [THIRD, SECOND, FIRST]
    assert [(rollout.apps, rollout.environment) for rollout in listed] == [
        ("web", "production"),
        ("api", "production"),
        ("api", "staging"),
    ]
    assert all(rollout.hosts == {} for rollout in listed)


def test_newest_id_of_some_fleets_is_the_last_in_their_order_not_the_one_of_the_last_rollout(mine: RolloutStore) -> None:
    fleets = [("api", "production"), ("web", "production")]
    assert mine.newest(fleets) == ""
    for planned in (a_rollout(THIRD, app="web"), a_rollout(SECOND), a_rollout(FIRST)):
        mine.begin(planned)
        mine.release()

    assert mine.newest(fleets) == THIRD
    assert mine.newest(fleets[:1]) >= SECOND


def test_record_that_was_spoilt_is_said_in_words(mine: RolloutStore, place: Place) -> None:
    mine.begin(a_rollout(FIRST))
    place.ruin(FIRST)

    with pytest.raises(RecordUnreachable) as refused:
        mine.read(FIRST)
    assert refused.value.code == Code.RECORD_UNREACHABLE


@pytest.mark.parametrize("app", ["api", "web"])
def test_plan_that_cannot_be_read_is_listed_and_stops_no_other_rollout(mine: RolloutStore, place: Place, app: str) -> None:
    mine.begin(a_rollout(FIRST, app=app))
    mine.release()
    place.ruin(FIRST)

    mine.begin(a_rollout(SECOND))

    begun, unreadable = mine.all()
    assert (begun.id, begun.phase) == (SECOND, Phase.RUNNING)
    assert (unreadable.id, unreadable.phase) == (FIRST, Phase.UNKNOWN)
    assert "cannot" in unreadable.why
    assert "read" in unreadable.why


# The lock


def test_second_rollout_of_a_fleet_is_refused_and_told_who_has_the_lock(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST, revision="v1.4.0", who="ada@desk"))

    with pytest.raises(Locked) as refused:
        theirs.begin(a_rollout(SECOND))

    assert (refused.value.code, refused.value.exit_code) == (Code.LOCKED, Exit.LOCKED)
    for word in (FIRST, "v1.4.0", "ada@desk", "2026-11-22T10:00:00", "api", "production"):
        assert word in refused.value.message
    assert f"release-agent rollout status {FIRST}" in refused.value.hint
    with pytest.raises(NoTarget):
        theirs.read(SECOND)


@pytest.mark.parametrize("other", [{"app": "web"}, {"environment": "staging"}, {"app": "ap"}, {"environment": "productio"}])
def test_other_fleets_are_not_locked(mine: RolloutStore, theirs: RolloutStore, other: dict[str, str]) -> None:
    mine.begin(a_rollout(FIRST))
    theirs.begin(a_rollout(SECOND, **other))  # type: ignore[arg-type]

    assert mine.running(mine.read(FIRST))
    assert mine.running(mine.read(SECOND))


def test_lock_that_is_let_go_of_is_free_at_once(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    assert theirs.running(theirs.read(FIRST))

    mine.release()

    assert not theirs.running(theirs.read(FIRST))
    theirs.begin(a_rollout(SECOND))
    assert theirs.running(theirs.read(SECOND))
    assert not theirs.running(theirs.read(FIRST))


def test_holder_of_a_fleets_lock_is_known_to_others_while_it_is_held(mine: RolloutStore, theirs: RolloutStore) -> None:
    assert theirs.holder("api", "production") is None
    mine.begin(a_rollout(FIRST))

    assert theirs.holder("api", "production") == Holder(FIRST, "ada@desk", "v1.4.0", "2026-11-22T10:00:00.000000Z")
    assert theirs.holder("api", "staging") is None
    mine.release()
    assert theirs.holder("api", "production") is None


def test_letting_go_twice_takes_the_lock_from_nobody(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    mine.release()
    theirs.begin(a_rollout(SECOND))

    mine.release()

    assert theirs.running(theirs.read(SECOND))
    theirs.save(a_rollout(SECOND))


def test_nothing_is_written_without_the_lock(mine: RolloutStore, theirs: RolloutStore) -> None:
    rollout = a_rollout(FIRST)
    mine.begin(rollout)
    mine.release()
    theirs.begin(a_rollout(SECOND))
    before = theirs.read(FIRST)

    rollout.phase = Phase.COMPLETED
    rollout.hosts["host-1"].stage = HostStage.DONE
    for write in (
        lambda: mine.save(rollout),
        lambda: mine.save_hosts(list(rollout.hosts.values())),
        lambda: mine.follow("api", "production", COMPLETED),
        mine.renew,
        lambda: mine.acknowledge(Order("pause", "ada@desk")),
    ):
        with pytest.raises(LockLost):
            write()

    assert theirs.read(FIRST) == before
    assert theirs.completed("api", "production") is None


def test_lock_that_is_renewed_is_still_held(mine: RolloutStore, theirs: RolloutStore) -> None:
    rollout = a_rollout(FIRST)
    mine.begin(rollout)

    mine.renew()

    mine.save(rollout)
    with pytest.raises(Locked):
        theirs.take(FIRST)


def test_lock_of_who_was_killed_becomes_free_by_itself_and_the_rollout_is_taken_over(place: Place, mine: RolloutStore) -> None:
    command = [sys.executable, "-P", "-c", _SOMEBODY_ELSE.format(record=place.code, identity=FIRST)]
    environment = clean_environment() | {"PYTHONPATH": str(Path(__file__).parents[1])}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=environment) as other:
        assert other.stdout
        assert other.stdout.readline() == b"begun\n"
        with pytest.raises(Locked, match="eve@laptop"):
            mine.take(FIRST)
        other.kill()

    def taken() -> bool:
        try:
            return mine.take(FIRST) == a_rollout(FIRST, who="eve@laptop")
        except Locked:
            return False

    # In Consul a session lives up to twice its TTL.
    eventually(taken, "it is taken over")
    mine.save(a_rollout(FIRST))


# Several fleets


def test_rollout_of_several_fleets_is_read_back_as_it_was_planned(mine: RolloutStore, theirs: RolloutStore) -> None:
    planned = a_system(FIRST, "web", "api", "db")

    mine.begin(planned)

    assert theirs.read(FIRST) == planned


@pytest.mark.parametrize("app", ["api", "db", "web"])
def test_rollout_of_several_fleets_takes_all_of_their_locks_or_none(mine: RolloutStore, theirs: RolloutStore, app: str) -> None:
    theirs.begin(a_rollout(FIRST, app=app, who="eve@laptop"))

    with pytest.raises(Locked, match=f"of {app} .* by eve@laptop"):
        mine.begin(a_system(SECOND, "web", "api", "db"))

    others = [one for one in ("api", "db", "web") if one != app]
    assert [mine.holder(one, "production") for one in others] == [None, None]
    with pytest.raises(NoTarget):
        mine.read(SECOND)
    mine.begin(a_system(THIRD, *others))


def test_rollout_of_one_of_the_fleets_is_refused_until_all_are_let_go_of(mine: RolloutStore, theirs: RolloutStore) -> None:
    apps = ("web", "api", "db")
    mine.begin(a_system(FIRST, *apps))
    mine.release()
    assert mine.take(FIRST) == a_system(FIRST, *apps)
    for app in apps:
        with pytest.raises(Locked, match=FIRST):
            theirs.begin(a_rollout(SECOND, app=app))
    mine.renew()

    mine.release()

    assert [theirs.holder(app, "production") for app in apps] == [None] * 3
    theirs.begin(a_rollout(SECOND, app="db"))


def test_what_each_fleet_follows_is_its_own(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_system(FIRST, "web", "api"))
    other = Completed(FIRST, "v1.4.0", {"web": "d" * 40})

    mine.follow("api", "production", COMPLETED)
    mine.follow("web", "production", other)

    assert [theirs.completed(app, "production") for app in ("api", "web", "db")] == [COMPLETED, other, None]


def test_rollout_of_several_fleets_that_was_left_is_superseded_by_the_next_of_any_and_supersedes_those_of_all(
    mine: RolloutStore,
) -> None:
    for left in (a_rollout(FIRST, app="api"), a_rollout(SECOND, app="web"), a_system(THIRD, "web", "api", "db")):
        mine.begin(left)
        mine.release()
    assert [mine.read(one).phase for one in (FIRST, SECOND, THIRD)] == [Phase.SUPERSEDED, Phase.SUPERSEDED, Phase.RUNNING]

    mine.begin(a_rollout("rollout-20261122T110000Z-aaaaaa", app="db"))

    assert mine.read(THIRD).phase is Phase.SUPERSEDED


def test_rollout_of_several_fleets_is_kept_as_long_as_one_of_them_keeps_it(mine: RolloutStore) -> None:
    system = "rollout-20261101T000000Z-aaaaaa"
    mine.begin(a_system(system, "web", "api"))
    mine.release()
    for app in ("api", "web"):
        assert mine.read(system).hosts
        for n in range(20):
            mine.begin(a_rollout(f"rollout-20261122T1000{n:02d}Z-{app}", app=app, hosts=1))
            mine.release()

    with pytest.raises(NoTarget):
        mine.read(system)


# Frozen fleets


def test_freeze_is_seen_by_others_until_it_is_over_or_ended(mine: RolloutStore, theirs: RolloutStore) -> None:
    held = Freeze("the database moves", "ada@desk", "2026-11-22T10:00:00.000000Z")

    mine.freeze("api", "production", held)
    assert (theirs.frozen("api", "production"), theirs.frozen("api", "staging"), theirs.frozen("web", "production")) == (
        held,
        None,
        None,
    )
    mine.freeze("api", "production", replace(held, until="2026-11-22T11:00:00.000000Z"))
    assert theirs.frozen("api", "production") is None
    mine.freeze("api", "production", held)
    theirs.freeze("api", "production", None)
    theirs.freeze("api", "production", None)
    assert mine.frozen("api", "production") is None


def test_rollout_of_a_fleet_that_was_frozen_after_its_plan_is_refused_and_leaves_nothing(
    mine: RolloutStore, theirs: RolloutStore
) -> None:
    planned = a_system(FIRST, "web", "api")
    theirs.freeze("api", "production", Freeze("the database moves", "eve@laptop", "2026-11-22T10:00:00.000000Z"))

    with pytest.raises(Refused, match=r"api in production are frozen by eve@laptop .*: the database moves") as refused:
        mine.begin(planned)

    assert (refused.value.code, refused.value.exit_code) == (Code.FROZEN, Exit.REFUSED)
    assert [theirs.holder(app, "production") for app in ("api", "web")] == [None, None]
    assert theirs.all() == []
    mine.begin(replace(planned, options=Options(despite_freeze=True)))


def test_rollout_that_began_before_a_freeze_is_gone_on_with_by_the_record(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    theirs.freeze("api", "production", Freeze("the database moves", "eve@laptop", "2026-11-22T10:00:00.000000Z"))

    mine.save(a_rollout(FIRST))
    mine.release()

    assert theirs.take(FIRST) == a_rollout(FIRST)  # to abort or revert it


# Rollouts that were left


def test_rollout_that_was_left_is_superseded_by_the_next_of_its_fleet(mine: RolloutStore, theirs: RolloutStore) -> None:
    for identity, phase, environment in (
        (FIRST, Phase.INTERRUPTED, "staging"),
        ("rollout-20261122T090000Z-aaaaaa", Phase.COMPLETED, "production"),
        (SECOND, Phase.PAUSED, "production"),
    ):
        left = a_rollout(identity, environment=environment)
        mine.begin(left)
        left.phase = phase
        mine.save(left)
        mine.release()
    expected = mine.read(SECOND).hosts

    theirs.begin(a_rollout(THIRD))

    superseded = theirs.read(SECOND)
    assert (superseded.phase, superseded.hosts) == (Phase.SUPERSEDED, expected)
    assert superseded.ended_at
    assert THIRD in superseded.why
    assert theirs.read(FIRST).phase is Phase.INTERRUPTED  # another fleet's
    assert theirs.read("rollout-20261122T090000Z-aaaaaa").phase is Phase.COMPLETED
    assert theirs.read(THIRD).phase is Phase.RUNNING


def test_every_rollout_that_was_left_is_superseded_not_the_newest_alone(mine: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    mine.release()
    mine.begin(a_rollout(SECOND))
    mine.release()
    again = mine.take(FIRST)  # somebody reverts an old one, and leaves it, too
    again.phase, again.ended_at = Phase.REVERTING, None
    mine.save(again)
    mine.release()

    mine.begin(a_rollout(THIRD))

    assert mine.read(FIRST).phase is Phase.SUPERSEDED
    assert mine.read(SECOND).phase is Phase.SUPERSEDED


def test_rollout_is_taken_as_it_was_left_and_gone_on_with(mine: RolloutStore, theirs: RolloutStore) -> None:
    left = a_rollout(FIRST)
    mine.begin(left)
    left.hosts["host-1"].stage, left.phase = HostStage.DONE, Phase.INTERRUPTED
    mine.save_hosts([left.hosts["host-1"]])
    mine.save(left)
    mine.release()

    taken = theirs.take(FIRST)

    assert taken == left
    taken.hosts["host-2"].stage = HostStage.DONE
    theirs.save_hosts([taken.hosts["host-2"]])
    assert mine.running(taken)
    assert mine.read(FIRST).hosts["host-2"].stage is HostStage.DONE
    with pytest.raises(Locked, match=FIRST):
        mine.take(FIRST)


def test_rollouts_of_a_large_fleet_are_kept_as_long_as_their_hosts_are_not_too_many(mine: RolloutStore) -> None:
    for identity, size in ((FIRST, 10_001), (SECOND, 10_000), (THIRD, 3)):
        mine.begin(a_rollout(identity, hosts=size))
        mine.release()

    assert [rollout.id for rollout in mine.all()] == [THIRD, SECOND]
    with pytest.raises(NoTarget):
        mine.read(FIRST)


def test_only_the_newest_twenty_of_a_fleet_are_kept(mine: RolloutStore) -> None:
    ids = [f"rollout-20261122T1000{n:02d}Z-aaaaaa" for n in range(23)]
    mine.begin(a_rollout("rollout-20261101T000000Z-aaaaaa", app="web"))
    mine.release()
    for identity in ids:
        mine.begin(a_rollout(identity, hosts=2))
        mine.release()

    kept = [rollout.id for rollout in mine.all() if rollout.apps == "api"]

    assert kept == ids[:2:-1]
    for gone in ids[:3]:
        with pytest.raises(NoTarget):
            mine.read(gone)
    assert mine.read(ids[3]).phase is Phase.SUPERSEDED
    assert mine.read("rollout-20261101T000000Z-aaaaaa").hosts  # of another fleet


# What the fleet is to run


def test_fleet_that_completed_no_rollout_follows_nothing(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))

    assert theirs.completed("api", "production") is None


def test_what_a_fleet_follows_is_its_own_and_may_be_taken_back(mine: RolloutStore, theirs: RolloutStore) -> None:
    rollout = a_rollout(FIRST)
    mine.begin(rollout)

    mine.follow("api", "production", COMPLETED)
    assert theirs.completed("api", "production") == COMPLETED
    assert theirs.completed("api", "staging") is None
    assert theirs.completed("web", "production") is None
    before = Completed(SECOND, "v1.3.0", {"api": "b" * 40})
    mine.follow("api", "production", before)
    assert theirs.completed("api", "production") == before
    mine.follow("api", "production", None)
    assert theirs.completed("api", "production") is None
    mine.follow("api", "production", None)  # twice is no error


def test_hosts_that_told_nothing_are_left_out(mine: RolloutStore) -> None:
    rollout = a_rollout(FIRST)
    mine.begin(rollout)

    assert mine.reported(rollout, list(rollout.hosts.values())) == {}


# Orders


def test_order_waits_until_the_operator_acknowledges_it(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    assert mine.waiting(FIRST) == []
    paused = Order("pause", "eve@laptop")

    theirs.order(FIRST, paused)

    assert mine.waiting(FIRST) == theirs.waiting(FIRST) == [paused]
    mine.acknowledge(paused)
    assert mine.waiting(FIRST) == theirs.waiting(FIRST) == []
    mine.acknowledge(paused)  # twice is no error


def test_orders_that_follow_each_other_all_wait_oldest_first(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    given = [Order(verb, "eve@laptop") for verb in ("abort", "pause", "resume")]
    for order in given:
        theirs.order(FIRST, order)

    assert mine.waiting(FIRST) == given
    mine.acknowledge(given[1])
    assert mine.waiting(FIRST) == [given[0], given[2]]


def test_orders_wait_as_they_were_given_whatever_the_clocks_of_the_people_say(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    pause = Order("pause", "ada@desk", "2026-11-22T10:05:00.000000Z", "20261122T100500Z-aaaaaa")
    resume = Order("resume", "eve@laptop", "2026-11-22T10:00:00.000000Z", "20261122T100000Z-aaaaaa")

    mine.order(FIRST, pause)
    theirs.order(FIRST, resume)

    assert mine.waiting(FIRST) == [pause, resume]


def test_order_outlives_the_operator_that_did_not_obey_it(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    abort = Order("abort", "eve@laptop")
    theirs.order(FIRST, abort)
    mine.release()

    theirs.take(FIRST)

    assert theirs.waiting(FIRST) == [abort]


def test_order_for_another_rollout_is_not_heard(mine: RolloutStore, theirs: RolloutStore) -> None:
    mine.begin(a_rollout(FIRST))
    theirs.begin(a_rollout(SECOND, app="web"))

    mine.order(SECOND, Order("abort", "ada@desk"))

    assert mine.waiting(FIRST) == []
    assert theirs.waiting(SECOND)


def test_order_that_cannot_be_read_silences_no_other(mine: RolloutStore, theirs: RolloutStore, place: Place) -> None:
    mine.begin(a_rollout(FIRST))
    spoilt, abort = Order("pause", "eve@laptop"), Order("abort", "eve@laptop")
    for order in (spoilt, abort):
        theirs.order(FIRST, order)

    place.ruin_order(FIRST, spoilt)

    assert mine.waiting(FIRST) == [abort]
