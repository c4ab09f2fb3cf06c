"""A real supervisord with the plugin and a simulated host keep the same promises to a rollout.

So a simulated fleet may replace a real one in a test or a benchmark.
"""

from __future__ import annotations

import asyncio
import http.client
import json
import math
import xmlrpc.client
from typing import TYPE_CHECKING, Any, Protocol
from urllib.parse import urlsplit

import pytest

from release_agent.errors import Code
from release_agent.rollout.host.client import HostClient
from release_agent.rollout.host.model import HostError, RunRequest
from release_agent.rollout.host.pace import Pace
from release_agent.rollout.host.rpc import Remote, Unauthorised, Unreachable
from support.host import Host
from support.servers import free_port
from support.simulated_fleet import SimulatedFleet
from support.simulated_host import DEPLOY, Manner, commit_of
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

USER, PASSWORD = "agent", "secret-secret"
_STATUS = {"app", "environment", "services", "health", "health_why", "agent_version", "follow", "maintenance", "instance"}
_RELEASE = {"release", "number", "revision", "commits", "signers", "deployed_at", "by"}
_BEGUN = {"id", "revision", "commits", "signers", "by", "seconds", "phases"}
_JOURNALED = {"action", "trigger", "started_at"}
_ENDED = _BEGUN | {"outcome", "release"} | _JOURNALED
_CHECKED = {"build", "way", "live", "needed_bytes", "files", "free_bytes", "may_go", "services", "changes"}
_ERROR = {"code", "message", "hint"}
_DOES_IT = (Manner.LOSE, Manner.HEAD_ALONE, Manner.HALF_A_BODY)


class Subject(Protocol):
    """A host that knows v1.0.0 and v1.1.0, neither of them live."""

    url: str

    def commit(self, revision: str) -> str:
        """Return what a revision names."""

    def hold(self) -> None:
        """Keep the next deployment from ending."""

    def held(self, identity: str) -> None:
        """Wait until it is being kept, in the history already."""

    def let_go(self) -> None:
        """Let it end, and those that come."""

    def refuse(self, revision: str) -> None:
        """Find a revision unhealthy from now on."""

    def close(self) -> None:
        """End it."""


class Supervisord:
    """The real thing: supervisord, the plugin, git, the releases on disk."""

    def __init__(self) -> None:
        self._host = Host()
        self._hooks: list[str] = []
        self._host.repository.release("v1.0.0")
        self._host.repository.release("v1.1.0")
        port = free_port()
        self.url = f"http://127.0.0.1:{port}"
        self._host.services.append(
            f"[inet_http_server]\nport=127.0.0.1:{port}\nusername={USER}\npassword={PASSWORD}\n",
        )
        self._configure("")
        self._host.start()

    def _configure(self, hooks: str) -> None:
        # A service of supervisor's own, which nothing waits for.
        service = '[[service]]\nname = "web"\nrestart = "none"'
        self._host.configure(hooks, service=service)

    def commit(self, revision: str) -> str:
        return self._host.repository.git("rev-parse", revision)

    def hold(self) -> None:
        self._configure(f"[hooks]\nbuild = [{{ run = '{self._host.gate('held')}' }}]")

    def held(self, identity: str) -> None:  # noqa: ARG002 - there is one gate
        self._host.reached("held")

    def let_go(self) -> None:
        self._host.open("held")

    def refuse(self, revision: str) -> None:
        self._configure(f"[hooks]\nafter_deploy = [{{ run = 'test $RELEASE_REVISION != {revision}' }}]")

    def close(self) -> None:
        self._host.close()


class Simulated:
    """The stand-in."""

    def __init__(self) -> None:
        self._fleet = SimulatedFleet(1, credentials=(USER, PASSWORD), live=None).start()
        self._host = self._fleet.hosts[0]
        self._host.commits = {revision: commit_of(revision) for revision in ("v1.0.0", "v1.1.0")}
        self.url = self._fleet.url(self._host)

    def commit(self, revision: str) -> str:
        return self._host.commits[revision]

    def hold(self) -> None:
        self._host.seconds = math.inf

    def held(self, identity: str) -> None:
        assert "trigger" in self._host.record(identity)

    def let_go(self) -> None:
        self._host.seconds = 0.0
        self._host.let_go()

    def refuse(self, revision: str) -> None:
        self._host.fails = {revision: DEPLOY}

    def close(self) -> None:
        self._fleet.close()


