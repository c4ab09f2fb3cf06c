"""A person protects or removes releases by name."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.host import Host


@pytest.fixture
def three(host: Host) -> tuple[Host, list[str]]:
    """A host with three releases, the last one live."""
    host.repository.release("v1.2.0")
    return host, [host.deploy(tag).json["release"] for tag in ("v1.0.0", "v1.1.0", "v1.2.0")]


def test_a_protected_release_outlives_those_that_keep_lets_go_until_it_is_unprotected(host: Host) -> None:
    host.config.write_text(host.config.read_text().replace("keep = 5", "keep = 1"))
    first = host.deploy("v1.0.0").json["release"]
    assert host.agent("protect", "v1.0.0").code == 0
    for minor in (2, 3, 4):
        host.repository.release(f"v1.{minor}.0")
        host.deploy(f"v1.{minor}.0")

    assert [one["release"] for one in host.agent("releases", "--json").json if one["protected"]] == [first]
    assert f"{first}  healthy   v1.0.0" in host.agent("releases").out
    assert "protected" in host.agent("releases").out
    assert host.agent("remove", first, "--json").json["error"]["code"] == "release-needed"
    assert host.agent("unprotect", first).code == 0
    assert first in host.agent("prune", "--json").json["removed"]


def test_a_release_that_nobody_needs_is_removed_by_name(three: tuple[Host, list[str]]) -> None:
    host, (first, *others) = three

    ran = host.agent("remove", "v1.0.0", "--json")

    assert (ran.code, ran.json) == (0, {"removed": [first]})
    assert sorted(host.releases()) == others
    assert host.agent("remove", "v1.0.0").code == 22


def test_the_live_release_is_never_removed_and_the_one_behind_it_only_if_that_is_said(three: tuple[Host, list[str]]) -> None:
    host, (first, second, third) = three

    refused = [host.agent("remove", name, "--json") for name in (second, third)]
    live = host.agent("remove", third, "--previous", "--json")

    assert [(ran.code, ran.json["error"]["code"]) for ran in (*refused, live)] == [(12, "release-needed")] * 3
    assert "`rollback` goes back to" in refused[0].json["error"]["message"]
    assert "is live" in live.json["error"]["message"]
    assert host.agent("remove", second, "--previous").code == 0
    assert host.agent("rollback", "--json").json["release"] == first


def test_a_release_in_which_a_process_works_is_not_removed(three: tuple[Host, list[str]]) -> None:
    host, (first, *_) = three
    with subprocess.Popen(["cat"], cwd=host.root / "releases" / first, stdin=subprocess.PIPE):
        assert "used by a process" in host.agent("remove", first, "--json").json["error"]["message"]

    assert host.agent("remove", first).code == 0


def test_what_a_killed_deployment_goes_back_to_is_neither_removed_nor_pruned(three: tuple[Host, list[str]]) -> None:
    host, (first, second, third) = three
    host.agent("rollback")
    held = f"[hooks]\nafter_deploy = [{{ run = '[ $RELEASE_ACTION != deploy ] || {{ {host.gate('held')}; }}' }}]"
    host.configure(held)
    host.config.write_text(host.config.read_text().replace("keep = 5", "keep = 1"))
    run = host.begin("deploy", "v1.0.0")
    host.reached("held")
    run.kill()
    run.wait()
    host.open("held")

    removed = host.agent("remove", second, "--json")

    assert (removed.code, removed.json["error"]["code"]) == (12, "release-needed")
    assert "killed" in removed.json["error"]["message"]
    assert host.agent("prune", "--json").json["removed"] == []
    assert sorted(host.releases()) == [first, second, third]
    assert host.agent("boot").code == 0
    assert host.agent("remove", second, "--previous").code == 0
