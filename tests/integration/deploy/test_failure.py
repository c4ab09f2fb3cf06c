"""Unhealthy releases, and the rollback."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host


@pytest.mark.parametrize("behaviour", ["sick", "crash", "hang"])
def test_old_release_is_back_when_the_new_one_is_not_well(host: Host, behaviour: str) -> None:
    good = host.deploy("v1.1.0").json["release"]
    host.repository.release("v1.2.0", behaviour)
    if behaviour == "hang":  # who hangs is waited for no longer than this
        host.configure(service=host.probed("1s"))

    ran = host.deploy()

    code = "crash-looping" if behaviour == "crash" else "unhealthy"
    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (20, "rolled-back", code)
    assert (ran.json["revision"], ran.json["previous"]) == ("v1.2.0", good)
    assert host.live() == good
    assert host.serves() == "v1.1.0"
    assert host.releases() == {good: "healthy", ran.json["release"]: "failed"}
    assert host.status()["health"] == "passing"


def test_process_that_was_only_started_on_the_failed_release_runs_the_old_one_again(cold_host: Host) -> None:
    host = cold_host
    worker = "import time\nwhile True:\n    time.sleep(3600)\n"
    for tag, behaviour in {"v1.0.0": "ok", "v1.1.0": "sick"}.items():
        host.repository.release(tag, behaviour, **{"worker.py": worker})
    for name in ("stopped", "kept"):
        section = host.service(name, "worker.py").replace(f"{host.root}/current/", "")
        host.services.append(f"{section}directory={host.root}/current\n")
    host.configure(
        service="".join(f'[[service]]\nname = "{name}"\nrestart = "none"\n' for name in ("stopped", "kept")) + host.probed("10s")
    )
    host.start()
    good = host.deploy("v1.0.0").json["release"]
    host.supervisorctl("stop", "stopped")
    kept = host.process("kept")

    ran = host.deploy("v1.1.0")

    assert (ran.code, host.live(), host.status()["health"]) == (20, good, "passing")
    directory = Path(f"/proc/{host.process('stopped')[1]}/cwd").readlink()
    assert directory.name == good
    assert host.process("kept") == kept, "it has run the old release all the time"


def test_crashing_release_is_given_up_long_before_the_deadline(host: Host) -> None:
    host.configure(health='[health]\ndeadline = "10m"\nstable_for = "100ms"')
    host.deploy("v1.1.0")
    host.repository.release("v1.2.0", "crash")

    assert host.deploy().code == 20


def test_only_the_newest_failed_release_is_kept(host: Host) -> None:
    good = host.deploy("v1.1.0").json["release"]
    host.repository.release("v1.2.0", "sick")
    host.deploy()
    host.repository.release("v1.3.0", "sick")
    newest = host.deploy().json["release"]

    assert host.releases() == {good: "healthy", newest: "failed"}


def test_first_release_that_is_sick_stays_for_a_person_to_see(host: Host) -> None:
    host.repository.release("v1.2.0", "sick")

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (21, "rollback-failed", "nothing-behind")
    assert host.live() == ran.json["release"]
    assert host.releases() == {ran.json["release"]: "failed"}
    status = host.agent("status", "--json")
    assert (status.code, status.json["health"]) == (30, "critical")
    assert f"{status.json['current']['release']} failed when it was deployed" in status.json["health_why"]


def test_first_release_that_failed_is_built_again_by_the_next_try_but_not_by_a_boot(host: Host) -> None:
    build = f"[hooks]\nbuild = [{{ run = 'echo built >> {host.path}/built' }}]"
    host.configure(build, revision='[revision]\nfollow = "branch"')  # a boot tries no older version
    host.repository.release("v1.2.0", **{"release.toml": '[health]\ndeadline = "4s"\nstable_for = "100ms"\n'})
    (host.path / "sick").touch()
    first = host.deploy("v1.2.0").json
    assert first["error"]["code"] == "nothing-behind"
    assert host.agent("boot", "--json").json["release"] == first["release"]
    (host.path / "sick").unlink()

    planned, ran = host.deploy("--dry-run", "v1.2.0"), host.deploy("v1.2.0")

    assert (planned.json["build"], ran.code, ran.json["outcome"]) == (True, 0, "deployed")
    assert host.releases() == {first["release"]: "failed", ran.json["release"]: "healthy"}
    assert (host.path / "built").read_text() == "built\n" * 2


def test_sick_release_behind_a_failed_one_has_nothing_to_go_back_to(host: Host) -> None:
    host.repository.release("v1.2.0", "sick")
    host.deploy()
    host.repository.release("v1.3.0", "sick")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (21, "nothing-behind")
    assert host.live() == ran.json["release"]


def test_rollback_that_is_not_healthy_either_says_what_is_live_and_what_to_do(host: Host) -> None:
    good = host.deploy("v1.1.0").json["release"]
    host.repository.release("v1.2.0", "sick")
    host.configure(health='[health]\ndeadline = "2s"\nstable_for = "100ms"')
    (host.path / "sick").touch()  # something both need is gone

    ran = host.deploy()

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (21, "rollback-failed", "rollback-unhealthy")
    assert host.live() == good
    message = ran.json["error"]["message"]
    assert ran.json["release"] in message
    assert f"{good} (v1.1.0) was published again and is live" in message
    assert "answered 500, not 200" in message
    assert "release-agent" in ran.json["error"]["hint"]


def test_after_publish_hook_that_fails_brings_the_old_release_back(host: Host) -> None:
    good = host.deploy("v1.0.0").json["release"]
    host.configure('[hooks]\nafter_publish = [{ run = "[ $RELEASE_ACTION = rollback ]" }]')

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "hook-failed")
    assert host.live() == good


def test_after_deploy_hook_that_fails_is_a_failure_too(host: Host) -> None:
    good = host.deploy("v1.0.0").json["release"]
    host.configure('[hooks]\nafter_deploy = [{ run = "exit 9" }]')

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "hook-failed")
    assert "exited with 9" in ran.json["error"]["message"]
    assert host.live() == good
    assert host.releases()[ran.json["release"]] == "failed"


def test_live_release_that_a_restart_does_not_mend_is_rolled_back(host: Host) -> None:
    old = host.deploy("v1.0.0").json["release"]
    new = host.deploy("v1.1.0").json["release"]
    host.spoil(new, "behaviour", "crash")
    host.supervisorctl("restart", "web")

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["release"], ran.json["previous"]) == (20, new, new)
    assert host.live() == old
    assert host.releases() == {new: "failed", old: "healthy"}


def test_service_unknown_to_supervisor_is_refused_before_anything_is_built(host: Host) -> None:
    host.configure(service='[[service]]\nname = "wbe"')

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-unknown")
    assert host.live() is None
    assert host.releases() == {}


def test_agent_does_not_restart_itself(host: Host) -> None:
    host.configure(service='[[service]]\nname = "deploy"')

    assert host.deploy().json["error"]["code"] == "service-refused"


def test_single_program_of_a_group_is_refused(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    host.services = [host.service("web"), "[group:site]\nprograms=web\n"]
    host.start()

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "service-refused")
    assert 'name = "site"' in ran.json["error"]["hint"]


def test_supervisor_that_does_not_answer_leaves_everything_as_it_was(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]

    ran = host.deploy("v1.1.0", SUPERVISOR_SERVER_URL=f"unix://{host.path}/nobody.sock")

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (13, "failed", "supervisor-unreachable")
    assert host.live() == live


@pytest.mark.needs("mount")
def test_full_disk_is_refused_before_anything_is_built(host: Host) -> None:
    host.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=3m", "tmpfs", host.root], check=True)
    try:
        host.repository.release("v1.2.0", large="x" * 4_000_000)
        ran = host.deploy()
        assert (ran.code, ran.json["error"]["code"]) == (13, "disk-full")
        assert host.leftovers() == []
    finally:
        subprocess.run(["umount", "-l", host.root], check=True)


@pytest.mark.needs("mount")
def test_kept_release_needs_no_room_for_a_build(host: Host) -> None:
    host.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=12m,mode=0755", "tmpfs", host.root], check=True)
    try:
        live, staged = host.deploy("v1.0.0").json["release"], host.agent("stage", "v1.1.0", "--json").json["release"]
        free = os.statvfs(host.root)
        (host.root / "shared/uploads").write_bytes(bytes(free.f_bavail * free.f_frsize - (900 << 10)))

        again = host.deploy("v1.0.0")
        assert (again.code, again.json["outcome"], again.json["release"]) == (0, "unchanged", live), again.err
        ran = host.deploy("v1.1.0")
        assert (ran.code, host.live(), host.serves()) == (0, staged, "v1.1.0"), ran.err
    finally:
        subprocess.run(["umount", "-l", host.root], check=True)


@pytest.fixture
def short_of_room(host: Host) -> Iterator[tuple[Host, list[str]]]:
    """A host with three releases of 3 MiB, and no room for a fourth."""
    host.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=13m", "tmpfs", host.root], check=True)
    try:
        host.configure('[release]\nshare = "copy"')
        for minor in range(2, 7):
            host.repository.release(f"v1.{minor}.0", large=f"{minor}" * (3 << 20))
        yield host, [host.deploy(f"v1.{minor}.0").json["release"] for minor in (2, 3, 4)]
    finally:
        subprocess.run(["umount", "-l", host.root], check=True)


@pytest.mark.needs("mount")
def test_where_room_is_short_old_releases_go_first_and_that_is_said(short_of_room: tuple[Host, list[str]]) -> None:
    host, (first, *others) = short_of_room

    dry = host.deploy("v1.5.0", "--dry-run")
    assert (dry.code, dry.json["may_go"]) == (0, [first])
    ran = host.deploy("v1.5.0")

    assert ran.code == 0, ran.err
    (made,) = ran.events("room.made")
    assert (made["releases"], first in str(made["why"])) == ([first], True)
    assert sorted(host.releases()) == [*others, ran.json["release"]]


@pytest.mark.needs("mount")
def test_the_last_two_and_protected_releases_stay_however_short_the_room_is(short_of_room: tuple[Host, list[str]]) -> None:
    host, kept = short_of_room
    assert host.agent("protect", kept[0]).code == 0

    ran = host.deploy("v1.5.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "disk-full")
    assert sorted(host.releases()) == kept


@pytest.mark.needs("mount")
def test_disk_that_fills_during_the_build_leaves_nothing(host: Host) -> None:
    host.root.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=6m", "tmpfs", host.root], check=True)
    try:
        host.configure('[hooks]\nbuild = [{ run = "head -c 50000000 /dev/zero > filler" }]', service="")
        ran = host.deploy()
        assert (ran.code, ran.json["error"]["code"]) == (13, "hook-failed")
        assert "No space left" in ran.json["error"]["message"]
        assert host.leftovers() == []
        assert host.releases() == {}
        host.configure(service="")
        assert host.deploy().code == 0
    finally:
        subprocess.run(["umount", "-l", host.root], check=True)