@pytest.fixture(params=[Supervisord, Simulated], ids=["supervisord", "simulated"])
def subject(request: pytest.FixtureRequest) -> Iterator[Subject]:
    made: Subject = request.param()
    yield made
    made.close()


class Rpc:
    """The namespace ``release`` of a host's RPC."""

    def __init__(self, url: str) -> None:
        self._proxy: Any = xmlrpc.client.ServerProxy(url.replace("//", f"//{USER}:{PASSWORD}@") + "/RPC2")

    def __getattr__(self, name: str) -> Callable[..., Any]:
        method: Callable[..., Any] = getattr(self._proxy.release, name)
        return method


@pytest.fixture
def rpc(subject: Subject) -> Rpc:
    return Rpc(subject.url)


def _ended(rpc: Rpc, identity: str) -> dict[str, Any]:
    def look() -> dict[str, Any] | None:
        record: dict[str, Any] = rpc.getDeployment(identity)
        return record if "outcome" in record else None

    record: dict[str, Any] = eventually(look, "it ended")
    return record


def _fault(call: Callable[..., Any], *arguments: object) -> tuple[int, str]:
    with pytest.raises(xmlrpc.client.Fault) as fault:
        call(*arguments)
    return fault.value.faultCode, fault.value.faultString


# What is live


def test_status_without_a_release(rpc: Rpc) -> None:
    status = rpc.getStatus()

    assert set(status) == _STATUS, "what is null is left out"
    assert (status["app"], status["environment"]) == ("api", "test")
    assert (status["health"], status["maintenance"]) == ("critical", False)
    assert rpc.getStatus()["instance"] == status["instance"]


def test_status_with_releases(subject: Subject, rpc: Rpc) -> None:
    one = rpc.deploy("v1.0.0", True)
    first = rpc.getStatus()
    two = rpc.deploy("v1.1.0", True)
    second = rpc.getStatus()

    assert set(first) == _STATUS | {"current", "health_at"}
    assert set(second) == _STATUS | {"current", "health_at", "previous"}
    assert set(second["current"]) == set(second["previous"]) == _RELEASE
    assert (second["current"]["release"], second["previous"]["release"]) == (two["release"], one["release"])
    assert second["current"]["revision"] == "v1.1.0"
    assert second["current"]["commits"] == {"api": subject.commit("v1.1.0")}
    assert second["current"]["number"] == 2
    assert second["health"] == "passing"
    (service,) = second["services"]
    assert set(service) == {"name", "processes"}
    assert [(set(process), process["name"], process["state"]) for process in service["processes"]] == [
        ({"name", "state", "pid"}, "web", "RUNNING"),
    ]


def test_status_names_the_deployment_that_runs(subject: Subject, rpc: Rpc) -> None:
    subject.hold()
    begun = rpc.deploy("v1.0.0", False)
    subject.held(begun["id"])

    running = rpc.getStatus()["deployment"]
    subject.let_go()
    _ended(rpc, begun["id"])

    assert set(running) == {"id", "phase"}
    assert running["id"] == begun["id"]
    assert "deployment" not in rpc.getStatus()


# Deployments


def test_deployment_has_its_outcome_when_it_is_over_and_not_before(subject: Subject, rpc: Rpc) -> None:
    subject.hold()
    begun = rpc.deploy("v1.0.0", False, "rollout-1")
    subject.held(begun["id"])
    running = rpc.getDeployment(begun["id"])
    in_history = rpc.getHistory(5)
    subject.let_go()
    record = _ended(rpc, begun["id"])

    assert (set(begun), begun["revision"]) == (_BEGUN, "v1.0.0")
    assert set(running) == _ENDED - {"outcome"}
    assert in_history == [running]
    assert set(record) == _ENDED
    assert (record["id"], record["outcome"], record["revision"]) == (begun["id"], "deployed", "v1.0.0")
    assert record["commits"] == {"api": subject.commit("v1.0.0")}
    assert [set(phase) for phase in record["phases"]] == [{"name", "seconds"}] * len(record["phases"])
    assert rpc.getHistory(5) == [record]


def test_busy_is_a_fault_for_all_that_would_start(subject: Subject, rpc: Rpc) -> None:
    subject.hold()
    begun = rpc.deploy("v1.0.0", False)
    subject.held(begun["id"])

    faults = [_fault(rpc.deploy, "v1.1.0", False), _fault(rpc.rollback, "", False), _fault(rpc.check, "v1.1.0", False)]
    subject.let_go()
    _ended(rpc, begun["id"])

    assert [code for code, _ in faults] == [111] * 3
    assert all(
        said.startswith(f"another deployment is already running: {begun['id']} (deploy v1.0.0, pid ") for _, said in faults
    )
    assert rpc.deploy("v1.1.0", True)["outcome"] == "deployed", "the next start succeeds at once"


