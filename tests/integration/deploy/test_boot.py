"""A container starts."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host

_FAST = '[health]\ndeadline = "2s"\nstable_for = "100ms"'


def test_new_container_deploys_the_newest_version_and_starts_its_services(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    host.repository.release("v1.1.0")

    host.start(boot=True)

    eventually(lambda: host.process("boot")[0] == "EXITED", "boot ended")
    assert host.serves() == "v1.1.0"
    assert host.history()[0]["trigger"] == "boot"
    assert host.status()["health"] == "passing"


def test_container_that_comes_back_starts_what_was_live_and_deploys_nothing(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.stop()
    host.start()

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], boot.json["release"]) == (0, "unchanged", live)
    assert host.serves() == "v1.0.0"
    assert len(host.history()) == 1


def test_boot_leaves_what_runs_well_alone(host: Host) -> None:
    host.deploy()
    _, pid = host.process()

    assert host.agent("boot").code == 0
    assert host.process()[1] == pid


def test_sick_newest_version_makes_boot_take_the_next_lower_one(host: Host) -> None:
    host.repository.release("v1.2.0", "sick")

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["revision"], boot.json["outcome"]) == (0, "v1.1.0", "deployed")
    assert [entry["outcome"] for entry in host.history()] == ["deployed", "rollback-failed"]
    assert host.serves() == "v1.1.0"


def test_refused_newest_version_makes_boot_take_the_next_lower_one(host: Host) -> None:
    host.repository.release("v1.2.0", **{"release.toml": "[nonsense]\n"})

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["revision"]) == (0, "v1.1.0")


def test_failed_release_that_is_live_is_started_if_boot_can_deploy_no_other(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0", "sick")
    host.start()
    failed = host.deploy().json["release"]
    host.stop()
    host.start()
    host.repository.path.rename(host.path / "away")

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["error"]["code"]) == (21, "repository-unreadable")
    assert (host.live(), host.releases()[failed]) == (failed, "failed")
    assert host.process()[0] == "RUNNING"


def test_nothing_that_can_be_deployed_is_twenty_one(cold_host: Host) -> None:
    host = cold_host
    host.start()

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], boot.json["error"]["code"]) == (21, "refused", "no-version")


def test_live_release_that_is_sick_stays_and_boot_says_so(host: Host) -> None:
    host.deploy("v1.0.0")
    live = host.deploy("v1.1.0").json["release"]
    host.configure(health=_FAST)
    (host.path / "sick").touch()

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"]) == (21, "rollback-failed")
    assert host.live() == live
    assert host.releases()[live] == "healthy"


def test_boot_waits_for_a_deployment_that_runs(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = '{host.gate('held')}' }}]")
    deployment = host.begin("deploy", "--json")
    host.reached("held")
    boot = host.begin("boot", "--json")
    eventually(lambda: _sleeps(boot.pid), "boot has tried to take the lock, and will again")

    host.open("held")

    assert ended(deployment) == 0
    assert ended(boot) == 0
    assert len(host.history()) == 1


def test_boot_that_waits_can_be_stopped(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = '{host.gate('held')}' }}]")
    deployment = host.begin("deploy")
    host.reached("held")
    boot = host.begin("boot", "--json")
    eventually(lambda: _listens(boot.pid), "boot takes TERM as a request")

    boot.send_signal(signal.SIGTERM)

    assert ended(boot) == 14
    host.open("held")
    assert ended(deployment) == 0


def _sleeps(pid: int) -> bool:
    """Whether a process is in clock_nanosleep(2), by proc(5); the agent sleeps only between two tries to take the lock."""
    return Path(f"/proc/{pid}/wchan").read_text() == "hrtimer_nanosleep"


def _listens(pid: int) -> bool:
    caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGTERM - 1) & 1)


def test_boot_that_was_killed_on_its_way_down_goes_on(host: Host) -> None:
    hooks = f"[hooks]\nafter_publish = [{{ run = '{host.gate('held')}' }}]\n"
    host.repository.release("v1.2.0", "sick", **{"release.toml": hooks + _FAST})
    boot = host.begin("boot")
    host.reached("held")
    boot.kill()
    boot.wait()
    host.open("held")

    again = host.agent("boot", "--json")

    assert (again.code, again.json["revision"]) == (0, "v1.1.0")
    assert host.serves() == "v1.1.0"
    assert [entry["outcome"] for entry in host.history()] == ["deployed", "rollback-failed", "rollback-failed"]


def test_supervisor_that_goes_away_during_the_first_deployment_is_no_reason_for_an_older_version(host: Host) -> None:
    host.configure(f"[hooks]\nafter_publish = [{{ run = '[ $RELEASE_ACTION = recover ] || {{ {host.gate('held')}; }}' }}]")
    host.supervisorctl("start", "boot")
    host.reached("held")

    host.stop()
    host.open("held")
    host.start(boot=True)

    eventually(lambda: host.process("boot")[0] == "EXITED", "boot ended")
    assert host.serves() == "v1.1.0"
    assert [(entry["revision"], entry["outcome"]) for entry in host.history()] == [("v1.1.0", "deployed")]
