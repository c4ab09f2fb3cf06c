"""``follow = "rollout"``: hosts run the revision of their fleet's last completed rollout."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from release_agent.consul.client import ConsulClient
from release_agent.model import Completed
from release_agent.rollout.record.consul import ConsulRolloutStore
from support.repositories import WEB
from support.rollouts import a_rollout
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.consul_process import ConsulProcess
    from support.host import Host, Ran

EARLIER, COMPLETED, LATER = (f"rollout-20261122T10000{n}Z-aaaaaa" for n in (1, 2, 3))
_FOLLOW = '[revision]\nfollow = "rollout"'
_AWAY = "127.0.0.1:9"
_PREFIX = "release-agent/test/api/rollout"


class _Fleet:
    """A host of a fleet, and the record that rollouts of the fleet are written down in."""

    def __init__(self, host: Host, consul: ConsulProcess) -> None:
        self.host = host
        self.consul = consul
        host.environment["CONSUL_HTTP_ADDR"] = consul.address
        host.configure(consul="enabled = true", revision=_FOLLOW)

    def completed(self, revision: str, **commits: str) -> None:
        """Have a rollout complete, as far as hosts see it."""
        record = ConsulRolloutStore(ConsulClient({"CONSUL_HTTP_ADDR": self.consul.address}))
        rollout = a_rollout(COMPLETED, environment="test", hosts=0)
        record.begin(rollout)
        commits = commits or {"api": self.host.repository.git("rev-parse", f"{revision}^{{commit}}")}
        record.follow("api", "test", Completed(COMPLETED, revision, commits))
        record.release()

    def fired_by(self, trigger: str, revision: str) -> Ran:
        """Deploy as supervisor's plugin has it done."""
        request = {"id": f"d-{trigger}", "action": "deploy", "revision": revision, "trigger": trigger}
        ran = self.host.agent("deploy", "--json", RELEASE_AGENT_REQUEST=json.dumps(request))
        assert (ran.code, ran.json["outcome"]) == (0, "deployed"), ran.err
        return ran

    def restarted(self) -> None:
        """Let the container be started again, with nothing that runs in it yet."""
        self.host.stop()
        self.host.start()


@pytest.fixture
def fleet(host: Host, consul: ConsulProcess) -> Iterator[_Fleet]:
    """A host that follows, with v1.0.0 and the newer v1.1.0 to be had, of a fleet that completed no rollout yet."""
    yield _Fleet(host, consul)
    for tree in ("release-agent/_rollouts/", _PREFIX):
        consul.put("/v1/txn", [{"KV": {"Verb": "delete-tree", "Key": tree}}])


# A bare deployment


def test_bare_deployment_takes_what_the_fleet_rolled_out_last_not_what_is_newest(fleet: _Fleet) -> None:
    fleet.completed("v1.0.0")

    ran = fleet.host.deploy()

    assert (ran.code, ran.json["revision"], fleet.host.serves()) == (0, "v1.0.0", "v1.0.0")


def test_bare_deployment_is_refused_where_no_rollout_has_completed(fleet: _Fleet) -> None:
    fleet.host.deploy("v1.0.0")

    ran = fleet.host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "no-rollout")
    assert "no rollout of api in test has completed" in ran.json["error"]["message"]
    assert "rollout start" in ran.json["error"]["hint"]
    assert fleet.host.serves() == "v1.0.0"


def test_bare_deployment_is_refused_where_consul_is_away_and_one_by_name_is_not(fleet: _Fleet) -> None:
    fleet.completed("v1.0.0")
    fleet.host.environment["CONSUL_HTTP_ADDR"] = _AWAY

    ran = fleet.host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "consul-unreachable")
    assert "cannot connect to Consul at" in ran.json["error"]["message"]
    assert "release-agent deploy REVISION" in ran.json["error"]["hint"]
    assert fleet.host.live() is None
    assert fleet.host.deploy("v1.1.0").code == 0


def test_bare_deployment_is_refused_where_the_tag_names_another_commit_than_it_did_for_the_fleet(fleet: _Fleet) -> None:
    there = fleet.host.repository.git("rev-parse", "v1.0.0")
    here = fleet.host.repository.git("rev-parse", "v1.1.0")
    fleet.completed("v1.1.0", api=there)

    for arguments in ((), ("--accept-moved-tag",)):  # hosts of a fleet do not differ, whatever each accepts
        ran = fleet.host.deploy(*arguments)

        assert (ran.code, ran.json["error"]["code"]) == (12, "tag-moved")
        for word in ("v1.1.0", "repository api", here[:12], there[:12], COMPLETED):
            assert word in ran.json["error"]["message"]
    assert fleet.host.live() is None


