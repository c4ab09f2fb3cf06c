"""The resident monitor, under a real supervisord and with a real Consul."""

from __future__ import annotations

import socket
import subprocess
import urllib.request
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.consul.registration import ConsulAgent
from release_agent.health import Look
from release_agent.journal.journal import StateDatabase
from release_agent.model import Kind, Release, State
from release_agent.monitor.monitor import Monitor
from support.brought import allow_programs, idle, program, release
from support.configuration import configuration
from support.consul_process import ConsulProcess
from support.endings import never_ending
from support.environment import BIN
from support.monitored import answered, crash, looks_again, watched_host
from support.servers import free_port
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.host import Host

KEY = "release-agent/test/api/hosts/host-1"


@pytest.fixture
def watched(cold_host: Host, consul: ConsulProcess) -> Host:
    """A host with a monitor, that reports to the session's Consul."""
    return watched_host(cold_host, consul.address)


@pytest.fixture
def own_consul() -> Iterator[ConsulProcess]:
    """A Consul that a test may break."""
    made = ConsulProcess()
    yield made
    made.close()


def _status(consul: ConsulProcess) -> tuple[str, str]:
    check = consul.check("api") or {"Status": "none", "Output": ""}
    return check["Status"], check["Output"]


def _becomes(consul: ConsulProcess, status: str) -> str:
    # A check that was just registered has its status before it has its output.
    eventually(lambda: _status(consul)[0] == status and _status(consul)[1], f"the check is {status}: {_status(consul)}")
    return _status(consul)[1]


def test_host_on_which_nothing_is_live_is_critical(watched: Host, consul: ConsulProcess) -> None:
    eventually(lambda: watched.process("monitor")[0] == "RUNNING", "the monitor runs")
    assert _becomes(consul, "critical") == "no release is live"


