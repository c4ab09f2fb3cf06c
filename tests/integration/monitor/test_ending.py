"""``[monitor] exit_when``, under a real supervisord and with a real Consul."""

from __future__ import annotations

import json
import time
from datetime import datetime
from typing import TYPE_CHECKING, Any

from support.monitored import answered, crash, looks_again, watched_host
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.consul_process import ConsulProcess
    from support.host import Host

_BEYOND_HELP = '[monitor]\nexit_when = "fatal"\nexit_after = "{after}"'
# Runs beside the release, and belongs to none of its services.
_OTHER = "[program:other]\ncommand={command}\nautostart=true\nstartsecs={startsecs}\nstartretries=0"


def _host(host: Host, consul: ConsulProcess, after: str) -> Host:
    """Start a host on which v1.0.0 is live and healthy."""
    watched_host(host, consul.address, _BEYOND_HELP.format(after=after))
    assert host.deploy("v1.0.0").code == 0
    eventually(lambda: host.rpc.release.getStatus()["health"] == "passing", "the monitor has seen it")
    return host


def _events(host: Host) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (host.path / "monitor.err").read_text().splitlines()]


def _is_fatal(host: Host, program: str = "web") -> bool:
    return host.process(program)[0] == "FATAL"


def _given_up_for(host: Host, seconds: float) -> bool:
    info = host.rpc.supervisor.getProcessInfo("web")
    return bool(_is_fatal(host) and time.time() - max(info["start"], info["stop"]) > seconds)


def test_service_that_is_fatal_for_long_enough_ends_supervisord_in_order(cold_host: Host, consul: ConsulProcess) -> None:
    cold_host.services.append(_OTHER.format(command="sleep 1000", startsecs=1))
    host = _host(cold_host, consul, "1s")

    host.spoil(str(host.live()), "web.py", "raise SystemExit('no such database: orders')")
    crash(host)

    assert host.supervisord
    assert ended(host.supervisord) == 0
    (fired,) = [event for event in _events(host) if event["event"] == "exit.fired"]
    assert (fired["process"], fired["end"]) == ("web:web", "exit status 1")
    assert "no such database: orders" in fired["output"]
    check = consul.check("api")
    assert check["Status"] == "critical"
    assert check["Output"].startswith("the container ends ([monitor] exit_when): web FATAL for 1 s")
    log = (host.path / "supervisord.log").read_text()
    assert 0 < log.find("stopped: other") < log.find("stopped: monitor")
    assert "killing" not in log


def test_service_that_recovers_in_time_ends_nothing(cold_host: Host, consul: ConsulProcess) -> None:
    host = _host(cold_host, consul, "15s")
    crash(host)
    eventually(lambda: any("web is FATAL" in event.get("why", "") for event in _events(host)), "the monitor has seen it")
    given_up = host.rpc.supervisor.getProcessInfo("web")["stop"]

    host.spoil(str(host.live()), "behaviour", "ok")
    host.supervisorctl("start", "web")

    eventually(lambda: time.time() - given_up > 15, "its time would be over")
    looks_again(host)
    looks_again(host)
    assert host.process()[0] == "RUNNING"
    assert [event for event in _events(host) if event["event"] == "exit.fired"] == []


def test_program_that_is_no_service_of_the_release_ends_nothing(cold_host: Host, consul: ConsulProcess) -> None:
    cold_host.services.append(_OTHER.format(command="false", startsecs=1))
    host = _host(cold_host, consul, "1s")
    eventually(lambda: _is_fatal(host, "other"), "the other program is given up")

    looks_again(host)
    looks_again(host)

    assert host.process()[0] == "RUNNING"


def test_deployment_in_progress_has_its_time_and_its_end_begins_it_anew(cold_host: Host, consul: ConsulProcess) -> None:
    host = _host(cold_host, consul, "1s")
    host.configure(
        f"[hooks]\nbefore_publish = [{{ run = '{host.gate('held')}' }}]\n{_BEYOND_HELP.format(after='1s')}",
        consul="enabled = true",
    )
    run = host.begin("deploy", "v1.1.0")
    host.reached("held")

    crash(host)

    eventually(lambda: _given_up_for(host, 1), "its time would be over")
    heard = answered(host)
    eventually(lambda: answered(host) >= heard + 2, "the monitor has looked since")
    assert [event for event in _events(host) if event["event"] == "exit.fired"] == []
    host.open("held")
    assert ended(run) == 0
    assert (host.process()[0], host.serves()) == ("RUNNING", "v1.1.0")
    crash(host)
    assert host.supervisord
    assert ended(host.supervisord) == 0


def test_monitor_that_is_started_again_counts_from_what_supervisor_knows(cold_host: Host, consul: ConsulProcess) -> None:
    host = _host(cold_host, consul, "5s")
    host.supervisorctl("stop", "monitor")
    crash(host)
    eventually(lambda: _given_up_for(host, 5), "its time is over")
    given_up = host.rpc.supervisor.getProcessInfo("web")["stop"]
    before = len(_events(host))

    host.supervisorctl("start", "monitor")

    assert host.supervisord
    assert ended(host.supervisord) == 0
    # Its first look was enough: before it has said how the release is.
    fired, changed = _events(host)[before:]
    assert (fired["event"], changed["event"]) == ("exit.fired", "health.changed")
    assert datetime.fromisoformat(fired["since"]).timestamp() == given_up
