"""Hooks and people leave foreign files in the root, and releases fill its disk."""

from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.host import SERVICE_PYTHON
from support.repositories import WEB
from support.roots import SHUT_DOWN, small_disk, small_ext4, small_xfs

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host


@pytest.fixture
def mounts(host: Host) -> Iterator[None]:
    """Take away what hooks mount."""
    yield
    mounted = [line.split()[1] for line in open("/proc/mounts", encoding="utf-8") if str(host.root) in line]  # noqa: PTH123, SIM115
    for place in mounted:
        subprocess.run(["umount", place], check=True)


@pytest.mark.needs("mount")
@pytest.mark.usefixtures("mounts")
@pytest.mark.parametrize("stage", ["build", "before_publish"])
def test_failed_hook_that_leaves_a_mount_is_a_failed_hook_and_boot_starts_what_is_live(host: Host, stage: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.configure(f"[hooks]\n{stage} = [{{ run = 'mkdir mounted; mount -t tmpfs none mounted; exit 3' }}]")

    ran = host.deploy("v1.1.0")
    assert (ran.code, ran.json["error"]["code"]) == (13, "hook-failed")

    assert (host.agent("boot").code, host.live(), host.serves()) == (0, live, "v1.0.0")
    host.configure()
    assert host.deploy("v1.1.0").code == 0


@pytest.fixture
def on_ext4(host: Host) -> Iterator[None]:
    """Lay the root on a real disk, and let go of what hooks made immutable on it."""
    with small_ext4(host.root, "8m", 400) as disk:
        disk.chmod(0o755)
        yield
        subprocess.run(["chattr", "-R", "-f", "-i", disk], check=False, stderr=subprocess.DEVNULL)
        host.stop()


@pytest.mark.needs("mount", "immutable")
@pytest.mark.usefixtures("on_ext4")
@pytest.mark.parametrize("stage", ["build", "before_publish"])
def test_failed_hook_that_leaves_an_immutable_file_is_a_failed_hook_and_boot_starts_what_is_live(host: Host, stage: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.configure(f"[hooks]\n{stage} = [{{ run = 'mkdir d; touch d/immutable; chattr +i d/immutable d; exit 3' }}]")

    ran = host.deploy("v1.1.0")
    assert (ran.code, ran.json["error"]["code"]) == (13, "hook-failed")

    assert (host.agent("boot").code, host.live(), host.serves()) == (0, live, "v1.0.0")
    host.configure()
    assert host.deploy("v1.1.0").code == 0


@pytest.mark.needs("mount", "immutable")
@pytest.mark.usefixtures("on_ext4")
@pytest.mark.parametrize("stage", ["build", "before_publish"])
def test_disk_that_dies_in_a_hook_fails_the_run_and_is_no_bug(host: Host, stage: str) -> None:
    assert host.deploy("v1.0.0").code == 0
    number, argument = SHUT_DOWN
    die = f"import fcntl, os; fcntl.ioctl(os.open('{host.root}', os.O_RDONLY), {number}, {argument!r})"
    (host.path / "die.py").write_text(die)
    host.configure(f"[hooks]\n{stage} = [{{ run = 'python3 {host.path}/die.py; exit 3' }}]")

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (13, "failed", "hook-failed"), ran.err
    for command in ("boot", "status", "history", "releases", "verify", "prune", "doctor", "rollback"):
        ended = host.agent(command)
        assert "Traceback" not in ended.err, ended.err
        assert ended.code != 1, command


def _about(host: Host) -> dict[str, tuple[str, str, str]]:
    """Return the state, time of publication and person of each release."""
    return {each["release"]: (each["state"], each["deployed_at"], each["by"]) for each in host.agent("releases", "--json").json}


@pytest.mark.needs("mount", "immutable")
@pytest.mark.usefixtures("on_ext4")
def test_swap_that_the_root_refuses_leaves_every_release_as_it_was(host: Host) -> None:
    host.deploy("v1.0.0")
    host.deploy("v1.1.0")
    host.repository.release("v1.2.0")
    staged = host.agent("stage", "--json", "v1.2.0").json["release"]
    assert host.agent("protect", "v1.2.0").code == 0
    before, live = _about(host), host.live()
    assert before[staged][0] == "staged"
    subprocess.run(["chattr", "+i", host.root], check=True)

    tried = [host.deploy("--by", "eve", revision) for revision in ("v1.2.0", "v1.0.0")]

    for ran in tried:
        assert (ran.code, ran.json["error"]["code"]) == (13, "root-unusable")
        assert f"cannot use {host.root}/current: " in ran.json["error"]["message"]
    assert (_about(host), host.live(), host.serves()) == (before, live, "v1.1.0")


@pytest.mark.parametrize(
    "run",
    [
        "rm -rf ../../incoming",
        "rm -rf $PWD",
        "mv ../../incoming ../../aside; ln -s {path}/elsewhere ../../incoming",
        "d=$PWD; mv $d $d-aside; ln -s {path}/elsewhere $d",
    ],
)
def test_build_hook_that_takes_its_directory_away_fails_the_build(host: Host, run: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    (host.path / "elsewhere").mkdir()
    (host.path / "elsewhere" / "precious").touch()
    host.configure(f"[hooks]\nbuild = [{{ run = '{run.format(path=host.path)}' }}]")

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"], host.live()) == (13, "build-failed", live)
    assert host.history()[0]["outcome"] == "failed"
    assert (host.path / "elsewhere" / "precious").exists()


@pytest.mark.parametrize("commits", ["nonsense", "[1]", "null", "[" * 100_000])
def test_unfinished_run_that_cannot_be_read_keeps_boot_from_nothing(host: Host, commits: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.rpc.supervisor.stopProcess("web")
    with sqlite3.connect(host.root / ".release-agent" / "state.db") as database:
        columns = "id, action, trigger, commits, started_at, stage"
        database.execute(f"INSERT INTO deployment ({columns}) VALUES ('x', 'deploy', 'rpc', ?, '', 'publishing')", (commits,))  # noqa: S608
    database.close()

    boot = host.agent("boot")

    assert (boot.code, host.live(), host.serves()) == (0, live, "v1.0.0"), boot.err
    assert [host.agent(command).code for command in ("status", "history", "deploy", "history", "verify")] == [0] * 5


def test_sick_release_whose_rollback_could_not_be_journaled_is_not_proved_again_by_boot(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.configure(f"[hooks]\nafter_publish = [{{ run = '[ $RELEASE_ACTION != deploy ] || {{ {host.gate('held')}; }}' }}]")
    deployment = host.begin("deploy", "v1.1.0")
    host.reached("held")
    deployment.kill()
    deployment.wait()
    host.open("held")
    # As it is left by a run that marked the release failed, could not journal that it reverts, and was killed.
    sick = host.live()
    assert sick != live
    note = host.root / ".release-agent" / "releases" / f"{sick}.json"
    note.write_text(note.read_text().replace('"state": "built"', '"state": "failed"'))

    assert (host.agent("boot").code, host.live(), host.serves()) == (0, live, "v1.0.0")


def test_stray_files_in_the_root_do_not_stop_a_deployment(host: Host) -> None:
    host.deploy("v1.0.0")
    own = host.root / ".release-agent"
    (own / "incoming" / "hook-x").touch()
    (own / "incoming" / "hook-1").write_bytes(b"\xff\xfe")
    os.mkfifo(own / "incoming" / "hook-2")
    (own / "releases" / "stray" / "inner").mkdir(parents=True)
    (host.root / "releases" / "stray").mkdir()
    (own / "releases" / "000009-0123456789ab.json").write_text('{"name": "../../x", "commits": [1]}')

    assert host.deploy("v1.1.0").json["outcome"] == "deployed"
    assert host.agent("boot").code == 0


DISKS = {
    "tmpfs": lambda place: small_disk(place, "8m", 400),
    "ext4": lambda place: small_ext4(place, "8m", 400),
    "xfs": small_xfs,
}


# Uses up a disk, to the last inode and the last byte.
USE_UP = """
import contextlib, itertools, os, threading, time
numbers = itertools.count()
def use_up():
    with contextlib.suppress(OSError):
        for number in numbers:
            open(f"{place}/{{number}}", "w").close()
    for size in (1 << 16, 1):
        with contextlib.suppress(OSError), open("{place}/0", "ab", buffering=0) as filler:
            while filler.write(bytes(size)) == size:
                pass
"""
# Takes at once what anybody else gives back, too.
KEEP_FULL = """
def keep_full():
    while True:
        use_up()
        time.sleep(0.01)
threading.Thread(target=keep_full, daemon=True).start()
"""


@pytest.fixture(params=DISKS)
def full_later(request: pytest.FixtureRequest, host: Host) -> Iterator[str]:
    """Lay the root on a small disk; returns a program's function ``use_up``."""
    with DISKS[request.param](host.root) as disk:
        disk.chmod(0o755)
        place = disk / "shared" / "data"
        place.mkdir(parents=True)
        place.chmod(0o777)
        yield USE_UP.format(place=place)
        host.stop()


@pytest.mark.needs("mount")
def test_sick_release_that_used_up_the_disk_is_rolled_back(host: Host, full_later: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.repository.release("v1.2.0", "sick", **{"web.py": full_later + KEEP_FULL + WEB})

    ran = host.deploy("v1.2.0")

    assert (ran.code, host.live(), host.serves()) == (20, live, "v1.0.0"), ran.out
    assert [entry["outcome"] for entry in host.history()] == ["rolled-back", "deployed"]
    assert host.agent("boot").code == 0


@pytest.mark.needs("mount")
def test_release_that_used_up_the_disk_after_it_was_proved_is_rolled_back_by_command(host: Host, full_later: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    assert host.deploy("v1.1.0").code == 0
    subprocess.run([SERVICE_PYTHON, "-c", f"{full_later}use_up()"], check=True)
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)):
        (host.root / "one-more").touch()
    with pytest.raises(OSError, match=os.strerror(errno.ENOSPC)), (host.root / "shared/data/0").open("ab", buffering=0) as file:
        file.write(bytes(4096))

    ran = host.agent("rollback", "--json")

    assert (ran.code, host.live(), host.serves()) == (0, live, "v1.0.0"), ran.out
    assert host.agent("boot").code == 0


def test_second_app_on_the_same_root_is_refused_and_changes_nothing(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.configure(app=f'[app]\nname = "other"\nenvironment = "test"\nroot = "{host.root}"')

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"], host.live()) == (13, "root-unusable", live)


@pytest.mark.parametrize("command", ["status", "releases", "verify", "deploy --dry-run", "doctor"])
def test_second_app_on_the_same_root_is_not_shown_the_releases_of_the_first(host: Host, command: str) -> None:
    host.deploy("v1.0.0")
    host.configure(app=f'[app]\nname = "other"\nenvironment = "test"\nroot = "{host.root}"')

    ran = host.agent(*command.split())

    assert ran.code == (30 if command == "doctor" else 13)
    assert "is the root of the app api, not of other" in ran.out + ran.err


@pytest.mark.parametrize("stage", ["after_publish", "after_deploy"])
@pytest.mark.parametrize("harm", ["ln -sfn releases/{live} {root}/current", "rm {root}/current", "rm -r $RELEASE_PATH"])
def test_hook_that_takes_the_new_release_out_of_service_is_rolled_back(host: Host, stage: str, harm: str) -> None:
    live = host.deploy("v1.0.0").json["release"]
    done = harm.format(live=live, root=host.root)
    host.configure(f"[hooks]\n{stage} = [{{ run = '[ $RELEASE_ACTION = rollback ] || {{ {done}; }}' }}]")

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"], host.live(), host.serves()) == (20, "hook-failed", live, "v1.0.0"), ran.out