def test_history_is_newest_first_with_what_fired_it(rpc: Rpc) -> None:
    rpc.deploy("v1.0.0", True)
    rpc.deploy("v1.1.0", True, "rollout-1")

    newest, oldest = rpc.getHistory(20)

    assert (newest["trigger"], oldest["trigger"]) == ("rollout-1", "rpc")
    assert newest["started_at"] > oldest["started_at"]
    assert (set(newest), set(oldest)) == (_ENDED | {"previous"}, _ENDED)
    assert rpc.getHistory(1) == [newest]
    assert rpc.getHistory(0) == []


def test_release_that_is_live_is_left_unchanged(rpc: Rpc) -> None:
    one = rpc.deploy("v1.0.0", True)
    again = rpc.deploy("v1.0.0", True)

    assert (again["outcome"], again["release"], again["previous"]) == ("unchanged", one["release"], one["release"])
    assert set(again) == _ENDED | {"previous"}


def test_releases_are_numbered_and_one_that_is_kept_is_taken_again(rpc: Rpc) -> None:
    names = [rpc.deploy(revision, True)["release"] for revision in ("v1.0.0", "v1.1.0", "v1.0.0")]

    assert [name[:7] for name in names] == ["000001-", "000002-", "000001-"]
    assert names[0] == names[2]
    assert [len(name) for name in names] == [19, 19, 19]


def test_release_that_is_not_well_is_rolled_back(subject: Subject, rpc: Rpc) -> None:
    before = rpc.deploy("v1.0.0", True)
    subject.refuse("v1.1.0")

    record = rpc.deploy("v1.1.0", True)
    status = rpc.getStatus()

    assert set(record) == _ENDED | {"previous", "error"}
    assert (record["outcome"], record["previous"]) == ("rolled-back", before["release"])
    assert set(record["error"]) == _ERROR
    assert record["error"]["code"] in set(Code)
    assert (status["current"]["release"], status["health"]) == (before["release"], "passing")
    assert rpc.deploy("v1.1.0", True)["release"].startswith("000003-"), "it is built anew"


def test_first_release_that_is_not_well_stays(subject: Subject, rpc: Rpc) -> None:
    subject.refuse("v1.0.0")

    record = rpc.deploy("v1.0.0", True)
    status = rpc.getStatus()

    assert (record["outcome"], record["error"]["code"]) == ("rollback-failed", "nothing-behind")
    assert (status["current"]["release"], status["health"]) == (record["release"], "critical")


# Rollbacks


def test_rollback_goes_to_the_one_before_or_to_a_named_one(rpc: Rpc) -> None:
    one, two = rpc.deploy("v1.0.0", True), rpc.deploy("v1.1.0", True)

    back = rpc.rollback("", True)
    by_name = rpc.rollback(two["release"], True, "rollout-1-revert")
    by_number = rpc.rollback("1", True)
    by_revision = rpc.rollback("v1.1.0", True)
    again = rpc.rollback(two["release"], True)

    ends = [back, by_name, by_number, by_revision]
    assert [(end["outcome"], end["release"]) for end in ends] == [
        ("deployed", name) for name in (one["release"], two["release"], one["release"], two["release"])
    ]
    assert set(back) == _ENDED | {"previous"}
    assert by_name["revision"] == "v1.1.0"
    assert by_name["trigger"] == "rollout-1-revert"
    assert again["outcome"] == "unchanged"


def test_rollback_is_refused_where_something_else_is_live_than_was_expected(rpc: Rpc) -> None:
    one, two = rpc.deploy("v1.0.0", True), rpc.deploy("v1.1.0", True)

    ends = [rpc.rollback(one["release"], True, "me", "", False, expected) for expected in ("none", one["release"], "nonsense")]
    back = rpc.rollback(one["release"], True, "me", "", False, two["release"])

    assert [(end["outcome"], end["error"]["code"]) for end in ends] == [("refused", "overtaken")] * 3
    assert f"{two['release']} is live, not {one['release']}" in ends[1]["error"]["message"]
    assert (back["outcome"], back["release"]) == ("deployed", one["release"])


