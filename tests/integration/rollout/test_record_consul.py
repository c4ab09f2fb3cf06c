"""The record of rollouts in Consul: its keys, locks that lapse, missing rights."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.errors import Code, LockLost, NoTarget, RecordUnreachable
from release_agent.model import Completed
from release_agent.rollout.model import HostStage, Order, Phase
from release_agent.rollout.record.consul import ConsulRolloutStore
from support.consul_process import ConsulProcess
from support.rollouts import a_rollout, a_system
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.xdist_group("record-consul")  # one Consul, in one worker

FIRST, SECOND = "rollout-20261122T100001Z-aaaaaa", "rollout-20261122T100002Z-aaaaaa"
_FLEET = "production/api/rollout"
_TIMEOUT = 10.0


@pytest.fixture(scope="module")
def consul_of_module() -> Iterator[ConsulProcess]:
    """One real Consul for the tests that leave it as it is."""
    made = ConsulProcess()
    yield made
    made.close()


class _Shelf:
    """Keys under a prefix of one test's own."""

    def __init__(self, consul: ConsulProcess) -> None:
        self.consul = consul
        self.prefix = f"test-{uuid.uuid4()}"

    def record(self, *, timeout: float = _TIMEOUT, token: str = "") -> ConsulRolloutStore:
        environ = {"CONSUL_HTTP_ADDR": self.consul.address, "CONSUL_HTTP_TOKEN": token}
        return ConsulRolloutStore(ConsulClient(environ, timeout), self.prefix)

    def names(self) -> list[str]:
        found: list[str] = self.consul.get(f"/v1/kv/{self.prefix}?keys")
        return sorted(key.removeprefix(f"{self.prefix}/") for key in found)

    def value(self, key: str) -> Any:
        return self.consul.record(f"{self.prefix}/{key}")

    def put(self, key: str, body: object) -> None:
        self.consul.put(f"/v1/kv/{self.prefix}/{key}", body)

    def session(self) -> dict[str, Any]:
        """The session that holds the fleet's lock."""
        held: str = self.consul.get(f"/v1/kv/{self.prefix}/{_FLEET}/lock")[0]["Session"]
        session: dict[str, Any] = self.consul.get(f"/v1/session/info/{held}")[0]
        return session

    def lapse(self) -> None:
        """End the session as its time to live would."""
        self.consul.put(f"/v1/session/destroy/{self.session()['ID']}", None)


@pytest.fixture
def shelf(consul_of_module: ConsulProcess) -> _Shelf:
    """Somewhere that has no rollouts yet."""
    return _Shelf(consul_of_module)


def test_order_that_an_older_agent_left_waits_until_it_is_obeyed(shelf: _Shelf) -> None:
    record = shelf.record()
    record.begin(a_rollout(FIRST))
    shelf.put(f"_rollouts/{FIRST}/order", {"verb": "abort", "who": "eve@laptop", "at": "2026-11-22T10:00:00Z"})
    record.order(FIRST, Order("pause", "ada@desk"))

    abort, pause = record.waiting(FIRST)

    assert (abort.verb, abort.who, pause.verb) == ("abort", "eve@laptop", "pause")
    record.acknowledge(abort)
    assert record.waiting(FIRST) == [pause]
    record.acknowledge(pause)
    assert not [name for name in shelf.names() if "order" in name]


