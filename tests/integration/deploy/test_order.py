"""The agent replaces one service after the other: services behind the first unhealthy one never get the release."""

from __future__ import annotations

import os
import re
import signal
from typing import TYPE_CHECKING

import pytest

from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host

IDLE = "import time\ntime.sleep(3600)\n"


def named(*names: str) -> str:
    """Return the agent's sections of services without probes."""
    return "".join(f'[[service]]\nname = "{name}"\n' for name in names)


@pytest.fixture
def many(cold_host: Host) -> Host:
    """A host with the services `first`, `web` and `last`, on v1.0.0."""
    host = cold_host
    host.repository.release("v1.0.0", **{"idle.py": IDLE})
    host.services = [host.service("first", "idle.py"), host.service("web"), host.service("last", "idle.py")]
    host.configure(service=named("first") + host.probed("10s") + "\n" + named("last"))
    host.start()
    assert host.deploy().code == 0
    return host


def pids(host: Host, *names: str) -> list[int]:
    return [host.process(name)[1] for name in names]


def test_services_behind_the_first_sick_one_keep_their_processes_and_those_before_it_come_back(many: Host) -> None:
    host = many
    first, web, last = pids(host, "first", "web", "last")
    host.repository.release("v1.2.0", "sick")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "unhealthy")
    assert host.process("last") == ("RUNNING", last)
    assert not {first, web} & set(pids(host, "first", "web"))
    assert (host.serves(), host.status()["health"]) == ("v1.0.0", "passing")
    how = [(event["service"], event["how"]) for event in ran.events("service.restarted")]
    assert how == [("first", "restart"), ("web", "restart"), ("first", "restart"), ("web", "restart"), ("last", "none")]


def test_service_that_supervisor_started_again_on_the_sick_release_is_restarted_by_the_rollback(many: Host) -> None:
    host = many
    host.repository.release("v1.2.0", "sick")
    gate = f"[ $RELEASE_ACTION = rollback ] || {{ {host.gate('held')}; }}"
    service = named("first") + host.probed("10s") + "\n" + named("last")
    host.configure(f"[hooks]\nafter_publish = [{{ run = '{gate}' }}]", service=service)
    (last,) = pids(host, "last")
    run = host.begin("deploy")
    host.reached("held")
    os.kill(last, signal.SIGKILL)
    eventually(lambda: host.process("last")[0] == "RUNNING" and host.process("last")[1] != last, "supervisor started it again")
    (on_the_sick_one,) = pids(host, "last")

    host.open("held")

    assert ended(run) == 20
    assert host.process("last")[1] != on_the_sick_one


def test_run_that_is_killed_between_two_services_is_finished_by_boot(many: Host) -> None:
    host = many
    host.repository.release("v1.1.0", **{"idle.py": IDLE})
    first, web, last = pids(host, "first", "web", "last")
    held = f"""[[service.probe]]\nexec = '[ "$RELEASE_ACTION" != deploy ] || {{ {host.gate("held")}; }}'\ntimeout = "10m"\n"""
    host.configure(service=named("first") + held + host.probed("10s") + "\n" + named("last"))
    run = host.begin("deploy")
    host.reached("held")
    between = pids(host, "first", "web", "last")
    run.kill()
    run.wait()
    host.open("held")

    boot = host.agent("boot", "--json")

    assert (between[0] != first, between[1:]) == (True, [web, last]), "the next one waits for the proof of this one"
    assert boot.code == 0, boot.err
    assert host.serves() == "v1.1.0"
    assert not {web, last} & set(pids(host, "web", "last"))
    assert [entry["outcome"] for entry in host.history()] == ["deployed", "deployed"]


def said(host: Host, what: str) -> list[str]:
    """Return the services of which supervisord's log says that they were ``spawned`` or ``stopped``, in order."""
    told = re.findall(rf"{what}: '?(first|web|last)\b", (host.path / "supervisord.log").read_text())
    return [str(service) for service in told]


def test_independent_service_does_not_wait_for_the_proof_of_another(many: Host) -> None:
    host = many
    host.repository.release("v1.1.0", **{"idle.py": IDLE})
    first, web, last = pids(host, "first", "web", "last")
    held = f"""[[service.probe]]\nexec = '{host.gate("held")}'\ntimeout = "10m"\n"""
    services = named("first") + held + host.probed("10s").replace('"web"', '"web"\nafter = []', 1)
    host.configure(service=services + "\n" + named("last") + 'after = ["first"]')
    run = host.begin("deploy")
    host.reached("held")
    between = pids(host, "first", "web", "last")

    host.open("held")

    assert ended(run) == 0
    assert (between[0] != first, between[1] != web, between[2]) == (True, True, last)
    assert host.process("last")[1] != last


def test_services_that_only_the_old_release_has_are_stopped_in_the_reverse_order(many: Host) -> None:
    host = many
    host.configure(service="")
    health = '[health]\nstable_for = "100ms"\n'
    host.repository.release("v1.1.0", **{"release.toml": health + named("first", "web", "last"), "idle.py": IDLE})
    host.repository.release("v1.2.0", **{"release.toml": health + named("web"), "idle.py": IDLE})
    host.deploy("v1.1.0")
    before = len(said(host, "stopped"))

    ran = host.deploy("v1.2.0")

    assert ran.code == 0, ran.err
    assert said(host, "stopped")[before:] == ["last", "first", "web"]
    assert [host.process(name)[0] for name in ("first", "web", "last")] == ["STOPPED", "RUNNING", "STOPPED"]


def test_dry_run_says_which_services_the_release_would_stop(many: Host) -> None:
    host = many
    host.configure(service="")
    host.repository.release("v1.1.0", **{"release.toml": named("first", "web", "last"), "idle.py": IDLE})
    host.deploy("v1.1.0")
    host.repository.release("v1.9.0", **{"release.toml": named("web")})

    told = host.agent("deploy", "--dry-run", "--json", "v1.9.0").json["services"]

    dropped = {service["service"]: service for service in told if service["why"] == "the release does not have it, so it stops"}
    assert set(dropped) == {"first", "last"}
    assert {service["loses_requests"] for service in dropped.values()} == {"yes"}


def test_boot_starts_services_in_their_order_and_all_of_them_also_if_one_is_not_healthy(many: Host) -> None:
    host = many
    host.supervisorctl("stop", "first", "web", "last")
    (host.path / "sick").touch()
    services = named("first") + 'after = ["last"]\n' + host.probed("10s").replace('"web"', '"web"\nafter = []', 1) + "\n"
    host.configure(service=services + named("last") + 'after = ["web"]', health='[health]\ndeadline = "2s"\nstable_for = "0s"')
    before = len(said(host, "spawned"))

    boot = host.agent("boot")

    assert boot.code == 21
    assert said(host, "spawned")[before:] == ["web", "last", "first"]
