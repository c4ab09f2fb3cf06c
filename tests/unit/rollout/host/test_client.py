"""The client of one host, with given answers, by a clock that tests move."""

from __future__ import annotations

import xmlrpc.client
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from release_agent import __version__
from release_agent.errors import FAULTS, Code, Exit
from release_agent.model import Trigger
from release_agent.rollout.host.answers import brought_by, failure, status_of
from release_agent.rollout.host.client import HostClient
from release_agent.rollout.host.model import HostError, NotStartedError, RunRequest
from release_agent.rollout.host.pace import Pace
from release_agent.rollout.host.rpc import Unreachable
from release_agent.services.faults import FaultCode
from support import no_time

if TYPE_CHECKING:
    from collections.abc import Iterable

DEADLINE = 600.0
WANTED = RunRequest("release.deploy", "v2", "rollout-1", newer=("ada@desk",))
LOCKED = xmlrpc.client.Fault(FAULTS + Exit.FAILED, "the journal /srv/state.db cannot be used: database is locked")
BUSY = xmlrpc.client.Fault(FAULTS + Exit.BUSY, "another deployment is already running")
STOPPING = xmlrpc.client.Fault(FaultCode.SHUTDOWN_STATE, "SHUTDOWN_STATE")
NO_PROCESS = xmlrpc.client.Fault(FaultCode.SPAWN_ERROR, "SPAWN_ERROR: release:deploy")
UNKNOWN = xmlrpc.client.Fault(FAULTS + Exit.NO_TARGET, "there is no deployment d1")
SILENT = Unreachable("no answer within 10 s", passing=True)
GONE = Unreachable("Connection refused")


class _Host:
    """A host with given answers to each method, one after the other; the last one again and again."""

    def __init__(self, **answers: Iterable[Any]) -> None:
        self.answers = {f"release.{method}": list(given) for method, given in answers.items()}
        self.asked: list[str] = []
        self.arguments: list[tuple[object, ...]] = []

    async def __call__(self, method: str, *arguments: object) -> Any:
        self.asked.append(method.removeprefix("release."))
        self.arguments.append(arguments)
        answers = self.answers[method]
        answer = answers.pop(0) if len(answers) > 1 else answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    @property
    def client(self) -> HostClient:
        return HostClient(self, Pace())  # type: ignore[arg-type]

    async def deploy(self) -> dict[str, Any]:
        """Deploy there; returns the record."""

        async def under_way(_identity: str, _phase: str) -> None:
            pass

        return await self.client.run(WANTED, DEADLINE, under_way, again=False)

    def deployed(self) -> tuple[dict[str, Any], float]:
        """Deploy there; returns the record, and the seconds that it took."""
        return no_time.run(self.deploy())

    def failed(self) -> tuple[HostError, float]:
        """Deploy there in vain; returns the error, and the seconds that it took."""

        async def fail() -> HostError:
            with pytest.raises(HostError) as failed:
                await self.deploy()
            return failed.value

        return no_time.run(fail())


def _record(outcome: str) -> dict[str, Any]:
    return {"id": "d1", "outcome": outcome}


@pytest.mark.parametrize("trouble", [LOCKED, STOPPING, SILENT, GONE], ids=str)
def test_trouble_while_a_host_is_followed_is_asked_again_for_minutes(trouble: Exception) -> None:
    host = _Host(deploy=[{"id": "d1"}], getDeployment=[*[trouble] * 300, _record("deployed")])

    record, seconds = host.deployed()

    assert record["outcome"] == "deployed"
    assert 300 < seconds < DEADLINE
    assert host.asked.count("deploy") == 1


@pytest.mark.parametrize("trouble", [BUSY, STOPPING, NO_PROCESS, SILENT], ids=str)
def test_trouble_while_a_host_is_told_to_deploy_is_asked_again_for_minutes(trouble: Exception) -> None:
    host = _Host(deploy=[*[trouble] * 300, {"id": "d1"}], getHistory=[[]], getDeployment=[_record("deployed")])

    record, seconds = host.deployed()

    assert record["outcome"] == "deployed"
    assert 300 <= seconds < DEADLINE


def test_host_that_is_busy_until_the_rollout_stops_is_not_started() -> None:
    host = _Host(deploy=[BUSY, BUSY, {"id": "d1"}], getHistory=[[]])
    stops_after_two_tries = replace(WANTED, may_start=lambda: host.asked.count("deploy") < 2)

    with pytest.raises(NotStartedError):
        no_time.run(host.client.start(stops_after_two_tries, DEADLINE, again=False))
    assert host.asked == ["deploy", "getHistory"] * 2


