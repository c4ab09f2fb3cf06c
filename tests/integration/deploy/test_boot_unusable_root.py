"""A container with a healthy live release starts, and its root cannot be used: `boot` starts its services all the same."""

from __future__ import annotations

import subprocess
from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from support.repositories import listing
from support.roots import small_disk

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Host

MOVED = {
    "incoming": "mv $own/incoming $away; ln -s $away $own/incoming",
    "the notes": "mv $own/releases $away; ln -s $away $own/releases",
    "all of its own": "mv $own $away; ln -s $away $own",
    "the releases": "mv releases $away; ln -s $away releases",
    "the shared files": "mkdir $away; ln -sfn $away $own/shared",
}
REPLACED = {
    "incoming is a file": "rm -r $own/incoming; touch $own/incoming",
    "the notes are a file": "rm -r $own/releases; touch $own/releases",
    "the lock is a directory": "rm $own/lock; mkdir $own/lock",
    "the lock is a pipe": "rm $own/lock; mkfifo $own/lock",
}


def break_root(host: Host, how: str) -> None:
    """Deploy, stop the service as a container that ends does, and do something to the root."""
    assert host.deploy("v1.0.0").code == 0
    host.rpc.supervisor.stopProcess("web")
    subprocess.run(["sh", "-ec", f"own=.release-agent; away={host.path}/away; {how}"], cwd=host.root, check=True)


def refused(host: Host) -> dict[str, str]:
    """Return the error of a deployment, which changes nothing."""
    ran = host.deploy("v1.1.0")
    assert (ran.code, host.serves()) == (13, "v1.0.0")
    error: dict[str, str] = ran.json["error"]
    return error


@pytest.mark.parametrize("what", MOVED)
def test_boot_follows_no_link_and_starts_what_is_live(host: Host, what: str) -> None:
    break_root(host, MOVED[what])
    before = listing(host.path / "away")

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["outcome"], host.serves()) == (0, "unchanged", "v1.0.0")
    (warning,) = boot.events("recovery.failed")
    error = refused(host)
    assert (warning["why"], warning["hint"]) == (error["message"], error["hint"])
    assert listing(host.path / "away") == before


@pytest.mark.parametrize("what", REPLACED)
def test_boot_starts_what_is_live_and_deploys_again_after_the_hint_was_followed(host: Host, what: str) -> None:
    break_root(host, REPLACED[what])

    assert (host.agent("boot").code, host.serves()) == (0, "v1.0.0")
    error = refused(host)
    place = error["message"].removeprefix("cannot use ").partition(":")[0]
    assert error["hint"] == f"restore {place}, or remove it; the agent makes it again"

    subprocess.run(["rm", "-r", place], check=True)
    assert (host.deploy("v1.1.0").code, host.serves()) == (0, "v1.1.0")


@contextmanager
def read_only(host: Host) -> Iterator[None]:
    """Let nobody write into the root."""
    subprocess.run(["mount", "--bind", host.root, host.root], check=True)
    subprocess.run(["mount", "-o", "remount,ro,bind", host.root], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", host.root], check=True)


@pytest.mark.needs("mount")
def test_boot_starts_what_is_live_on_a_disk_that_cannot_be_written(host: Host) -> None:
    break_root(host, ":")
    with read_only(host):
        assert (host.agent("boot").code, host.serves()) == (0, "v1.0.0")
        assert "writable" in refused(host)["hint"]


@pytest.mark.needs("mount")
def test_boot_starts_what_is_live_on_a_full_disk_without_a_journal(host: Host) -> None:
    with small_disk(host.root, "8m", 400) as disk:
        disk.chmod(0o755)
        break_root(host, "rm $own/state.db*; i=0; while true 2>/dev/null >$i; do i=$((i+1)); done")

        assert (host.agent("boot").code, host.serves()) == (0, "v1.0.0")
        assert refused(host)["code"] == "disk-full"
        host.stop()


def test_boot_starts_nothing_in_the_root_of_another_app(host: Host) -> None:
    break_root(host, ":")
    host.configure(app=f'[app]\nname = "other"\nenvironment = "test"\nroot = "{host.root}"')

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["error"]["code"], host.serves()) == (13, "root-unusable", None)


def test_boot_with_nothing_live_says_why_the_root_cannot_be_used(host: Host) -> None:
    (host.root / ".release-agent").mkdir(parents=True)
    (host.root / ".release-agent" / "incoming").touch()

    boot = host.agent("boot", "--json")

    assert (boot.code, boot.json["error"]["code"]) == (13, "root-unusable")
