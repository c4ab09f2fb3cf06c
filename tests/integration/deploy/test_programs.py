"""Programs that come with a release: supervisord has exactly those of the live release."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.brought import allow_programs, file_of, groups, idle, pids, program, release
from support.fcgi import fcgi_program

if TYPE_CHECKING:
    from support.host import Host

NAMED = """programs = "supervisor.d/*.conf"
[[service]]
name = "web"
[[service.probe]]
http = "http://127.0.0.1:{port}/"
"""


@pytest.fixture
def bringing(cold_host: Host) -> Host:
    """A host whose supervisord has no services of its own, and takes programs from releases."""
    cold_host.configure(service="")
    return allow_programs(cold_host).start()


def test_first_release_brings_its_programs_and_they_are_started_proved_and_shown(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", program(host), idle(host, "worker"))

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"]) == (0, "deployed"), ran.err
    assert (host.serves(), groups(host)) == ("v1.0.0", {"web", "worker"})
    shown = {service["name"]: service["processes"][0]["state"] for service in host.status()["services"]}
    assert shown == {"web": "RUNNING", "worker": "RUNNING"}
    started = {each["name"]: each["autostart"] for each in host.rpc.supervisor.getAllConfigInfo()}
    assert (started["web"], started["worker"]) == (False, False), "supervisord alone would start them before boot has looked"
    assert "No config updates" in host.supervisorctl("reread").out


def test_programs_are_added_changed_and_removed_with_the_release_and_nothing_else_is(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", program(host), idle(host, "old"), idle(host, "worker"))
    assert host.deploy().code == 0
    release(host, "v1.1.0", program(host), idle(host, "new"), idle(host, "worker", "stopsignal=INT"))

    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert (host.serves(), groups(host)) == ("v1.1.0", {"web", "new", "worker"})
    (updated,) = ran.events("programs.updated")
    assert (updated["added"], updated["changed"], updated["removed"]) == (["new"], ["worker"], ["old"])
    assert "No config updates" in host.supervisorctl("reread").out
    assert "stopsignal=INT" in file_of(host).read_text()


def test_only_a_program_that_changed_is_restarted_if_the_others_are_not_to_be(bringing: Host) -> None:
    host = bringing
    host.configure(service='[[service]]\nname = "worker"\nrestart = "none"\n[[service]]\nname = "timer"\nrestart = "none"')
    release(host, "v1.0.0", idle(host, "worker"), idle(host, "timer"))
    assert host.deploy().code == 0
    before = pids(host)
    release(host, "v1.1.0", idle(host, "worker"), idle(host, "timer", "stopwaitsecs=9"))

    assert host.deploy().code == 0

    after = pids(host)
    assert after["worker"] == before["worker"]
    assert after["timer"] != before["timer"]


def test_dry_run_and_doctor_say_what_a_release_would_bring(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", fcgi_program(host), idle(host, "worker"), **{"release.toml": NAMED.format(port=host.port)})

    ran = host.deploy("--dry-run")
    found = {finding["check"]: finding for finding in host.agent("doctor", "--json").json}

    assert ran.code == 0, ran.err
    assert [(each["service"], each["loses_requests"]) for each in ran.json["services"]] == [("web", "no"), ("worker", "depends")]
    assert found["requests worker"]["level"] == "ok"
    assert (found["programs"]["level"], found["programs"]["message"]) == ("ok", "come with the release: web, worker")
    assert [finding for finding in found.values() if finding["level"] == "fault"] == []
    assert (groups(host), file_of(host).exists()) == (set(), False)


def test_doctor_finds_programs_that_a_deployment_would_be_refused_for(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "worker", "autorestart=maybe"))

    ran = host.agent("doctor", "--json")

    (found,) = [finding for finding in ran.json if finding["check"] == "programs"]
    assert (ran.code, found["level"]) == (30, "fault")
    assert "autorestart" in found["message"]


def test_status_tells_of_a_program_that_has_ended_though_no_service_names_it(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0

    host.supervisorctl("stop", "worker")

    ran = host.agent("status", "--json")
    assert (ran.code, ran.json["health"]) == (30, "critical")
    assert ran.json["services"][0]["processes"][0]["state"] == "STOPPED"


def test_deploying_the_live_revision_again_changes_nothing(bringing: Host) -> None:
    host = bringing
    release(host, "v1.0.0", idle(host, "worker"))
    assert host.deploy().code == 0
    before = pids(host)

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], pids(host)) == (0, "unchanged", before)
