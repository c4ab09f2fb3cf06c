"""Hooks of failures: before a rollback, and after a failed run."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from support.host import Host


def hooks(host: Host, **stages: str) -> None:
    """Configure hooks, one for each stage."""
    host.configure("[hooks]\n" + "".join(f"{stage} = [{{ run = '{command}' }}]\n" for stage, command in stages.items()))


def noting(host: Host, name: str) -> str:
    """Return a command that writes what it sees into a file."""
    return f"{{ pwd; env -0; }} > {host.path}/{name}"


def seen(host: Host, name: str) -> dict[str, str]:
    """Return what :meth:`noting` has written: variables, and the working directory as ``PWD``."""
    _, _, variables = (host.path / name).read_text().partition("\n")
    return dict(line.split("=", 1) for line in variables.split("\0") if line.startswith(("RELEASE_", "PWD=")))


def place(host: Host, release: str) -> str:
    return f"{host.root}/releases/{release}"


# before_rollback


def test_rollback_by_command_runs_the_hook_of_the_release_that_is_left(host: Host) -> None:
    old, new = (host.deploy(tag).json["release"] for tag in ("v1.0.0", "v1.1.0"))
    hooks(host, before_rollback=noting(host, "seen"))

    ran = host.agent("rollback", "--json")

    assert (ran.code, host.live()) == (0, old), ran.err
    found = seen(host, "seen")
    assert (found["PWD"], found["RELEASE_NAME"], found["RELEASE_TARGET"]) == (place(host, new), new, old)
    assert (found["RELEASE_ACTION"], found["RELEASE_REVISION"]) == ("rollback", "v1.1.0")


def test_rollback_by_command_is_refused_by_the_hook_and_nothing_has_changed(host: Host) -> None:
    host.deploy("v1.0.0")
    live = host.deploy("v1.1.0").json["release"]
    process = host.process()
    hooks(host, before_rollback="echo rows would be lost; exit 3", after_failure=noting(host, "seen"))

    ran = host.agent("rollback", "--json")

    assert (ran.code, ran.json["outcome"], ran.json["error"]["code"]) == (13, "failed", "hook-failed")
    assert "rows would be lost" in ran.json["error"]["message"]
    assert (host.live(), host.process(), set(host.releases().values())) == (live, process, {"healthy"})
    assert not (host.path / "seen").exists(), "nothing had begun to change"


def test_automatic_rollback_goes_on_if_the_hook_fails(host: Host) -> None:
    old = host.deploy("v1.0.0").json["release"]
    host.repository.release("v1.2.0", "sick")
    hooks(host, before_rollback=f"{noting(host, 'seen')}; exit 3")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"], host.live()) == (20, "unhealthy", old)
    found = seen(host, "seen")
    assert (found["PWD"], found["RELEASE_TARGET"]) == (place(host, ran.json["release"]), old)
    (ignored,) = ran.events("hook.ignored")
    assert "exited with 3" in ignored["why"]


def test_rollback_by_the_monitor_goes_on_if_hooks_fail(host: Host) -> None:
    old, new = (host.deploy(tag).json["release"] for tag in ("v1.0.0", "v1.1.0"))
    hooks(
        host,
        before_rollback=f"{noting(host, 'seen')}; exit 3",
        after_publish="exit 4",
        after_deploy=f"touch {host.path}/after_deploy",
        after_failure=f"touch {host.path}/after_failure",
    )

    ended = host.rpc.release.rollback("", True, "watch")

    assert (ended["outcome"], host.live(), host.serves()) == ("deployed", old, "v1.0.0"), ended["error"]
    found = seen(host, "seen")
    assert (found["PWD"], found["RELEASE_TARGET"]) == (place(host, new), old)
    ignored = [json.loads(line) for line in (host.path / "deploy.err").read_text().splitlines() if "hook.ignored" in line]
    assert [event["why"].rpartition(" ")[2] for event in ignored] == ["3", "4"]
    assert not list(host.path.glob("after_*"))


def test_live_release_that_is_restarted_runs_no_hook_of_a_rollback(host: Host) -> None:
    host.deploy("v1.0.0")
    host.supervisorctl("stop", "web")
    hooks(host, before_rollback="exit 3")

    assert host.agent("rollback", "1").code == 0


# after_failure


def test_release_that_was_rolled_back_is_told_of_with_its_error(host: Host) -> None:
    host.deploy("v1.0.0")
    host.repository.release("v1.2.0", "sick")
    hooks(host, after_failure=f"{noting(host, 'seen')}; exit 3")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "unhealthy")
    found = seen(host, "seen")
    assert (found["RELEASE_OUTCOME"], found["RELEASE_ERROR_CODE"]) == ("rolled-back", "unhealthy")
    assert found["RELEASE_ERROR"] == ran.json["error"]["message"]
    assert (found["PWD"], found["RELEASE_REVISION"]) == (place(host, ran.json["release"]), "v1.2.0")
    assert ["exited with 3" in event["why"] for event in ran.events("hook.ignored")] == [True]
    assert host.history()[0]["outcome"] == "rolled-back"


def test_first_build_that_fails_is_told_of_in_the_root(host: Host) -> None:
    hooks(host, build="exit 7", after_failure=noting(host, "seen"))

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"], host.releases()) == (13, "hook-failed", {})
    found = seen(host, "seen")
    assert (found["PWD"], found["RELEASE_OUTCOME"], found["RELEASE_ERROR_CODE"]) == (str(host.root), "failed", "hook-failed")
    assert "the build hook" in found["RELEASE_ERROR"]
    assert "exited with 7" in found["RELEASE_ERROR"]
    assert (found["RELEASE_NAME"], found["RELEASE_REVISION"]) == (ran.json["release"], "v1.1.0")


def test_failure_is_told_of_where_the_directory_of_the_repository_is_not_yet(host: Host) -> None:
    host.deploy("v1.0.0")
    live = host.live()
    assert live
    host.configure(repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "api"', service="")
    hooks = f"[hooks]\nbuild = [{{ run = 'exit 7' }}]\nafter_failure = [{{ run = '{noting(host, 'seen')}' }}]\n"
    commit = host.repository.release("v1.2.0", **{"release.toml": hooks})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (13, "hook-failed")
    found = seen(host, "seen")
    assert (found["PWD"], found["RELEASE_ERROR_CODE"], found["RELEASE_COMMIT"]) == (place(host, live), "hook-failed", commit)


def test_build_that_fails_is_told_of_in_the_live_release_by_its_own_script(host: Host) -> None:
    toml = '[health]\nstable_for = "100ms"\n[hooks]\nafter_failure = [{ run = "sh ./tell" }]\n'
    tell = f"echo $RELEASE_REVISION $RELEASE_OUTCOME > {host.path}/told"
    host.repository.release("v1.2.0", **{"release.toml": toml, "tell": tell})
    host.deploy()
    host.repository.release("v1.3.0", **{"release.toml": toml + 'build = [{ run = "exit 7" }]\n', "tell": tell})

    ran = host.deploy()

    assert (ran.code, (host.path / "told").read_text()) == (13, "v1.3.0 failed\n")


def test_cancelled_deployment_is_told_of(host: Host) -> None:
    hooks(host, build=host.gate("held"), after_failure=noting(host, "seen"))
    run = host.begin("deploy")
    host.reached("held")

    run.terminate()

    assert run.wait(60) == 14
    assert seen(host, "seen")["RELEASE_OUTCOME"] == "cancelled"


def test_run_that_recovery_had_to_roll_back_is_told_of(host: Host) -> None:
    host.deploy("v1.0.0")
    host.repository.release("v1.2.0", "sick")
    gate = f"[ $RELEASE_ACTION != deploy ] || {{ {host.gate('held')}; }}"
    hooks(host, after_publish=gate, after_failure=noting(host, "seen"))
    run = host.begin("deploy")
    host.reached("held")
    run.kill()
    run.wait()
    host.open("held")

    assert host.agent("boot").code == 0

    assert seen(host, "seen")["RELEASE_OUTCOME"] == "rolled-back"


def test_nothing_is_told_of_a_run_that_went_well_or_was_refused(host: Host) -> None:
    hooks(host, after_failure=noting(host, "seen"))

    assert (host.deploy("v1.0.0").code, host.deploy("v9.9.9").code) == (0, 12)
    assert not (host.path / "seen").exists()