def test_run_that_is_not_in_the_history_yet_is_found_although_no_more_runs_may_start() -> None:
    host = _Host(getHistory=[[], [{"id": "d1", "trigger": "rollout-1"}]])

    started, _ = no_time.run(host.client.start(replace(WANTED, may_start=lambda: False), DEADLINE, again=True))

    assert started == "d1"


def test_host_whose_answer_was_lost_before_the_rollout_stopped_may_have_started() -> None:
    host = _Host(deploy=[SILENT, BUSY], getHistory=[[]])
    stops_after_two_tries = replace(WANTED, may_start=lambda: host.asked.count("deploy") < 2)

    with pytest.raises(HostError, match="no answer within 10 s") as failed:
        no_time.run(host.client.start(stops_after_two_tries, DEADLINE, again=False))
    assert failed.value.unreachable


def test_run_that_an_earlier_operator_started_is_found_after_the_stop() -> None:
    host = _Host(getHistory=[[{"id": "d1", "trigger": WANTED.trigger}]])

    found, _ = no_time.run(host.client.start(replace(WANTED, may_start=lambda: False), DEADLINE, again=True))

    assert found == "d1"


def test_trouble_that_does_not_pass_ends_at_the_hosts_deadline_and_is_not_the_releases() -> None:
    host = _Host(deploy=[{"id": "d1"}], getDeployment=[LOCKED])

    late, seconds = host.failed()

    assert (late.unreachable, late.code) == (True, Code.HOST_UNREACHABLE)
    assert "database is locked" in late.why
    assert seconds >= DEADLINE


def test_of_words_without_end_as_much_is_kept_as_a_record_has_room_for() -> None:
    ended = {"id": "1", "outcome": "failed", "error": {"code": "c" * 2_000_000, "message": "it failed" + "x" * 2_000_000}}
    refused = failure(ended)

    assert len(refused.code) < 1000
    assert refused.why.startswith("failed: it failed")
    assert len(refused.why) < 20_000


@pytest.mark.parametrize(
    "odd", [{"id": "1" * 2_000_000}, {"release": "r" * 2_000_000}, {"release": {"a": 1}}, {"outcome": ["deployed"]}]
)
def test_deployment_of_a_name_without_end_is_no_agents_answer(odd: dict[str, Any]) -> None:
    host = _Host(deploy=[{"id": "1"} | odd], getDeployment=[{"id": "1", "outcome": "deployed"} | odd])

    with pytest.raises(HostError, match="not from a release agent"):
        host.deployed()


@pytest.mark.parametrize("odd", [{"release": {"a": 1}}, {"revision": ["v1"]}, {"release": "r" * 2_000_000}])
def test_live_release_that_is_no_name_is_no_agents_answer(odd: dict[str, Any]) -> None:
    current = {"release": "000001-abc", "revision": "v1", "commits": {}} | odd

    with pytest.raises(HostError, match="not from a release agent"):
        status_of({"agent_version": __version__, "app": "api", "environment": "test", "current": current})


@pytest.mark.parametrize("odd", [{"app": ""}, {"app": "../lock"}, {"app": "a" * 100}, {"app": None}, {"environment": "a/b"}])
def test_application_that_no_configuration_can_name_is_no_agents_answer(odd: dict[str, Any]) -> None:
    with pytest.raises(HostError, match="not from a release agent"):
        status_of({"agent_version": __version__, "app": "api", "environment": "test", "current": None} | odd)


def test_host_that_does_not_hear_is_given_up_sooner() -> None:
    host = _Host(deploy=[GONE], getHistory=[GONE])

    gone, seconds = host.failed()

    assert (gone.unreachable, gone.why) == (True, "Connection refused")
    assert 30 <= seconds < 40


def test_run_that_found_the_lock_taken_did_nothing_and_is_started_again() -> None:
    host = _Host(deploy=[{"id": "d1"}], getDeployment=[_record("busy"), _record("busy"), _record("deployed")])

    record, _ = host.deployed()

    assert record["outcome"] == "deployed"
    assert host.asked.count("deploy") == 3


