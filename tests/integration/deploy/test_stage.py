"""A staged release is built and rehearsed, and the live release stays until somebody deploys the staged one."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.tracing import killed_at
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host


def test_staged_release_is_kept_and_a_deployment_takes_it_as_it_is(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    process = host.process()

    staged = host.agent("stage", "--json", "v1.1.0")

    assert (staged.code, staged.json["outcome"]) == (0, "staged"), staged.err
    assert (host.live(), host.process(), host.serves()) == (live, process, "v1.0.0")
    assert host.releases() == {live: "healthy", staged.json["release"]: "staged"}
    assert host.history()[0]["action"] == "stage"
    ran = host.deploy("v1.1.0")
    assert (ran.code, ran.json["outcome"], ran.json["release"]) == (0, "deployed", staged.json["release"])
    assert "build" not in [phase["name"] for phase in ran.json["phases"]]
    assert host.serves() == "v1.1.0"
    assert set(host.releases().values()) == {"healthy"}


def test_staging_what_is_live_changes_nothing(host: Host) -> None:
    host.deploy()

    assert host.agent("stage", "--json").json["outcome"] == "unchanged"
    host.supervisorctl("stop", "web")
    for said in (host.agent("stage").out, host.supervisorctl("release", "stage").out):
        assert "is live already" in said
        assert "healthy" not in said


def test_only_the_newest_staged_release_is_kept(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.agent("stage", "v1.1.0")
    host.repository.release("v1.2.0")

    newest = host.agent("stage", "--json", "v1.2.0").json["release"]

    assert host.releases() == {live: "healthy", newest: "staged"}


def test_healthy_release_that_was_staged_counts_towards_keep_until_somebody_protects_it(host: Host) -> None:
    host.configure(app=f'[app]\nname = "api"\nenvironment = "test"\nroot = "{host.root}"\nkeep = 1', service="")
    old, _ = (host.deploy(version).json["release"] for version in ("v1.0.0", "v1.1.0"))
    assert host.agent("stage", "--json", "v1.0.0").json["release"] == old
    host.agent("protect", old)
    host.repository.release("v1.2.0")

    assert host.deploy("v1.2.0").code == 0
    protected = old in host.releases()
    host.agent("unprotect", old)
    host.agent("prune")

    assert (protected, old in host.releases()) == (True, False)


def test_staged_release_that_turns_out_unhealthy_is_rolled_back(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.repository.release("v1.2.0", "sick")
    staged = host.agent("stage", "--json", "v1.2.0").json["release"]

    assert host.deploy("v1.2.0").code == 20
    assert host.live() == live
    assert host.releases()[staged] == "failed"


@pytest.mark.needs("ptrace")
def test_deployment_of_a_staged_release_that_is_killed_before_the_swap_leaves_it_staged(host: Host) -> None:
    """Kill the deployment at its first, second, … fsync, until one has swapped."""
    host.configure(service="")
    host.deploy("v1.0.0")
    staged = host.agent("stage", "--json", "v1.1.0").json["release"]

    for nth in range(1, 100):
        with Path(os.devnull).open("r+") as nothing:
            killed_at("fsync", nth, ["release-agent", "deploy", "v1.1.0"], host.environment, [nothing.fileno()] * 3)
        if host.live() == staged:
            break
        assert host.agent("boot").code == 0
        assert host.releases()[staged] == "staged", nth
    else:
        pytest.fail("never swapped")
    assert nth > 1

    assert host.agent("boot").code == 0
    assert host.releases()[staged] == "healthy"


def test_staging_that_was_killed_leaves_nothing(host: Host) -> None:
    host.deploy("v1.0.0")
    host.repository.release("v1.2.0", **{"release.toml": f"[hooks]\nbefore_publish = [{{ run = '{host.gate('held')}' }}]\n"})
    run = host.begin("stage", "v1.2.0")
    host.reached("held")

    run.kill()
    run.wait()
    host.open("held")

    assert host.agent("boot").code == 0
    assert list(host.releases().values()) == ["healthy"]
    assert host.history()[0]["outcome"] == "cancelled"


def test_rollback_does_not_go_to_a_staged_release(host: Host) -> None:
    host.deploy("v1.0.0")
    host.agent("stage", "v1.1.0")

    ran = host.agent("rollback", "--json", "v1.1.0")

    assert (ran.code, ran.json["error"]["code"]) == (22, "release-failed")


def test_plugin_and_supervisorctl_stage(host: Host) -> None:
    host.deploy("v1.0.0")

    record = host.rpc.release.stage("v1.1.0", True)
    told = host.supervisorctl("release", "stage", "v1.1.0")

    assert record["outcome"] == "staged"
    assert told.code == 0
    assert "staged: v1.1.0 as " in told.out
    assert host.serves() == "v1.0.0"


REHEARSED = (
    '[[service]]\nname = "web"\n[service.rehearsal]\nenvironment = {{ PORT = "{{port}}" }}\ndeadline = "{deadline}"\n{probe}'
)


def test_hint_for_a_staged_release_that_was_damaged_is_to_build_it_again(host: Host) -> None:
    host.configure(service=REHEARSED.format(deadline="30s", probe=""))
    assert host.deploy("v1.0.0").code == 0
    staged = host.agent("stage", "--json", "v1.1.0").json["release"]
    host.spoil(staged, "web.py", "raise SystemExit(3)")

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"]) == (13, "rehearsal-failed")
    assert "release-agent deploy --force v1.1.0" in ran.json["error"]["hint"]
    assert host.deploy("--force", "v1.1.0").code == 0


@pytest.mark.parametrize("command", ["stop", "update"])
def test_copy_that_somebody_stops_is_not_the_fault_of_the_release(host: Host, command: str) -> None:
    host.configure(service=REHEARSED.format(deadline="10m", probe='[[service.rehearsal.probe]]\nexec = "false"\n'))
    run = host.begin("stage", "--json", "v1.1.0")
    eventually(lambda: "release-rehearsal" in host.supervisorctl("status").out, "the copy is there")
    if command == "stop":
        host.supervisorctl("stop", "deploy:release-rehearsal")
    else:
        file = host.path / "supervisord.conf"
        file.write_text(file.read_text().replace("stopwaitsecs=120", "stopwaitsecs=121"))
        host.supervisorctl("update", "deploy")

    out, _ = run.communicate()

    error = json.loads(out)["error"]
    assert (run.returncode, error["code"]) == (13, "rehearsal-failed")
    assert "somebody stopped its copy" in error["message"]
    assert "{port}" not in error["hint"]
