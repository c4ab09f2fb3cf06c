"""The agent's reports to Consul; Consul decides nothing for the agent."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.registration import ConsulAgent
from release_agent.consul.reporter import ConsulReporter
from release_agent.health import Health, HealthState
from release_agent.journal.journal import StateDatabase
from release_agent.system.clock import SystemClock
from support.configuration import configuration
from support.consul_process import ConsulProcess
from support.contexts import Unheard
from support.servers import free_port
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host

KEY = "release-agent/test/api/hosts/host-1"
_POLICY = """
service "api" { policy = "write" }
key "release-agent/test/api/hosts/host-1" { policy = "write" }
"""


def _reporting(host: Host, consul: ConsulProcess, **replaced: str) -> None:
    host.environment["CONSUL_HTTP_ADDR"] = consul.address
    host.configure(consul="enabled = true", **replaced)


def _waiting(host: Host) -> list[dict[str, Any]]:
    with StateDatabase(host.root / ".release-agent" / "state.db") as journal:
        return [body for _, body in journal.reports()]


def test_deployment_registers_the_service_and_leaves_the_hosts_record(host: Host, consul: ConsulProcess) -> None:
    addresses = 'port = 8080\naddress = "192.0.2.7"\nrpc_url = "http://192.0.2.7:9001"'
    app = f'[app]\nname = "api"\nenvironment = "test"\nhost = "host-1"\nroot = "{host.root}"\n{addresses}'
    _reporting(host, consul, app=app)

    record = host.deploy().json

    service = consul.get("/v1/agent/services")["release-agent:api:host-1"]
    assert (service["Service"], service["Port"], service["Address"]) == ("api", 8080, "192.0.2.7")
    assert service["Tags"] == ["test", "v1.1.0"]
    assert service["Meta"] == {
        "release": record["release"],
        "revision": "v1.1.0",
        "commit": record["commits"]["api"],
        "environment": "test",
        "rpc_url": "http://192.0.2.7:9001",
    }
    check = consul.check("api")
    assert check
    assert (check["Status"], check["Type"]) == ("passing", "ttl")
    assert "v1.1.0" in check["Output"]
    kept = consul.record(KEY)
    assert set(kept) == {*record, "trigger", "started_at", "address"}
    assert kept["address"] == "192.0.2.7"
    same = ("id", "outcome", "release", "revision", "commits", "previous", "error")
    assert [kept[key] for key in same] == [record[key] for key in same]
    assert _waiting(host) == []
    assert len(consul.get("/v1/health/service/api?passing")) == 1


def test_check_warns_between_publish_and_outcome_only(host: Host, consul: ConsulProcess) -> None:
    _reporting(host, consul)
    host.deploy("v1.0.0")
    _reporting(host, consul)
    host.configure(
        f"[hooks]\nbuild = [{{ run = '{host.gate('build')}' }}]\nafter_publish = [{{ run = '{host.gate('after')}' }}]",
        consul="enabled = true",
    )
    run = host.begin("deploy")

    host.reached("build")
    building = consul.check("api")
    host.open("build")
    host.reached("after")
    deploying, health = consul.check("api"), host.status()["health"]
    host.open("after")

    assert ended(run) == 0
    assert building
    assert deploying
    assert (building["Status"], deploying["Status"], health) == ("passing", "warning", "warning")
    assert "v1.1.0" in deploying["Output"]
    assert consul.check("api")["Status"] == "passing"  # type: ignore[index]


def test_host_that_drains_is_out_of_dns_before_its_processes_are_stopped_and_in_again_when_proved(
    host: Host, consul: ConsulProcess
) -> None:
    _reporting(host, consul)
    host.deploy("v1.0.0")
    drained = host.probed("10s").replace('name = "web"', 'name = "web"\ndrain = "3s"')
    host.configure(service=drained, consul="enabled = true")
    host.deploy("v1.0.0", "--force")  # the release that is left says how long it drains
    before = host.process()
    run = host.begin("deploy", "v1.1.0")

    def draining() -> bool:
        check = consul.check("api")
        return bool(check) and (check["Status"], check["Output"].split()[0]) == ("critical", "draining")

    eventually(draining, "Consul leaves it out")
    while_it_drains = host.process()

    assert ended(run) == 0
    assert while_it_drains == before, "nothing was stopped before"
    assert host.process() != before
    assert consul.check("api")["Status"] == "passing"  # type: ignore[index]


def test_rolled_back_host_is_passing_and_says_what_happened(host: Host, consul: ConsulProcess) -> None:
    _reporting(host, consul)
    host.deploy("v1.0.0")
    host.repository.release("v1.2.0", "sick")

    assert host.deploy().code == 20

    check = consul.check("api")
    assert check
    assert check["Status"] == "passing"
    assert consul.get("/v1/agent/services")["release-agent:api:host-1"]["Tags"] == ["test", "v1.0.0"]
    assert consul.record(KEY)["outcome"] == "rolled-back"


def test_host_on_which_nothing_is_healthy_is_critical_with_the_reason(host: Host, consul: ConsulProcess) -> None:
    _reporting(host, consul)
    host.repository.release("v1.2.0", "sick")

    assert host.deploy().code == 21

    check = consul.check("api")
    assert check
    assert check["Status"] == "critical"
    assert "answered 500" in check["Output"]
    assert consul.get("/v1/health/service/api?passing") == []


def test_refused_deployment_is_recorded_and_leaves_health_alone(host: Host, consul: ConsulProcess) -> None:
    _reporting(host, consul)
    host.deploy("v1.0.0")

    assert host.deploy("v9").code == 12

    assert consul.record(KEY)["error"]["code"] == "revision-unknown"
    assert consul.check("api")["Status"] == "passing"  # type: ignore[index]


def test_check_lives_a_day_where_nobody_watches(host: Host, consul: ConsulProcess) -> None:
    _reporting(host, consul)
    host.deploy()

    doctor = host.agent("doctor", "--json").json

    monitor = next(finding for finding in doctor if finding["check"] == "monitor")
    assert monitor["level"] == "warning"
    assert "24 h" in monitor["message"]


def test_check_is_kept_alive_for_as_long_as_the_lock_is_held(cold_host: Host, consul: ConsulProcess) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    host.repository.release("v1.1.0")
    # Supervisor has a monitor, so the check lives a second only; it does not run, so the deployment is alone.
    host.services.append("[program:monitor]\ncommand=release-agent monitor\nautostart=false\n")
    host.start()
    short = 'enabled = true\nttl = "1s"'
    host.environment["CONSUL_HTTP_ADDR"] = consul.address
    host.configure(f"[hooks]\nbuild = [{{ run = '[ $RELEASE_REVISION = v1.0.0 ] || {{ {host.gate('held')}; }}' }}]", consul=short)
    host.deploy("v1.0.0")
    run = host.begin("deploy", "v1.1.0")
    host.reached("held")
    consul.put("/v1/agent/check/pass/service:release-agent:api:host-1", None)  # it may have expired in between

    for name in ("first", "second"):  # two whole lives of a check that nobody renews
        consul.put("/v1/agent/check/register", {"Name": name, "TTL": "1s", "Status": "passing"})
        eventually(lambda name=name: consul.get("/v1/agent/checks")[name]["Status"] == "critical", "it expired")

    assert consul.check("api")["Status"] == "passing"  # type: ignore[index]
    host.open("held")
    assert ended(run) == 0


def test_consul_without_acls_says_that_it_does_not_know_the_check(consul: ConsulProcess) -> None:
    config = configuration(environ={"RELEASE_AGENT_HOST": "host-1"})
    agent = ConsulAgent(config.consul, config.app, {"CONSUL_HTTP_ADDR": consul.address})

    assert not agent.update(None, Health.of())
    agent.register(None, Health(HealthState.CRITICAL), 30)
    assert agent.update(None, Health.of())


def test_report_that_was_sent_and_cannot_be_forgotten_ends_no_run(consul: ConsulProcess, tmp_path: Path) -> None:
    config = configuration()
    agent = ConsulAgent(config.consul, config.app, {"CONSUL_HTTP_ADDR": consul.address})
    with StateDatabase(tmp_path / "state.db", write=True) as journal:
        journal.keep_report({"id": "d-1"})

    with StateDatabase(tmp_path / "state.db") as unwritable:
        reporter = ConsulReporter(agent, unwritable, SystemClock(), Unheard(), watched=lambda: False, ttl=10.0)
        reporter.finish(None, None, Health.of("web is FATAL"))

        assert consul.record(agent.key)["id"] == "d-1"
        assert [body["id"] for _, body in unwritable.reports()] == ["d-1"]


@pytest.fixture
def own_consul() -> Iterator[ConsulProcess]:
    """A Consul that a test may break."""
    made = ConsulProcess()
    yield made
    made.close()


def test_consul_that_refuses_changes_nothing_and_the_report_waits(host: Host) -> None:
    host.environment["CONSUL_HTTP_ADDR"] = f"127.0.0.1:{free_port()}"
    host.configure(consul="enabled = true")

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"]) == (0, "deployed")
    assert ran.events("report.spooled")[0]["waiting"] == 1
    assert [report["id"] for report in _waiting(host)] == [ran.json["id"]]


def test_consul_that_hangs_costs_no_more_than_its_budget_and_is_told_later(host: Host, own_consul: ConsulProcess) -> None:
    _reporting(host, own_consul)
    host.deploy("v1.0.0")
    own_consul.hang()

    second = host.deploy("v1.1.0")

    assert (second.code, second.json["outcome"]) == (0, "deployed")
    assert [report["id"] for report in _waiting(host)] == [second.json["id"]]
    waits = [event["why"] for event in second.events("report.failed") + second.events("report.spooled")]
    assert sum(float(re.findall(r"within ([0-9.]+) s", why)[0]) for why in waits) <= 5, waits
    own_consul.go_on()
    third = host.deploy("v1.1.0")
    assert third.json["outcome"] == "unchanged"
    assert third.events("report.sent")[0]["reports"] == 2
    assert _waiting(host) == []
    assert own_consul.record(KEY)["id"] == third.json["id"]


def test_token_that_is_too_weak_is_said_and_the_report_waits(host: Host) -> None:
    consul = ConsulProcess(acl=True)
    try:
        weak = consul.put("/v1/acl/token", {"Policies": []})["SecretID"]
        _reporting(host, consul)

        ran = host.deploy(CONSUL_HTTP_TOKEN=weak)

        assert (ran.code, ran.json["outcome"]) == (0, "deployed"), ran
        assert "refused the token" in ran.events("report.spooled")[0]["why"]
        assert weak not in ran.out + ran.err
    finally:
        consul.close()


def test_least_policy_is_enough(host: Host) -> None:
    consul = ConsulProcess(acl=True)
    try:
        eventually(lambda: _made(consul), "ACLs are ready")
        token = consul.put("/v1/acl/token", {"Policies": [{"Name": "agent"}]})["SecretID"]
        _reporting(host, consul)
        file = host.path / "token"
        file.write_text(token + "\n")

        # The file wins, as with HashiCorp's own tools.
        ran = host.deploy(CONSUL_HTTP_TOKEN_FILE=str(file), CONSUL_HTTP_TOKEN="00000000-dead-dead-dead-000000000000")

        assert ran.events("report.sent"), ran.err
        assert consul.record(KEY)["id"] == ran.json["id"]
        assert consul.check("api")["Status"] == "passing"  # type: ignore[index]
    finally:
        consul.close()


def _made(consul: ConsulProcess) -> bool:
    import urllib.error

    try:
        consul.put("/v1/acl/policy", {"Name": "agent", "Rules": _POLICY})
    except urllib.error.HTTPError:
        return False
    return True