@pytest.mark.parametrize("body", [["no", "rollout"], {"id": COMPLETED}, {"id": COMPLETED, "revision": "v1.0.0", "commits": "?"}])
def test_key_that_was_written_by_hand_is_refused(fleet: _Fleet, body: object) -> None:
    fleet.consul.put(f"/v1/kv/{_PREFIX}/completed", body)

    ran = fleet.host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (12, "consul-unreachable")
    assert f"{_PREFIX}/completed" in ran.json["error"]["message"]


def test_fleet_of_another_environment_is_not_followed(fleet: _Fleet) -> None:
    fleet.completed("v1.0.0")
    app = f'[app]\nname = "api"\nenvironment = "live"\nhost = "host-1"\nroot = "{fleet.host.root}"'
    fleet.host.configure(app=app, consul="enabled = true", revision=_FOLLOW)

    assert fleet.host.deploy().json["error"]["code"] == "no-rollout"


def test_following_without_consul_is_misconfigured(fleet: _Fleet) -> None:
    fleet.host.configure(revision=_FOLLOW)

    for command in ("deploy", "doctor"):
        ran = fleet.host.agent(command)
        assert ran.code == 10
        assert "revision.follow" in ran.err


# A container comes up


def test_new_host_of_a_fleet_comes_up_with_what_the_fleet_runs(cold_host: Host, consul: ConsulProcess, fleet: _Fleet) -> None:
    new = _Fleet(cold_host, consul)
    cold_host.repository.release("v1.0.0")
    cold_host.repository.release("v1.1.0")
    new.completed("v1.0.0")

    cold_host.start(boot=True)

    eventually(lambda: cold_host.process("boot")[0] == "EXITED", "boot ended")
    assert cold_host.serves() == "v1.0.0"
    assert fleet.host.live() is None


def test_host_that_was_away_during_a_rollout_catches_up_as_it_comes_back(fleet: _Fleet) -> None:
    fleet.fired_by(EARLIER, "v1.0.0")
    fleet.completed("v1.1.0")
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], boot.json["revision"]) == (0, "deployed", "v1.1.0")
    assert fleet.host.serves() == "v1.1.0"
    assert fleet.host.history()[0]["trigger"] == "boot"


def test_host_that_runs_what_the_fleet_runs_is_only_started(fleet: _Fleet) -> None:
    fleet.fired_by(COMPLETED, "v1.0.0")
    fleet.completed("v1.0.0")
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"]) == (0, "unchanged")
    assert fleet.host.serves() == "v1.0.0"
    assert len(fleet.host.history()) == 1


def test_boot_keeps_the_live_release_if_the_fleets_newer_tag_has_the_same_part(fleet: _Fleet) -> None:
    host = fleet.host
    where = f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\nsubdirectory = "part"'
    host.configure(consul="enabled = true", revision=_FOLLOW, repository=where)
    service = {"web.py": WEB, "behaviour": "ok", "release.toml": '[health]\ndeadline = "4s"\nstable_for = "100ms"\n'}
    for tag, version in (("v2.0.0", "v2.0.0"), ("v2.1.0", "v2.1.0"), ("v2.2.0", "v2.1.0")):
        files = {f"part/{name}": text for name, text in {**service, "version": version}.items()}
        host.repository.commit({**files, "other": tag}, tag=tag)
    for tag in ("v2.0.0", "v2.1.0"):
        assert host.deploy(tag).json["outcome"] == "deployed"
    live = host.live()
    assert live
    fleet.completed("v2.2.0")
    fleet.restarted()
    sick = host.path / "sick"
    sick.touch()  # such as a database that starts late

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], boot.json["error"]["code"]) == (21, "rollback-failed", "unhealthy")
    assert (host.live(), host.releases()[live]) == (live, "healthy")
    sick.unlink()
    assert host.serves() == "v2.1.0"
    assert host.status()["current"]["revision"] == "v2.2.0"
    assert host.agent("boot").code == 0