@pytest.mark.parametrize("method", ["deploy", "stage", "rollback"])
def test_run_that_a_container_lost_before_it_was_in_the_journal_is_started_again(method: str) -> None:
    wanted = replace(WANTED, method=f"release.{method}")
    ids: list[str] = []

    async def under_way(identity: str, _phase: str) -> None:
        ids.append(identity)

    started = [{"id": "d1"}, {"id": "d2"}]
    host = _Host(**{method: started}, getDeployment=[SILENT, UNKNOWN, _record("done")], getHistory=[[]])

    record, seconds = no_time.run(host.client.run(wanted, DEADLINE, under_way, again=False))

    assert (record["outcome"], host.asked.count(method), ids) == ("done", 2, ["d1", "d2"])
    assert seconds > 5  # a run that outlives its supervisord has time to come into the journal


def test_run_that_outlives_its_supervisord_is_found_in_the_history_and_not_started_again() -> None:
    history = [{"id": "d1", "trigger": WANTED.trigger}]
    host = _Host(deploy=[{"id": "d1"}], getDeployment=[UNKNOWN, _record("deployed")], getHistory=[history])

    record, _ = host.deployed()

    assert (record["outcome"], host.asked.count("deploy")) == ("deployed", 1)


def test_run_that_is_lost_after_the_rollout_has_stopped_is_not_started_again() -> None:
    host = _Host(deploy=[{"id": "d1"}], getDeployment=[UNKNOWN], getHistory=[[]])
    stops_after_the_start = replace(WANTED, may_start=lambda: "deploy" not in host.asked)

    async def under_way(_identity: str, _phase: str) -> None:
        pass

    with pytest.raises(NotStartedError):
        no_time.run(host.client.run(stops_after_the_start, DEADLINE, under_way, again=False))
    assert host.asked.count("deploy") == 1


def test_host_that_loses_every_run_has_failed_at_its_deadline() -> None:
    host = _Host(deploy=[{"id": "d1"}], getDeployment=[UNKNOWN], getHistory=[[]])

    lost, seconds = host.failed()

    assert (lost.code, lost.unreachable) == (Code.RELEASE_UNKNOWN, False)
    assert DEADLINE <= seconds < DEADLINE + 60


def test_check_that_a_container_lost_is_started_again_for_the_rest_of_its_time() -> None:
    answers = [*[SILENT] * 20, UNKNOWN, _record("checked") | {"commits": {}}]
    host = _Host(check=[{"id": "c1"}, *[BUSY] * 20, {"id": "c2"}], getDeployment=answers)

    record, _ = no_time.run(host.client.check("v2", 60.0, wait_for=3600.0))

    assert record["outcome"] == "checked"
    checks = [given for asked, given in zip(host.asked, host.arguments, strict=True) if asked == "check"]
    first, *_, last = (float(str(given[-1]).rstrip("s")) for given in checks)
    assert (first, len(checks)) == (3600.0, 22)
    assert 3500 < last < 3590


def test_host_that_loses_every_check_has_failed_at_the_end_of_its_time() -> None:
    host = _Host(check=[{"id": "c1"}], getDeployment=[UNKNOWN])

    async def fail() -> str:
        with pytest.raises(HostError) as failed:
            await host.client.check("v2", 60.0)
        return failed.value.code

    code, seconds = no_time.run(fail())

    assert code == Code.RELEASE_UNKNOWN
    assert 60 <= seconds < 70


def test_run_that_was_started_before_is_found_behind_many_newer_ones() -> None:
    newer = [{"id": f"n{number}", "trigger": "person"} for number in range(500)]
    asked: list[Any] = []

    class Historian(_Host):
        async def __call__(self, method: str, *arguments: Any) -> Any:
            if method != "release.getHistory":
                return await super().__call__(method, *arguments)
            asked.extend(arguments)
            return [*newer, {"id": "d1", "trigger": "rollout-1"}][: arguments[0]]

    started, _ = no_time.run(Historian().client.start(WANTED, DEADLINE, again=True))

    assert (started, asked) == ("d1", [1000])


@pytest.mark.parametrize(
    ("trigger", "boots_since", "expected"),
    [
        ("rollout-1", None, True),
        ("command", "", False),
        ("rollout-2", "", False),
        (Trigger.BOOT, None, False),
        (Trigger.BOOT, "", True),
        (Trigger.BOOT, "2026-11-22T09:00:00.0Z", True),
        (Trigger.BOOT, "2026-11-22T11:00:00.0Z", False),
    ],
)
def test_newest_run_that_made_a_release_live_says_who_brought_it(trigger: str, boots_since: str | None, expected: bool) -> None:
    made = {"release": "r2", "outcome": "deployed", "started_at": "2026-11-22T10:00:00.0Z"}
    history = [
        made | {"previous": "r2", "trigger": "person", "outcome": "unchanged"},
        made | {"previous": "r1", "trigger": "person", "outcome": "rolled-back"},
        made | {"previous": "r1", "trigger": trigger},
        made | {"previous": "r1", "trigger": "rollout-0"},
    ]

    assert brought_by(history, "r2", "rollout-1", boots_since) is expected
    assert brought_by(history[:2], "r2", "rollout-1", boots_since) is None