def test_rollback_without_a_target(subject: Subject, rpc: Rpc) -> None:
    nothing = rpc.rollback("", True)
    rpc.deploy("v1.0.0", True)
    subject.refuse("v1.1.0")
    failed = rpc.deploy("v1.1.0", True)
    ends = [nothing, rpc.rollback("", True), rpc.rollback("000009-0123456789ab", True), rpc.rollback(failed["release"], True)]

    assert [(end["outcome"], end["error"]["code"]) for end in ends] == [
        ("no-target", code) for code in ("no-target", "no-target", "release-unknown", "release-failed")
    ]
    assert [set(end) - {"previous"} for end in ends] == [_ENDED - {"release", "revision"} | {"error"}] * 4
    assert set(rpc.rollback("", False)) == _BEGUN - {"revision"}


# Checks


def test_check_says_what_would_be_done_and_is_no_part_of_the_history(subject: Subject, rpc: Rpc) -> None:
    one = rpc.deploy("v1.0.0", True)
    begun = rpc.check("v1.1.0", False)
    answer = _ended(rpc, begun["id"])
    live = rpc.check("v1.0.0", True)

    assert set(begun) == _BEGUN
    assert set(answer) == _ENDED - _JOURNALED | {"previous"} | _CHECKED
    assert (answer["outcome"], answer["build"], answer["live"]) == ("checked", True, False)
    assert answer["commits"] == {"api": subject.commit("v1.1.0")}
    assert answer["changes"] == {"api": {"count": 1, "back": 0, "subjects": ["v1.1.0"]}}
    assert answer["free_bytes"] > answer["needed_bytes"] > 0
    assert (live["outcome"], live["build"], live["live"], live["changes"]) == ("checked", False, True, {})
    assert [entry["id"] for entry in rpc.getHistory(5)] == [one["id"]]
    assert rpc.getStatus()["current"]["release"] == one["release"]


def test_unknown_revision_is_refused(rpc: Rpc) -> None:
    checked, deployed = rpc.check("v9", True), rpc.deploy("v9", True)

    assert set(checked) == _ENDED - _JOURNALED - {"release"} | {"error"}
    assert set(deployed) == _ENDED - {"release"} | {"error"}
    for record in (checked, deployed):
        assert (record["outcome"], record["error"]["code"], record["commits"]) == ("refused", "revision-unknown", {})
        assert record["error"]["message"].startswith("no tag, branch or commit v9 in repository api")


def test_deployment_is_refused_where_something_else_is_live_than_was_expected(rpc: Rpc) -> None:
    first = rpc.deploy("v1.0.0", True, "me", False, "none")
    second = rpc.deploy("v1.1.0", True, "me", False, first["release"])
    ends = [rpc.deploy("v1.0.0", True, "me", False, expected) for expected in ("none", first["release"], "nonsense")]

    assert (first["outcome"], second["outcome"]) == ("deployed", "deployed")
    assert [(end["outcome"], end["error"]["code"]) for end in ends] == [("refused", "overtaken")] * 3
    assert f"{second['release']} is live, not {first['release']}" in ends[1]["error"]["message"]
    assert rpc.getStatus()["current"]["release"] == second["release"]


def test_staged_release_changes_nothing_live_and_is_what_a_deployment_takes(rpc: Rpc) -> None:
    live = rpc.deploy("v1.0.0", True)
    staged = rpc.stage("v1.1.0", True, "rollout-1-stage")
    again, of_live = rpc.stage("v1.1.0", True), rpc.stage("v1.0.0", True)
    status = rpc.getStatus()
    deployed = rpc.deploy("v1.1.0", True, "me", False, live["release"])

    assert set(staged) == _ENDED | {"previous"}
    assert (staged["outcome"], staged["action"], staged["trigger"]) == ("staged", "stage", "rollout-1-stage")
    assert (again["outcome"], again["release"], of_live["outcome"]) == ("staged", staged["release"], "unchanged")
    assert status["current"]["release"] == live["release"]
    assert (deployed["outcome"], deployed["release"]) == ("deployed", staged["release"])
    assert rpc.stage("v9", True)["outcome"] == "refused"


# Faults, and HTTP


def test_names_that_will_not_do_are_faults(rpc: Rpc) -> None:
    assert _fault(rpc.getDeployment, "nobody") == (122, "there is no deployment nobody")
    code, said = _fault(rpc.deploy, "--upload-pack=x", False)
    assert (code, "is not the name of a tag" in said) == (112, True)
    assert _fault(rpc.check, "v1..2", False)[0] == 112
    assert _fault(rpc.rollback, "../..", False)[0] == 112