@pytest.mark.parametrize("address", [_AWAY, None], ids=["Consul is away", "no rollout has completed"])
def test_host_that_cannot_know_what_the_fleet_runs_starts_what_is_live(fleet: _Fleet, address: str | None) -> None:
    fleet.fired_by(EARLIER, "v1.0.0")
    if address:
        fleet.completed("v1.1.0")
        fleet.host.environment["CONSUL_HTTP_ADDR"] = address
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], fleet.host.serves()) == (0, "unchanged", "v1.0.0")
    assert [event["level"] for event in boot.events("boot.stayed")] == (["warning"] if address else [])
    assert len(fleet.host.history()) == 1


def test_new_host_without_consul_has_nothing_to_deploy(fleet: _Fleet) -> None:
    fleet.completed("v1.0.0")

    boot = fleet.host.agent("boot", "--json", CONSUL_HTTP_ADDR=_AWAY)

    assert (boot.code, boot.json["error"]["code"]) == (21, "consul-unreachable")
    assert fleet.host.live() is None


def test_host_of_a_later_rollout_does_not_fall_back_when_it_is_started_again(fleet: _Fleet) -> None:
    fleet.completed("v1.0.0")
    fleet.host.deploy()
    fleet.fired_by(LATER, "v1.1.0")
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], fleet.host.serves()) == (0, "unchanged", "v1.1.0")
    assert LATER in boot.events("boot.stayed")[0]["why"]


@pytest.mark.parametrize("trigger", [EARLIER, "rpc", "zzz"])
def test_host_that_differs_for_any_other_reason_is_brought_back_into_line(fleet: _Fleet, trigger: str) -> None:
    fleet.completed("v1.0.0")
    fleet.fired_by(trigger, "v1.1.0")
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], fleet.host.serves()) == (0, "deployed", "v1.0.0")


def test_host_that_rolled_back_what_a_later_rollout_put_there_is_brought_back_into_line(fleet: _Fleet) -> None:
    fleet.host.deploy("v1.1.0")
    fleet.completed("v1.0.0")
    fleet.host.repository.release("v1.2.0", "sick")
    request = {"id": "d-1", "action": "deploy", "revision": "v1.2.0", "trigger": LATER}
    assert fleet.host.agent("deploy", RELEASE_AGENT_REQUEST=json.dumps(request)).code == 20

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], fleet.host.serves()) == (0, "deployed", "v1.0.0")


def test_what_the_fleet_runs_and_is_not_to_be_had_here_leaves_what_is_live(fleet: _Fleet) -> None:
    fleet.host.deploy("v1.0.0")
    fleet.completed("v2.0.0", api="c" * 40)
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], fleet.host.serves()) == (0, "unchanged", "v1.0.0")
    assert boot.events("deploy.finished")[0]["code"] == "revision-unknown"
    assert fleet.host.history()[0]["outcome"] == "refused"


def test_what_the_fleet_runs_and_is_sick_here_is_rolled_back_and_what_was_live_is_served(fleet: _Fleet) -> None:
    fleet.host.deploy("v1.0.0")
    fleet.host.repository.release("v1.2.0", "sick")
    fleet.completed("v1.2.0")
    fleet.restarted()

    boot = fleet.host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], fleet.host.serves()) == (0, "rolled-back", "v1.0.0")


# What people are told


def test_doctor_says_what_the_fleet_runs_or_why_that_cannot_be_known(fleet: _Fleet) -> None:
    def finding() -> dict[str, str]:
        findings: list[dict[str, str]] = fleet.host.agent("doctor", "--json").json
        return next(found for found in findings if found["check"] == "revision")

    nothing = finding()
    fleet.completed("v1.0.0")

    assert nothing["level"] == "fault"
    assert "no rollout of api in test has completed" in nothing["message"]
    assert finding()["message"] == "a bare deploy takes v1.0.0"
    fleet.host.environment["CONSUL_HTTP_ADDR"] = _AWAY
    assert "cannot connect to Consul at" in finding()["message"]


def test_rollback_says_what_a_bare_deployment_would_take(fleet: _Fleet) -> None:
    fleet.host.deploy("v1.0.0")
    fleet.host.deploy("v1.1.0")

    ran = fleet.host.agent("rollback")

    assert "a bare deploy would take the fleet's last completed rollout again" in ran.out