@pytest.mark.parametrize(
    "end", [{"outcome": None}, *({"outcome": "error", "error": {"code": code}} for code in ("interrupted", "bug"))]
)
def test_run_that_was_killed_after_it_published_brought_the_live_release(end: dict[str, Any]) -> None:
    killed = {"release": "r2", "previous": "r1", "trigger": "rollout-1", "started_at": "2026-11-22T10:00:00.0Z", **end}

    assert brought_by([killed], "r2", "rollout-1", None) is True


def test_whole_history_is_asked_for_only_if_the_newest_entries_do_not_say_who_brought_a_release() -> None:
    same = {"release": "r2", "previous": "r2", "outcome": "unchanged", "trigger": "person"}
    made = {"release": "r2", "previous": "r1", "outcome": "deployed", "trigger": "rollout-1"}

    at_once, later, never = _Host(getHistory=[[same, made]]), _Host(getHistory=[[same], [same, made]]), _Host(getHistory=[[same]])
    found = [no_time.run(host.client.brought("r2", "rollout-1", None))[0] for host in (at_once, later, never)]

    assert found == [True, True, False]
    assert [len(host.asked) for host in (at_once, later, never)] == [1, 2, 2]


@pytest.mark.parametrize(
    "refusal",
    [
        xmlrpc.client.Fault(FAULTS + Exit.REFUSED, "v2 is not the name of a tag"),
        xmlrpc.client.Fault(FAULTS + Exit.FAILED, "supervisor has no program deploy"),
        xmlrpc.client.Fault(FaultCode.UNKNOWN_METHOD, "UNKNOWN_METHOD"),
        xmlrpc.client.Fault(["no code"], None),  # type: ignore[arg-type]  # a host may answer anything
    ],
    ids=str,
)
def test_hosts_own_word_is_believed_at_once(refusal: Exception) -> None:
    host = _Host(deploy=[refusal])

    failed, _ = host.failed()

    assert (failed.unreachable, host.asked) == (False, ["deploy"])


def test_a_host_with_an_older_plugin_is_deployed_to_without_the_operators_name() -> None:
    unknown = xmlrpc.client.Fault(FaultCode.INCORRECT_PARAMETERS, "release.deploy(revision, wait=false): too many arguments")
    host = _Host(deploy=[unknown, {"id": "d-1"}], getDeployment=[{"id": "d-1", "outcome": "deployed"}])

    record, _ = host.deployed()

    assert (record["outcome"], host.asked[:2]) == ("deployed", ["deploy", "deploy"])


_OLDER = xmlrpc.client.Fault(FaultCode.INCORRECT_PARAMETERS, "release.rollback(release, wait=false): too many arguments")
_BACK = RunRequest("release.rollback", "r1", "rollout-1-revert", newer=("ada@desk", False, "r2"), expected="r2")


def _status(release: str) -> dict[str, Any]:
    current = {"release": release, "revision": "v2", "commits": {}}
    return {"agent_version": __version__, "app": "api", "environment": "test", "current": current}


def test_a_host_with_an_older_plugin_is_rolled_back_from_the_expected_release() -> None:
    host = _Host(rollback=[_OLDER, _OLDER, {"id": "d-1"}], getStatus=[_status("r2")])

    started, _ = no_time.run(host.client.start(_BACK, DEADLINE, again=False))

    assert (started, host.asked) == ("d-1", ["rollback", "getStatus", "rollback", "getStatus", "rollback"])


def test_a_host_with_an_older_plugin_is_not_rolled_back_from_another_release_even_after_trouble() -> None:
    host = _Host(rollback=[_OLDER, STOPPING, _OLDER, {"id": "d-1"}], getStatus=[_status("r2"), _status("r3")], getHistory=[[]])

    async def overtaken() -> str:
        with pytest.raises(HostError) as failed:
            await host.client.start(_BACK, DEADLINE, again=False)
        return failed.value.code

    assert no_time.run(overtaken())[0] == Code.OVERTAKEN
    assert host.asked.count("rollback") == 3