def test_keys_are_those_that_are_documented(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_rollout(FIRST, hosts=2)
    record.begin(rollout)
    record.follow("api", "production", Completed(FIRST, "v1.4.0", {"api": "c" * 40}))
    shelf.record().order(FIRST, Order("pause", "eve@laptop", "2026-11-22T10:00:00Z", "first"))

    of = f"_rollouts/{FIRST}"
    assert shelf.names() == [
        f"{of}/hosts/host-1",
        f"{of}/hosts/host-2",
        f"{of}/orders/first",
        f"{of}/plan",
        f"{_FLEET}/completed",
        f"{_FLEET}/kept",
        f"{_FLEET}/lock",
    ]
    assert shelf.value(f"{_FLEET}/lock") == {
        "id": FIRST,
        "who": "ada@desk",
        "revision": "v1.4.0",
        "since": "2026-11-22T10:00:00.000000Z",
    }
    assert shelf.value(f"{_FLEET}/completed") == {"id": FIRST, "revision": "v1.4.0", "commits": {"api": "c" * 40}}
    order = {"verb": "pause", "who": "eve@laptop", "at": "2026-11-22T10:00:00Z", "id": "first"}
    assert shelf.value(f"{of}/orders/first") == order
    assert shelf.value(f"{of}/hosts/host-1") == rollout.hosts["host-1"].to_json()
    assert shelf.value(f"{of}/plan") == {**rollout.to_json(), "size": 2}


def test_session_is_of_this_node_and_lapses_without_a_delay(shelf: _Shelf) -> None:
    shelf.record().begin(a_rollout(FIRST))

    session = shelf.session()

    assert (session["TTL"], session["Behavior"], session["LockDelay"]) == ("15s", "release", 0)
    assert session["Node"] == f"n{shelf.consul.port}"
    assert "api" in session["Name"]


def test_no_session_is_left_behind_where_the_lock_was_not_had(shelf: _Shelf) -> None:
    shelf.record().begin(a_rollout(FIRST))
    before = {session["ID"] for session in shelf.consul.get("/v1/session/list")}

    with pytest.raises(Exception, match="is running"):
        shelf.record().begin(a_rollout(SECOND))

    assert {session["ID"] for session in shelf.consul.get("/v1/session/list")} == before


def test_what_hosts_told_of_their_last_deployment_is_found(shelf: _Shelf) -> None:
    told = {"id": "d-1", "outcome": "deployed", "trigger": FIRST}
    shelf.put("production/api/hosts/host-2", told)
    shelf.put("production/api2/hosts/host-1", told)

    rollout = a_rollout(FIRST)
    assert shelf.record().reported(rollout, list(rollout.hosts.values())) == {"host-2": told}


@pytest.mark.parametrize("told", [[], ["d-1"], "deployed", None, 7])
def test_report_of_a_host_that_is_no_object_hides_no_other(shelf: _Shelf, told: object) -> None:
    good = {"id": "d-1", "outcome": "deployed", "trigger": FIRST}
    shelf.put("production/api/hosts/host-1", good)
    shelf.put("production/api/hosts/host-2", told)
    rollout = a_rollout(FIRST)

    assert shelf.record().reported(rollout, list(rollout.hosts.values())) == {"host-1": good}


# A lock that lapsed


def test_lapsed_lock_that_nobody_had_meanwhile_is_taken_again(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_rollout(FIRST)
    record.begin(rollout)
    shelf.lapse()

    with pytest.raises(LockLost, match="nobody holds it now"):
        record.save(rollout)  # never on the chance that it is still ours
    record.renew()

    rollout.wave = 1
    record.save(rollout)
    assert shelf.record().read(FIRST).wave == 1
    assert shelf.record().running(rollout)
    shelf.lapse()
    record.renew()  # and once more
    record.save(rollout)


def test_lapsed_locks_of_several_fleets_are_taken_again_together_or_lost(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_system(FIRST, "web", "api", "db")
    record.begin(rollout)
    shelf.lapse()
    record.renew()
    record.save(rollout)
    shelf.lapse()
    shelf.record().begin(a_rollout(SECOND, app="db", who="eve@laptop"))

    with pytest.raises(LockLost, match=f"of db .* eve@laptop holds it now, for rollout {SECOND}"):
        record.renew()
    with pytest.raises(LockLost):
        record.save(rollout)
    assert shelf.record().holder("api", "production") is None


def test_lock_of_one_of_several_fleets_that_was_removed_by_hand_is_lost(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_system(FIRST, "web", "api", "db")
    record.begin(rollout)
    shelf.consul.put("/v1/txn", [{"KV": {"Verb": "delete", "Key": f"{shelf.prefix}/production/web/rollout/lock"}}])

    with pytest.raises(LockLost, match="of web in production was lost: nobody holds it now"):
        record.save(rollout)


def test_lapsed_lock_that_somebody_has_is_lost_and_named(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_rollout(FIRST)
    record.begin(rollout)
    shelf.lapse()
    shelf.record().begin(a_rollout(SECOND, who="eve@laptop"))

    rollout.phase, rollout.hosts["host-1"].stage = Phase.COMPLETED, HostStage.DONE
    for write in (
        record.renew,
        lambda: record.save(rollout),
        lambda: record.save_hosts([rollout.hosts["host-1"]]),
        lambda: record.follow("api", "production", Completed(FIRST, "v1", {})),
    ):
        with pytest.raises(LockLost, match=f"eve@laptop holds it now, for rollout {SECOND}") as lost:
            write()
        assert lost.value.code == Code.LOCK_LOST
    seen = shelf.record().read(FIRST)
    assert (seen.phase, seen.hosts["host-1"].stage) == (Phase.SUPERSEDED, HostStage.PENDING)
    assert shelf.record().completed("api", "production") is None


def test_lapsed_lock_that_somebody_had_and_let_go_of_is_lost(shelf: _Shelf) -> None:
    record = shelf.record()
    record.begin(a_rollout(FIRST))
    shelf.lapse()
    other = shelf.record()
    other.take(FIRST)  # the same rollout, even
    other.release()

    with pytest.raises(LockLost, match="nobody holds it now"):
        record.renew()


def test_lock_whose_key_was_removed_by_hand_is_lost(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_rollout(FIRST)
    record.begin(rollout)
    shelf.consul.put("/v1/txn", [{"KV": {"Verb": "delete", "Key": f"{shelf.prefix}/{_FLEET}/lock"}}])

    with pytest.raises(LockLost):
        record.save(rollout)


def test_no_host_of_many_is_written_once_the_lock_is_lost(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_rollout(FIRST, hosts=200)
    record.begin(rollout)
    shelf.lapse()
    for host in rollout.hosts.values():
        host.stage = HostStage.DONE

    with pytest.raises(LockLost):
        record.save_hosts(list(rollout.hosts.values()))

    assert not shelf.record().read(FIRST).at(HostStage.DONE)


def test_hosts_with_long_reasons_are_more_transactions_not_too_large_a_one(shelf: _Shelf) -> None:
    record, rollout = shelf.record(), a_rollout(FIRST, hosts=63)
    record.begin(rollout)
    for host in rollout.hosts.values():
        host.why = "x" * 20_000

    record.save_hosts(list(rollout.hosts.values()))

    assert shelf.record().read(FIRST) == rollout


# A begin that was killed


def test_what_a_killed_begin_left_is_no_rollout_and_is_removed_by_the_next(shelf: _Shelf) -> None:
    shelf.put(f"{_FLEET}/kept", [FIRST])  # as it is before the plan is written
    shelf.put(f"_rollouts/{FIRST}/hosts/host-1", a_rollout(FIRST).hosts["host-1"].to_json())
    record = shelf.record()
    assert record.all() == []
    with pytest.raises(NoTarget):
        record.take(FIRST)

    record.begin(a_rollout(SECOND))

    assert not [key for key in shelf.names() if FIRST in key]
    assert shelf.value(f"{_FLEET}/kept") == [SECOND]
    assert [rollout.id for rollout in record.all()] == [SECOND]


# Consul away


def test_consul_that_hangs_is_said_and_gone_on_with() -> None:
    consul = ConsulProcess()
    try:
        shelf = _Shelf(consul)
        record, rollout = shelf.record(timeout=0.5), a_rollout(FIRST)
        record.begin(rollout)
        consul.hang()
        of_rollout = (lambda: record.save(rollout), lambda: record.waiting(FIRST), lambda: record.running(rollout))
        asks = (*of_rollout, record.renew, record.all)
        for ask in asks:
            with pytest.raises(RecordUnreachable, match=r"did not answer within 0\.5 s") as away:
                ask()
            assert away.value.code == Code.RECORD_UNREACHABLE
        consul.go_on()

        record.renew()
        record.save(rollout)
    finally:
        consul.close()


def test_consul_that_is_not_there_is_said_and_letting_go_raises_nothing() -> None:
    consul = ConsulProcess()
    shelf = _Shelf(consul)
    record = shelf.record()
    record.begin(a_rollout(FIRST))
    consul.close()

    with pytest.raises(RecordUnreachable, match="cannot connect to Consul at"):
        record.read(FIRST)
    record.release()


# Rights


@pytest.fixture(scope="module")
def guarded() -> Iterator[ConsulProcess]:
    """A Consul with ACLs on."""
    made = ConsulProcess(acl=True)
    yield made
    made.close()


def _token(consul: ConsulProcess, rules: str) -> str:
    name = f"policy-{uuid.uuid4()}"

    def made() -> dict[str, Any]:
        consul.put("/v1/acl/policy", {"Name": name, "Rules": rules})
        token: dict[str, Any] = consul.put("/v1/acl/token", {"Policies": [{"Name": name}]})
        return token

    return str(eventually(made)["SecretID"])


def test_token_that_may_only_read_is_refused_with_the_page_that_has_the_policy(guarded: ConsulProcess) -> None:
    shelf = _Shelf(guarded)
    writer = shelf.record(token=guarded.token)
    writer.begin(a_rollout(FIRST))
    reader = shelf.record(token=_token(guarded, f'key_prefix "{shelf.prefix}/" {{ policy = "read" }}'))

    assert reader.read(FIRST) == a_rollout(FIRST)
    for write in (lambda: reader.begin(a_rollout(SECOND)), lambda: reader.order(FIRST, Order("pause", "eve"))):
        with pytest.raises(RecordUnreachable, match=r"docs/guides/consul\.md has the policy") as refused:
            write()
        assert "refused" in refused.value.message


def test_write_that_the_token_may_not_do_is_refused_by_name_within_a_transaction(guarded: ConsulProcess) -> None:
    shelf = _Shelf(guarded)
    rules = f'session_prefix "" {{ policy = "write" }} key_prefix "{shelf.prefix}/" {{ policy = "read" }} '
    rules += f'key "{shelf.prefix}/{_FLEET}/lock" {{ policy = "write" }}'
    record = shelf.record(token=_token(guarded, rules))

    with pytest.raises(RecordUnreachable, match=f"refused to write {shelf.prefix}/{_FLEET}/kept; docs/guides/consul.md has"):
        record.begin(a_rollout(FIRST))

    assert shelf.record(token=guarded.token).all() == []
    other = shelf.record(token=guarded.token)
    other.begin(a_rollout(SECOND))  # the lock was let go of


def test_token_that_may_read_nothing_is_refused_and_not_told_that_there_is_nothing(guarded: ConsulProcess) -> None:
    shelf = _Shelf(guarded)
    shelf.record(token=guarded.token).begin(a_rollout(FIRST))
    stranger = shelf.record(token=_token(guarded, 'key_prefix "other/" { policy = "write" }'))

    for ask in (stranger.all, lambda: stranger.read(FIRST), lambda: stranger.completed("api", "production")):
        with pytest.raises(RecordUnreachable, match="refused the token"):
            ask()


def test_hosts_that_the_token_may_not_read_are_missed(guarded: ConsulProcess) -> None:
    shelf = _Shelf(guarded)
    shelf.record(token=guarded.token).begin(a_rollout(FIRST, hosts=3))
    rules = f'key "{shelf.prefix}/_rollouts/{FIRST}/plan" {{ policy = "read" }}'
    rules += f' key "{shelf.prefix}/_rollouts/{FIRST}/hosts/host-1" {{ policy = "read" }}'
    reader = shelf.record(token=_token(guarded, rules))

    with pytest.raises(RecordUnreachable, match="1 of 3 hosts"):
        reader.read(FIRST)
