"""Runs that are cancelled, killed, or lose their supervisor, and the runs that recover them."""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.repositories import WEB
from support.tracing import killed_at
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host


def _held(host: Host, stage: str, action: str = "deploy") -> None:
    """Hold the next deployment in a hook; recovery and rollback pass by."""
    host.configure(f"[hooks]\n{stage} = [{{ run = '[ $RELEASE_ACTION != {action} ] || {{ {host.gate('held')}; }}' }}]")


def _outcomes(host: Host) -> list[str | None]:
    return [entry["outcome"] for entry in host.history()]


def test_second_deployment_is_busy_at_once_and_says_with_what(host: Host) -> None:
    _held(host, "build")
    first = host.begin("deploy", "--json", "v1.0.0")
    host.reached("held")

    second = host.deploy()
    status = host.status()

    assert (second.code, second.json["outcome"], second.json["error"]["code"]) == (11, "busy", "busy")
    message = second.json["error"]["message"]
    told = re.search(rf"already running: (\S+) \(deploy v1\.0\.0, pid {first.pid}\), for \d+ s", message)
    assert told, message
    assert status["deployment"] == {"id": told[1], "phase": "hooks"}
    host.open("held")
    assert ended(first) == 0
    assert host.status()["deployment"] is None
    assert _outcomes(host) == ["deployed"]


def _terminated_in(host: Host, stage: str) -> int:
    """Send TERM to a deployment that a hook holds; returns its exit code."""
    _held(host, stage)
    run = host.begin("deploy", "--json")
    host.reached("held")
    run.send_signal(signal.SIGTERM)
    return ended(run)


def test_term_before_publish_cancels_and_leaves_nothing(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]

    assert _terminated_in(host, "build") == 14
    assert host.live() == live
    assert list(host.releases()) == [live]
    assert host.leftovers() == []
    assert _outcomes(host) == ["cancelled", "deployed"]
    assert host.history()[0]["error"]["code"] == "cancelled", "a person has stopped it"


def test_term_in_before_publish_removes_the_built_release(host: Host) -> None:
    assert _terminated_in(host, "before_publish") == 14
    assert host.releases() == {}
    assert host.live() is None


def test_term_after_publish_rolls_back(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]

    assert _terminated_in(host, "after_publish") == 20
    assert host.live() == live
    assert host.serves() == "v1.0.0"
    assert host.history()[0]["error"]["code"] == "cancelled"