def test_wrong_calls_are_supervisors_own_faults(rpc: Rpc) -> None:
    assert _fault(rpc.deploy, "v1.0.0", False, "me", *["more"] * 9)[0] == 2
    assert _fault(rpc.getHistory, "many")[0] == 2
    assert _fault(rpc.nothing)[0] == 1
    assert rpc.getHistory(5) == []


def test_connection_ends_with_the_answer(subject: Subject) -> None:
    parts = urlsplit(subject.url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port)
    connection.connect()
    connection._http_vsn, connection._http_vsn_str = 10, "HTTP/1.0"  # type: ignore[attr-defined]  # noqa: SLF001 - there is no other way
    body = xmlrpc.client.dumps((), "release.getStatus")
    connection.request("POST", "/RPC2", body, {"Content-Type": "text/xml", "Authorization": "Basic YWdlbnQ6c2VjcmV0LXNlY3JldA=="})
    with connection.getresponse() as answer:
        said = answer.read()
        assert (answer.status, answer.version) == (200, 10)
        assert int(answer.headers["Content-Length"]) == len(said)
        assert answer.headers["Content-Type"] == "text/xml"
        assert answer.will_close
    connection.close()


def test_rollouts_own_client_looks_checks_starts_and_follows(subject: Subject, rpc: Rpc) -> None:
    rpc.deploy("v1.0.0", True)
    agent = HostClient(Remote(subject.url, (USER, PASSWORD)), Pace())

    async def roll() -> dict[str, Any]:
        seen = await agent.look()
        assert (seen.app, seen.environment, seen.revision, seen.health) == ("api", "test", "v1.0.0", "passing")
        assert not seen.busy
        assert not seen.maintenance
        assert (await agent.check("v1.1.0", 30))["live"] is False
        with pytest.raises(HostError, match="refused: no tag") as refused:
            await agent.check("v9", 30)
        assert refused.value.code == Code.REVISION_UNKNOWN
        wanted = RunRequest("release.deploy", "v1.1.0", "rollout-1", (False, seen.release or ""), ("ada@desk",))
        identity = await agent.start(wanted, 30, again=False)
        record = await agent.follow(identity, 30, "release.deploy")
        assert await agent.start(wanted, 30, again=True) == identity, "once for a trigger"
        return record

    record = asyncio.run(roll())

    assert (record["outcome"], record["trigger"]) == ("deployed", "rollout-1")
    assert json.dumps(rpc.getDeployment(record["id"]), sort_keys=True) == json.dumps(record, sort_keys=True)


def test_stranger_is_not_let_in(subject: Subject) -> None:
    for credentials in (None, (USER, "another")):
        with pytest.raises(Unauthorised):
            asyncio.run(Remote(subject.url, credentials)("release.getStatus"))


# Besides: how the stand-in misbehaves, which a real host cannot be made to do at will


@pytest.mark.parametrize(
    ("manner", "passing", "why"),
    [
        (Manner.MUTE, True, "no answer within"),
        (Manner.HEAD_ALONE, True, "no answer within"),
        (Manner.HALF_A_BODY, True, "no answer within"),
        (Manner.LOSE, True, "closed the connection without an answer"),
        (Manner.RESET, None, "reset"),  # before or after the call was sent
        (Manner.REFUSE, False, "refused"),
    ],
)
def test_simulated_host_misbehaves(manner: Manner, passing: bool | None, why: str) -> None:
    with SimulatedFleet(2) as fleet:
        fleet.hosts[0].manner = manner
        remote = Remote(fleet.url(fleet.hosts[0]), None, timeout=0.2 if "within" in why else 10.0)
        with pytest.raises(Unreachable, match=why) as unreachable:
            asyncio.run(remote("release.deploy", "v2.0.0", False, "rollout-1"))

        assert passing in (None, unreachable.value.passing)
        assert fleet.hosts[0].triggers == (["rollout-1"] if manner in _DOES_IT else [])
        assert asyncio.run(Remote(fleet.url(fleet.hosts[1]), None)("release.getStatus"))["current"]["revision"] == "v1.0.0"


def test_simulated_host_misbehaves_for_one_method() -> None:
    with SimulatedFleet(1, manners={"release.deploy": Manner.UNAUTHORISED}) as fleet:
        remote = Remote(fleet.url(fleet.hosts[0]), None)

        with pytest.raises(Unauthorised):
            asyncio.run(remote("release.deploy", "v2.0.0", False, "rollout-1"))
        assert asyncio.run(remote("release.getHistory", 5)) == []