def test_service_that_stops_is_critical_with_the_reason_and_passing_when_it_is_back(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    _becomes(consul, "passing")

    watched.supervisorctl("stop", "web")
    _becomes(consul, "critical")
    eventually(lambda: "web is STOPPED" in _status(consul)[1], "the reason")
    assert watched.rpc.release.getStatus()["health"] == "critical"
    watched.supervisorctl("start", "web")
    assert "v1.0.0" in _becomes(consul, "passing")
    eventually(lambda: watched.rpc.release.getStatus()["health"] == "passing", "the plugin hears of it")


def test_program_that_came_with_a_release_is_watched_until_a_release_comes_without_it(
    cold_host: Host, consul: ConsulProcess
) -> None:
    host = watched_host(allow_programs(cold_host), consul.address)
    release(host, "v2.0.0", program(host), idle(host, "worker"))
    assert host.deploy("v2.0.0").code == 0
    _becomes(consul, "passing")

    host.supervisorctl("stop", "worker")
    _becomes(consul, "critical")
    eventually(lambda: "worker is STOPPED" in _status(consul)[1], "the reason")
    release(host, "v2.1.0", program(host))
    assert host.deploy("v2.1.0").code == 0

    assert "v2.1.0" in _becomes(consul, "passing")


def test_probe_that_fails_is_critical_with_its_answer(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    _becomes(consul, "passing")

    (watched.path / "sick").touch()

    assert "answered 500, not 200" in _becomes(consul, "critical")


def test_check_lives_for_the_configured_time_and_is_kept_alive(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    _becomes(consul, "passing")
    # A whole life of a check that nobody renews.
    consul.put("/v1/agent/check/register", {"Name": "abandoned", "TTL": "15s", "Status": "passing"})
    eventually(lambda: consul.get("/v1/agent/checks")["abandoned"]["Status"] == "critical", "it expired")

    assert _status(consul)[0] == "passing"


def test_consul_that_forgot_is_told_again(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    _becomes(consul, "passing")

    consul.put("/v1/agent/service/deregister/release-agent:api:host-1", None)

    _becomes(consul, "passing")
    assert consul.get("/v1/agent/services")["release-agent:api:host-1"]["Meta"]["revision"] == "v1.0.0"


def test_reports_that_waited_are_sent_in_order_and_once(cold_host: Host, own_consul: ConsulProcess) -> None:
    host = watched_host(cold_host, own_consul.address)
    own_consul.hang()
    first, second = host.deploy("v1.0.0"), host.deploy("v1.1.0")
    assert (first.code, second.code) == (0, 0)
    assert [body["id"] for body in _waiting(host)] == [first.json["id"], second.json["id"]]

    own_consul.go_on()

    eventually(lambda: not _waiting(host), "all were sent")
    assert own_consul.record(KEY)["id"] == second.json["id"]
    _becomes(own_consul, "passing")


def _waiting(host: Host) -> list[dict[str, Any]]:
    with StateDatabase(host.root / ".release-agent" / "state.db") as journal:
        return [body for _, body in journal.reports()]


def test_deployment_owns_the_check_while_it_runs(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    _becomes(consul, "passing")
    watched.configure(f"[hooks]\nafter_publish = [{{ run = '{watched.gate('held')}' }}]", consul="enabled = true")
    run = watched.begin("deploy", "v1.1.0")
    watched.reached("held")

    # Something happens that makes the monitor look, and it leaves the check alone.
    before, heard = (watched.path / "monitor.err").read_text(), answered(watched)
    watched.supervisorctl("stop", "web")
    assert watched.process()[0] == "STOPPED"
    # Of the stop it hears twice; once it has answered what comes after, it has looked.
    eventually(lambda: answered(watched) >= heard + 3, "the monitor has answered")
    assert _status(consul)[0] == "warning"
    assert (watched.path / "monitor.err").read_text() == before
    watched.open("held")
    assert ended(run) == 0
    _becomes(consul, "passing")


def test_monitor_survives_a_reload_and_a_consul_that_went_away(cold_host: Host) -> None:
    port = free_port()
    host = watched_host(cold_host, f"127.0.0.1:{port}")
    host.deploy("v1.0.0")
    host.reload()
    eventually(lambda: host.process("monitor")[0] == "RUNNING", "the monitor is back")
    host.agent("boot")

    consul = ConsulProcess(port=port)
    try:
        assert "v1.0.0" in _becomes(consul, "passing")
    finally:
        consul.close()


def test_events_are_answered_while_consul_hangs(own_consul: ConsulProcess, cold_host: Host) -> None:
    """The protocol by hand: far more events than a hung Consul would let through, each answered."""
    host = cold_host
    host.repository.release("v1.0.0")
    host.start()
    host.environment["CONSUL_HTTP_ADDR"] = own_consul.address
    host.configure(consul="enabled = true")
    host.deploy()
    own_consul.hang()
    event = "ver:3.0 server:supervisor serial:1 pool:monitor poolserial:1 eventname:TICK_5 len:15\nwhen:1201063880"

    command = [BIN / "release-agent", "monitor"]
    done = subprocess.run(
        command, input=event * 500, capture_output=True, text=True, env=host.environment, timeout=60, check=False
    )

    assert done.returncode == 0
    assert done.stdout == "READY\nRESULT 2\nOK" * 500 + "READY\n"


def test_maintenance_that_a_person_set_is_respected_and_shown(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    _becomes(consul, "passing")
    service = "release-agent:api:host-1"
    consul.put(f"/v1/agent/service/maintenance/{service}?enable=true&reason=new+disk", None)

    eventually(lambda: watched.rpc.release.getStatus()["maintenance"], "it is shown")
    watched.deploy("v1.1.0")
    assert f"_service_maintenance:{service}" in consul.get("/v1/agent/checks")
    consul.put(f"/v1/agent/service/maintenance/{service}?enable=false", None)
    eventually(lambda: not watched.rpc.release.getStatus()["maintenance"], "it is over")


def test_release_that_is_given_up_within_its_watch_is_taken_back_once(watched: Host, consul: ConsulProcess) -> None:
    watched.configure(health='[health]\nwatch = "10m"\ndeadline = "60s"\nstable_for = "100ms"', consul="enabled = true")
    watched.supervisorctl("restart", "monitor")
    watched.deploy("v1.0.0")
    watched.deploy("v1.1.0")

    crash(watched)

    eventually(lambda: watched.history()[0]["trigger"] == "watch" and watched.history()[0]["outcome"], "it was rolled back")
    assert (watched.history()[0]["outcome"], watched.serves()) == ("deployed", "v1.0.0")
    # What was brought back is not rolled back further, sick or not.
    crash(watched)
    eventually(lambda: "web is FATAL" in _status(consul)[1], "the monitor has seen it")
    looks_again(watched)
    assert [entry["trigger"] for entry in watched.history()] == ["watch", "command", "command"]


def test_release_whose_probe_fails_for_the_deadline_is_taken_back(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    watched.deploy("v1.1.0")
    watched.configure(health='[health]\nwatch = "10m"\ndeadline = "3s"\nstable_for = "0s"', consul="enabled = true")
    watched.supervisorctl("restart", "monitor")
    _becomes(consul, "passing")

    (watched.path / "sick").touch()

    eventually(lambda: watched.history()[0]["trigger"] == "watch", "it is rolled back")


def test_service_that_a_person_stopped_is_not_taken_back(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    watched.deploy("v1.1.0")
    watched.configure(health='[health]\nwatch = "10m"\ndeadline = "1s"\nstable_for = "0s"', consul="enabled = true")
    watched.supervisorctl("restart", "monitor")
    watched.supervisorctl("stop", "web")
    eventually(lambda: "web is STOPPED" in _status(consul)[1], "the monitor has seen it")

    for _ in range(2):  # looks, five seconds apart: the deadline is over
        looks_again(watched)

    assert [entry["trigger"] for entry in watched.history()] == ["command", "command"]
    assert watched.process()[0] == "STOPPED"


def test_journal_that_cannot_be_written_takes_no_well_host_out_of_consul(watched: Host, consul: ConsulProcess) -> None:
    log = watched.path / "monitor.err"
    watched.deploy("v1.0.0")
    eventually(lambda: '"passing"' in log.read_text(), "the monitor looks")
    (watched.root / ".release-agent" / "state.db").write_text("no database" * 1000)
    eventually(lambda: "journal.failed" in log.read_text(), "it cannot write it down")

    # A whole life of a check that nobody renews.
    consul.put("/v1/agent/check/register", {"Name": "abandoned", "TTL": "15s", "Status": "passing"})
    eventually(lambda: consul.get("/v1/agent/checks")["abandoned"]["Status"] == "critical", "it expired")

    assert _status(consul)[0] == "passing"


def test_release_that_turns_sick_is_left_alone_where_nothing_says_otherwise(watched: Host, consul: ConsulProcess) -> None:
    watched.deploy("v1.0.0")
    watched.deploy("v1.1.0")

    crash(watched)

    eventually(lambda: "web is FATAL" in _status(consul)[1], "the monitor has seen it")
    looks_again(watched)
    assert [entry["trigger"] for entry in watched.history()] == ["command", "command"]


class _Between:
    """What is watched, and goes live without the monitor's seeing it."""

    revision = "v1.0.0"

    def busy(self) -> bool:
        return False

    def live(self) -> Release:
        name = f"000001-{self.revision}"
        return Release(name, self.revision, Kind.TAG, {"api": "c0ffee"}, "f", State.HEALTHY, "2024-01-01T12:00:00Z")

    def look(self, _live: Release) -> Look:
        return Look({})

    def health(self, live: Release) -> Any:
        raise NotImplementedError(live)

    def target(self) -> Any:
        raise NotImplementedError

    def fire(self, method: str, trigger: str) -> str | None:
        raise NotImplementedError(method, trigger)


class _Unheard:
    def info(self, event: str, **told: object) -> None:
        """Nobody reads."""

    warning = error = info


def test_release_that_went_live_between_two_looks_and_was_not_registered_is_by_the_monitor(
    consul: ConsulProcess, tmp_path: Path
) -> None:
    config, between = configuration(environ={"RELEASE_AGENT_HOST": "host-1"}), _Between()
    agent = ConsulAgent(config.consul, config.app, {"CONSUL_HTTP_ADDR": consul.address})
    monitor = Monitor(between, lambda: StateDatabase(tmp_path / "state.db", write=True), agent, _Unheard(), never_ending())
    monitor.round()

    between.revision = "v1.1.0"
    monitor.round()

    assert "v1.1.0" in consul.get("/v1/agent/services")["release-agent:api:host-1"]["Tags"]


def test_metrics_are_served_to_prometheus(cold_host: Host, consul: ConsulProcess) -> None:
    port = free_port()
    with socket.create_server(("127.0.0.1", port)):  # whoever had the address before
        host = watched_host(cold_host, consul.address)
        host.configure(f'[metrics]\nlisten = "127.0.0.1:{port}"', consul="enabled = true")
        host.supervisorctl("restart", "monitor")
        host.deploy("v1.0.0")
        eventually(lambda: "metrics.refused" in (host.path / "monitor.err").read_text(), "it is told")
    _becomes(consul, "passing")
    host.supervisorctl("stop", "web")
    _becomes(consul, "critical")

    eventually(lambda: "metrics.served" in (host.path / "monitor.err").read_text(), "the address is had")
    with urllib.request.urlopen(f"http://127.0.0.1:{port}/metrics", timeout=60) as page:
        lines = page.read().decode().splitlines()

    assert 'release_agent_deployments_total{action="deploy",outcome="deployed",trigger="command"} 1.0' in lines
    assert 'release_agent_service_healthy{service="web"} 0.0' in lines
    assert "release_agent_unsent_reports 0.0" in lines
    assert any(line.startswith("release_agent_release_info{") and 'revision="v1.0.0"' in line for line in lines)
    assert any(line.startswith('release_agent_phase_seconds_count{phase="publish"}') for line in lines)


def test_what_moved_is_deployed_by_itself_and_what_failed_is_not_tried_again(watched: Host) -> None:
    watched.configure(revision='[revision]\npoll = "200ms"')
    watched.supervisorctl("restart", "monitor")
    eventually(lambda: watched.serves() == "v1.1.0", "the highest version is deployed")

    watched.repository.release("v1.2.0", "sick")
    eventually(lambda: watched.history()[0]["outcome"] == "rolled-back", "the sick one is rolled back")
    watched.agent("rollback", "v1.1.0")
    watched.repository.release("v1.3.0")
    eventually(lambda: watched.serves() == "v1.3.0" and watched.history()[0]["outcome"], "the next one is deployed")

    polled = [(entry["revision"], entry["outcome"]) for entry in watched.history() if entry["trigger"] == "poll"]
    assert polled == [("v1.3.0", "deployed"), ("v1.2.0", "rolled-back"), ("v1.1.0", "deployed")]
    assert "revision.resolved" not in (watched.path / "monitor.err").read_text(), "looks fill no log"


def test_what_a_stopping_container_kept_from_being_deployed_is_deployed_by_the_next_one(watched: Host) -> None:
    watched.deploy("v1.0.0")
    held = f"[ -e {watched.path}/held.open ] || {{ {watched.gate('held')}; }}"
    watched.configure(revision='[revision]\npoll = "200ms"', hooks=f"[hooks]\nbuild = [{{ run = '{held}' }}]")
    watched.supervisorctl("restart", "monitor")
    watched.reached("held")

    watched.stop()  # TERM to supervisord, as a container's engine does it
    watched.open("held")
    watched.start(boot=True)

    eventually(lambda: watched.serves() == "v1.1.0" and watched.history()[0]["outcome"], "it is deployed after all")
    assert [(entry["trigger"], entry["outcome"]) for entry in watched.history()] == [
        *(("poll", "deployed"), ("poll", "cancelled"), ("command", "deployed"))
    ]