def test_killed_before_publish_is_undone_by_the_next_deployment(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    _held(host, "build")
    run = host.begin("deploy")
    host.reached("held")
    run.kill()
    run.wait()
    host.configure()

    ran = host.deploy("v1.0.0")

    assert (ran.code, ran.json["outcome"], host.live()) == (0, "unchanged", live)
    assert _outcomes(host) == ["unchanged", "cancelled", "deployed"]
    assert host.history()[1]["error"]["code"] == "interrupted"
    host.open("held")
    assert host.leftovers() == []
    assert list(host.releases()) == [live]


def test_killed_after_publish_is_finished_by_boot_and_running_services_are_restarted(host: Host) -> None:
    host.deploy("v1.0.0")
    _, old_pid = host.process()
    _held(host, "after_publish")
    run = host.begin("deploy")
    host.reached("held")
    run.kill()
    run.wait()
    host.open("held")

    assert host.agent("boot").code == 0

    assert host.serves() == "v1.1.0"
    assert host.process()[1] != old_pid
    assert _outcomes(host) == ["deployed", "deployed"]
    assert set(host.releases().values()) == {"healthy"}


def test_killed_after_publishing_a_sick_release_is_rolled_back_by_boot(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.repository.release("v1.2.0", "sick")
    _held(host, "after_publish")
    run = host.begin("deploy")
    host.reached("held")
    run.kill()
    run.wait()
    host.open("held")
    assert host.status()["health"] == "warning", "it has published, and its outcome is open"

    boot = host.agent("boot", "--json")

    assert boot.code == 0, "something healthy is live, whatever recovery had to do"
    assert host.live() == live
    assert host.serves() == "v1.0.0"
    assert _outcomes(host) == ["rolled-back", "deployed"]


def test_killed_after_a_hook_spoilt_the_published_release_toml_is_rolled_back_by_boot(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    spoil = f"rm release.toml; mkfifo release.toml; {host.gate('held')}"
    host.configure(f"[hooks]\nafter_publish = [{{ run = '[ $RELEASE_ACTION != deploy ] || {{ {spoil}; }}' }}]")
    run = host.begin("deploy", "--json")
    host.reached("held")
    run.kill()
    ended(run)

    assert host.agent("boot").code == 0

    newest = host.history()[0]
    assert (newest["outcome"], newest["error"]["code"]) == ("rolled-back", "release-toml-invalid")
    assert (host.live(), host.serves()) == (live, "v1.0.0")


def test_killed_while_rolling_back_is_brought_back_by_the_next_run(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    host.repository.release("v1.2.0", "sick")
    _held(host, "after_publish", action="rollback")
    run = host.begin("deploy")
    host.reached("held")
    run.kill()
    run.wait()
    host.open("held")

    assert host.agent("boot").code == 0

    assert host.live() == live
    assert host.serves() == "v1.0.0"
    assert _outcomes(host) == ["rolled-back", "deployed"]
    assert sorted(host.releases().values()) == ["failed", "healthy"]


def test_boot_does_not_roll_back_a_release_that_was_proved_healthy_once(host: Host) -> None:
    host.deploy("v1.0.0")
    host.deploy("v1.1.0")
    _held(host, "after_publish", action="rollback")
    run = host.begin("rollback")
    host.reached("held")
    run.kill()
    run.wait()
    host.configure(health='[health]\ndeadline = "2s"\nstable_for = "100ms"')
    (host.path / "sick").touch()
    host.open("held")

    boot = host.agent("boot", "--json")

    assert boot.code == 21
    assert (host.root / "current" / "version").read_text() == "v1.0.0"
    assert host.history()[0]["outcome"] == "rollback-failed"


def _killed_after_its_proof(host: Host, revision: str) -> None:
    """Kill a deployment in ``after_deploy``; its recovery waits at the gate ``again`` in the same hook."""
    hook = f"if [ $RELEASE_ACTION = recover ]; then {host.gate('again')}; else {host.gate('held')}; fi"
    host.configure(f"[hooks]\nafter_deploy = [{{ run = '{hook}' }}]")
    run = host.begin("deploy", revision)
    host.reached("held")
    run.kill()
    run.wait()


@pytest.mark.parametrize("verb", ["boot", "deploy"])
def test_recovery_of_a_proved_release_that_is_stopped_leaves_it_live_and_to_the_next_run(host: Host, verb: str) -> None:
    host.deploy("v1.0.0")
    _killed_after_its_proof(host, "v1.1.0")
    proved = host.live()

    run = host.begin(verb, "--json")
    host.reached("again")
    run.send_signal(signal.SIGTERM)

    assert ended(run) == 14
    assert run.stdout
    assert json.loads(run.stdout.read())["error"]["code"] == "cancelled"
    assert (host.live(), host.serves()) == (proved, "v1.1.0")
    assert _outcomes(host) == [*(["cancelled"] if verb == "deploy" else []), None, "deployed"]
    host.open("again")
    assert host.agent("boot").code == 0
    assert _outcomes(host)[-2:] == ["deployed", "deployed"]


SLOW_TO_LEAVE = """\
import os, signal, time
def leave(*_):
    place = os.path.dirname(os.environ["SICK_FILE"])
    open(place + "/leaving.reached", "w").close()
    while not os.path.exists(place + "/leaving.open"):
        time.sleep(0.02)
    os._exit(0)
signal.signal(signal.SIGTERM, leave)
"""


def test_deployment_that_is_stopped_while_it_restarts_a_proved_release_leaves_no_service_down(host: Host) -> None:
    host.path.chmod(0o777)  # the service writes there
    host.repository.release("v1.2.0", **{"web.py": SLOW_TO_LEAVE + WEB})
    host.deploy("v1.0.0")
    _killed_after_its_proof(host, "v1.2.0")
    host.open("again")

    run = host.begin("deploy", "--json", "v1.1.0")
    host.reached("leaving")
    run.send_signal(signal.SIGTERM)
    host.open("leaving")

    assert ended(run) == 14
    assert (host.process()[0], host.serves()) == ("RUNNING", "v1.2.0")


def test_release_that_its_database_let_down_in_a_boot_is_still_the_one_that_a_rollback_goes_to(host: Host) -> None:
    host.repository.release("v1.2.0")
    host.deploy("v1.0.0")
    _killed_after_its_proof(host, "v1.1.0")
    host.configure(health='[health]\ndeadline = "2s"\nstable_for = "100ms"')
    (host.path / "sick").touch()
    assert host.agent("boot").code == 21
    (host.path / "sick").unlink()
    assert host.agent("boot").code == 0

    host.deploy("v1.2.0")

    assert host.status()["previous"]["revision"] == "v1.1.0"
    assert host.agent("rollback").code == 0
    assert host.serves() == "v1.1.0"


def test_supervisord_killed_before_publish_leaves_what_is_live(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    _held(host, "build")
    host.supervisorctl("start", "deploy")
    host.reached("held")

    host.stop(signal.SIGKILL)
    host.open("held")

    # Its stdout is closed by now; it ends, and says so in the journal.
    eventually(lambda: _outcomes(host)[0], "the deployment ended")
    assert host.history()[0]["error"]["code"] == "supervisor-unreachable"
    assert _outcomes(host) == ["failed", "deployed"]
    assert host.live() == live
    assert list(host.releases()) == [live]


@pytest.mark.parametrize("arguments", [["deploy", "v1.1.0"], ["stage", "v1.1.0"]], ids=lambda arguments: arguments[0])
def test_who_follows_a_run_is_told_that_supervisord_was_killed_and_where_the_end_is_told(
    host: Host, arguments: list[str]
) -> None:
    host.deploy("v1.0.0")
    _held(host, "build", arguments[0])
    command = [BIN / "supervisorctl", "-c", host.path / "supervisord.conf", "release", *arguments]
    follower = subprocess.Popen(command, env=host.environment, stdout=subprocess.PIPE, text=True)
    host.reached("held")
    holder = host.status()["deployment"]["id"]

    host.stop(signal.SIGKILL)
    assert ended(follower) == 1

    assert follower.stdout
    *_, said = follower.stdout.read().splitlines()
    assert re.fullmatch(
        rf"release: supervisord has gone \(.+\); when it runs again, `release-agent history {holder}` shows how this run ended",
        said,
    )
    host.open("held")
    eventually(lambda: host.agent("history", holder, "--json").json["outcome"], "the orphaned run ended")


def test_supervisord_killed_after_publish_is_finished_when_it_is_back(host: Host) -> None:
    host.deploy("v1.0.0")
    _held(host, "after_publish")
    host.supervisorctl("start", "deploy")
    host.reached("held")
    holder = host.status()["deployment"]["id"]

    host.stop(signal.SIGKILL)
    host.open("held")
    eventually(lambda: host.status()["deployment"] is None, "the orphaned deployment ended")
    open_entry = host.history()[0]
    # Nobody adopts the old children; in a container they end with it.
    subprocess.run(["pkill", "-KILL", "-f", f"{host.root}/current/web.py"], check=False)
    host.start()
    boot = host.agent("boot", "--json")

    assert (open_entry["id"], open_entry["outcome"]) == (holder, None)
    assert boot.code == 0, boot.err
    assert _outcomes(host) == ["deployed", "deployed"]
    assert host.serves() == "v1.1.0"


@pytest.mark.parametrize("stage", ["build", "after_publish"])
def test_container_stopped_in_the_middle_comes_up_whole_and_nothing_is_marked_sick(host: Host, stage: str) -> None:
    host.deploy("v1.0.0")
    _held(host, stage)
    host.supervisorctl("start", "deploy")
    host.reached("held")

    host.stop()  # TERM to supervisord, as a container's engine does it
    host.open("held")
    host.start(boot=True)

    eventually(lambda: host.process("boot")[0] == "EXITED", "boot ended")
    assert host.serves() == ("v1.0.0" if stage == "build" else "v1.1.0")
    stopped = host.history()[0]
    if stage == "build":
        assert (stopped["outcome"], stopped["error"]["code"]) == ("cancelled", "interrupted"), "nobody has stopped the deployment"
        assert stopped["error"]["message"] == "stopped by SIGTERM, and supervisor is shutting down"
    else:
        assert stopped["outcome"] == "deployed"
    assert set(host.releases().values()) == {"healthy"}
    assert host.agent("status").code == 0


def test_reader_of_stdout_that_goes_away_changes_nothing(host: Host) -> None:
    command = f"(exec 2>&1; {BIN}/release-agent deploy; echo $? > {host.path}/code) | true"

    done = subprocess.run(["/bin/sh", "-c", command], env=host.environment, check=False)

    assert done.returncode == 0
    assert (host.path / "code").read_text().strip() == "0"
    assert _outcomes(host) == ["deployed"]


@pytest.mark.needs("ptrace")
@pytest.mark.parametrize("call", ["rename", "fsync", "symlink", "unlink"])
def test_killed_at_any_call_the_next_deployment_ends_well(host: Host, call: str) -> None:
    """Kill the agent at the first, second, … call of a kind, until one run has no such call left."""
    host.configure(service="")
    live = host.deploy("v1.0.0").json["release"]
    kills = 0
    for nth in range(1, 200):
        revision = "v1.1.0" if host.live() == live else "v1.0.0"
        with Path(os.devnull).open("r+") as nothing:
            command = ["release-agent", "deploy", "--force", revision]
            code = killed_at(call, nth, command, host.environment, [nothing.fileno()] * 3)
        current = host.root / "current"
        assert (current / "version").read_text() in ("v1.0.0", "v1.1.0"), f"current is whole after kill {nth}"
        if code == 0:
            break
        kills += code == -signal.SIGKILL  # else it was a git of its own that was killed
        again = host.deploy(revision)
        assert again.code == 0, again.err
        assert (current / "version").read_text() == revision
        assert host.leftovers() == []
    else:
        pytest.fail("never got through")
    assert kills, "the agent was never killed"
    assert None not in _outcomes(host)
    assert set(host.releases().values()) == {"healthy"}
