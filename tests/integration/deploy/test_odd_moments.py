"""Runs in unusual moments: signals, a disk that fails after the swap, an emptied journal."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.host import Host, Ran
from support.repositories import Repository
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from collections.abc import Callable

_FAST = '[health]\ndeadline = "2s"\nstable_for = "100ms"'


def test_killed_while_it_found_nothing_to_do_restarts_nothing(host: Host) -> None:
    host.deploy("v1.1.0")
    _, pid = host.process()
    host.configure(service=f"[[service]]\nname = 'web'\n[[service.probe]]\nexec = '{host.gate('looked')}'\ntimeout = '1m'")
    run = host.begin("deploy", "v1.1.0")
    host.reached("looked")
    run.kill()
    run.wait()
    host.open("looked")  # who asks for the status probes, too
    previous = host.status()["previous"]

    ran = host.deploy("v1.1.0")

    assert previous is None
    assert (ran.json["outcome"], host.process()[1]) == ("unchanged", pid)
    assert [entry["outcome"] for entry in host.history()] == ["unchanged", "cancelled", "deployed"]


def test_stopping_a_run_does_not_brand_a_release_that_was_proved_before(host: Host) -> None:
    one = host.deploy("v1.0.0").json["release"]
    two = host.deploy("v1.1.0").json["release"]
    host.configure(f"[hooks]\nafter_publish = [{{ run = '[ $RELEASE_ACTION = rollback ] || {{ {host.gate('held')}; }}' }}]")
    run = host.begin("deploy", "v1.0.0")
    host.reached("held")
    run.send_signal(signal.SIGTERM)

    assert ended(run) == 20
    assert (host.live(), host.releases()) == (two, {two: "healthy", one: "healthy"})
    host.configure()
    assert host.agent("rollback", "--json").json["release"] == one


def test_signal_to_the_whole_group_cancels_even_while_git_works(host: Host) -> None:
    slow = host.path / "bin"
    slow.mkdir()
    hold = f"touch {host.path}/in-git; while :; do sleep 0.05; done"
    script = f'#!/bin/sh\ncase "$*" in *read-tree*) {hold};; esac\nexec /usr/bin/git "$@"\n'
    (slow / "git").write_text(script)
    (slow / "git").chmod(0o755)
    environment = host.environment | {"PATH": f"{slow}:/usr/bin:/bin"}
    run = subprocess.Popen([BIN / "release-agent", "deploy"], env=environment, start_new_session=True, stderr=subprocess.DEVNULL)
    eventually((host.path / "in-git").exists, "git works")

    os.killpg(run.pid, signal.SIGTERM)

    assert ended(run) == 14
    assert host.history()[0]["outcome"] == "cancelled"
    assert host.leftovers() == []


def test_tag_that_moved_after_it_named_what_was_live_already_is_refused(host: Host) -> None:
    host.deploy("main")
    assert host.deploy("v1.1.0").json["outcome"] == "unchanged"
    host.repository.release(None)
    host.repository.git("tag", "-f", "v1.1.0")

    assert host.deploy("v1.1.0").json["error"]["code"] == "tag-moved"


@pytest.mark.needs("ptrace")
def test_disk_that_fails_right_after_the_swap_brings_the_old_release_back(host: Host) -> None:
    live = host.deploy("v1.0.0").json["release"]
    failing = [
        "strace",
        "-f",
        "-qq",
        "-o",
        "/dev/null",
        "-P",
        str(host.root),
        "-e",
        "trace=fsync",
        "-e",
        "inject=fsync:error=EIO:when=1",
    ]

    done = subprocess.run(
        [*failing, f"{BIN}/release-agent", "deploy", "v1.1.0"], env=host.environment, capture_output=True, check=False
    )

    assert done.returncode == 20, done.stderr
    assert (host.live(), host.serves()) == (live, "v1.0.0")


def test_release_that_a_service_still_runs_from_is_kept(host: Host) -> None:
    host.configure(
        app=f'[app]\nname = "api"\nenvironment = "test"\nroot = "{host.root}"\nkeep = 1',
        service='[[service]]\nname = "web"\nrestart = "none"',
    )
    first = host.deploy("v1.0.0").json["release"]
    for _ in range(3):
        assert host.deploy("--force", "v1.1.0").code == 0

    assert first in host.releases()
    assert host.serves() == "v1.0.0"


def test_service_that_only_the_failed_release_has_ends_with_it(cold_host: Host) -> None:
    host = cold_host
    extra = "[program:extra]\ncommand=/bin/sleep 1000\nautostart=false\nstartsecs=1\n"
    host.services = [host.service("web"), extra]
    web = f'[[service]]\nname = "web"\n[[service.probe]]\nhttp = "http://127.0.0.1:{host.port}/"\n'
    host.repository.release("v1.0.0", **{"release.toml": web})
    host.repository.release("v1.1.0", "sick", **{"release.toml": web + '[[service]]\nname = "extra"\n' + _FAST})
    host.configure(service="")
    host.start()
    host.deploy("v1.0.0")

    assert host.deploy("v1.1.0").code == 20
    assert host.process("extra")[0] == "STOPPED"
    assert host.serves() == "v1.0.0"


def test_hook_of_a_killed_run_ends_before_the_next_one_begins(host: Host) -> None:
    host.configure(f"[hooks]\nbuild = [{{ run = 'echo $$ > {host.path}/pid; {host.gate('held')}' }}]")
    run = host.begin("deploy")
    host.reached("held")
    hook = int((host.path / "pid").read_text())
    incoming = host.root / ".release-agent" / "incoming"
    eventually(lambda: any(note.read_text() for note in incoming.glob(f"hook-{hook}-*")), "it is written down that the hook runs")
    run.kill()
    run.wait()
    host.configure()

    ran = host.deploy()

    assert ran.code == 0
    assert ran.events("hook.ended")[0]["pid"] == hook
    eventually(lambda: not os.path.exists(f"/proc/{hook}/fd/0"), "it is gone")  # noqa: PTH110 - /proc


def test_journal_that_was_emptied_is_rebuilt_along_what_was_live(host: Host) -> None:
    one = host.deploy("v1.0.0").json["release"]
    host.deploy("v1.1.0")
    host.agent("rollback")
    host.repository.release("v1.2.0")
    host.deploy("v1.2.0")
    (host.root / ".release-agent" / "state.db").write_bytes(b"")

    assert host.agent("doctor").code == 30
    assert host.agent("doctor", "--repair").code == 0
    assert host.agent("rollback", "--json").json["release"] == one


def test_closed_output_does_not_end_a_deployment(host: Host) -> None:
    done = subprocess.run(["/bin/sh", "-c", f"exec {BIN}/release-agent deploy >&- 2>&-"], env=host.environment, check=False)

    assert done.returncode == 0
    assert host.serves() == "v1.1.0"


def test_address_that_is_no_supervisor_is_said_so(host: Host) -> None:
    for url in ("localhost:9001", f"http://127.0.0.1:{host.port}"):
        host.supervisorctl("start", "web")
        ran = host.deploy(SUPERVISOR_SERVER_URL=url)
        assert (ran.code, ran.json["outcome"]) == (13, "failed"), ran.err
        assert host.agent("doctor", SUPERVISOR_SERVER_URL=url).code == 30


def test_release_of_before_a_repository_was_added_is_verified_as_it_was_built(host: Host) -> None:
    host.configure(
        repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "app"',
        service="",
    )
    host.deploy()
    library = Repository(host.path / "repos" / "library")
    library.release("v1.1.0")
    host.configure(
        repository=f'[[repository]]\nname = "api"\npath = "{host.repository.path}"\ninto = "app"\n'
        f'[[repository]]\nname = "library"\npath = "{library.path}"\ninto = "library"',
        service="",
    )

    ran = host.agent("verify", "--json")

    assert (ran.code, ran.json["drift"]) == (0, [])


def _held_in_its_proof(host: Host) -> subprocess.Popen[str]:
    """Begin a deployment of v1.1.0 whose probe waits at the gate ``looked``."""
    host.deploy("v1.0.0")
    probe = f"[[service.probe]]\nexec = '{host.gate('looked')}'\ntimeout = '5m'"
    host.configure(service=f'[[service]]\nname = "web"\n{probe}')
    run = host.begin("deploy", "--json", "v1.1.0")
    host.reached("looked")
    return run


def _update(host: Host) -> None:
    """Change the section of the service, and let supervisor read it; that stops the service."""
    configuration = host.path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("stopwaitsecs=10\n", "stopwaitsecs=11\n"))
    assert "web: updated process group" in host.supervisorctl("update").out


@pytest.mark.parametrize("stopped_by", [_update, Host.reload], ids=["update", "reload"])
def test_service_that_supervisor_stops_unseen_during_its_proof_is_started_again(
    host: Host, stopped_by: Callable[[Host], None]
) -> None:
    run = _held_in_its_proof(host)
    stopped_by(host)
    assert host.process()[0] == "STOPPED"

    host.open("looked")
    out, err = run.communicate()

    assert (run.returncode, json.loads(out)["outcome"]) == (0, "deployed"), err
    assert (host.process()[0], host.serves()) == ("RUNNING", "v1.1.0")
    assert [event["how"] for event in Ran(0, out, err).events("service.restarted")] == ["restart", "none"]


def test_service_that_is_started_again_after_it_was_let_in_is_let_in_again(host: Host) -> None:
    host.deploy("v1.0.0")
    let_in = host.path / "let-in"
    commands = f"after_start = 'echo $RELEASE_REVISION >> {let_in}'"
    probe = f"[[service.probe]]\nexec = 'if [ -e {let_in} ]; then {host.gate('looked')}; fi'\ntimeout = '5m'"
    host.configure(service=f'[[service]]\nname = "web"\n{commands}\n{probe}')
    run = host.begin("deploy", "--json", "v1.1.0")
    host.reached("looked")  # in the proof of all services, after the service's own
    _update(host)

    host.open("looked")
    out, err = run.communicate()

    assert (run.returncode, json.loads(out)["outcome"]) == (0, "deployed"), err
    assert let_in.read_text() == "v1.1.0\n" * 2


def test_service_that_is_started_again_before_it_was_let_in_is_let_in_once(host: Host) -> None:
    host.deploy("v1.0.0")
    let_in, once = host.path / "let-in", host.path / "once"
    # The first look fails after the gate, so that the proof looks again, and finds the service stopped.
    fails_once = f"if [ ! -e {once} ]; then touch {once}; exit 1; fi"
    probe = f"[[service.probe]]\nexec = '{host.gate('looked')}; {fails_once}'\ntimeout = '5m'"
    host.configure(service=f'[[service]]\nname = "web"\nafter_start = "mkdir {let_in}"\n{probe}')
    run = host.begin("deploy", "--json", "v1.1.0")
    host.reached("looked")
    _update(host)

    host.open("looked")
    out, err = run.communicate()

    assert (run.returncode, json.loads(out)["outcome"]) == (0, "deployed"), err


def test_supervisord_that_is_replaced_unseen_during_a_proof_says_nothing_about_the_release(host: Host) -> None:
    run = _held_in_its_proof(host)
    host.stop(signal.SIGKILL)
    # Nobody adopts the old children; in a container they end with it.
    subprocess.run(["pkill", "-KILL", "-f", f"{host.root}/current/web.py"], check=False)
    host.start()

    host.open("looked")
    out, _ = run.communicate()

    assert (run.returncode, json.loads(out)["error"]["code"]) == (1, "interrupted"), out
    assert sorted(host.releases().values()) == ["built", "healthy"]
    assert host.agent("boot", "--json").code == 0
    assert host.serves() == "v1.1.0"
    assert set(host.releases().values()) == {"healthy"}
