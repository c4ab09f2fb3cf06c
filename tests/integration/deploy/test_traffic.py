"""Commands around a replacement: the agent drains a service before its stop, and admits traffic after the proof."""

from __future__ import annotations

import json
import signal
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from support.host import Host

IDLE = "import time\ntime.sleep(3600)\n"
NOTE = """echo "$1 $RELEASE_REVISION $RELEASE_ACTION $RELEASE_SERVICE $RELEASE_PROCESS $RELEASE_PROCESS_NUM" >> "$2"\n"""


@pytest.fixture
def pair(cold_host: Host) -> Host:
    """A host with a service of two processes, whose commands note in a file what they are told; v1.0.0 is live."""
    host = cold_host
    version(host, "v1.0.0")
    section = host.service("web", "idle.py")
    host.services = [section + "numprocs=2\nprocess_name=%(program_name)s_%(process_num)02d\n"]
    host.configure(service="")
    host.start()
    assert host.deploy().code == 0
    noted(host)
    return host


def version(host: Host, tag: str, **settings: str) -> None:
    """Tag a version whose release.toml has the commands, unless the settings say otherwise."""
    commands = {f"{name}": f"sh ./note {name} {host.path}/noted" for name in ("before_stop", "after_start")} | settings
    service = '[[service]]\nname = "web"\n' + "".join(f'{name} = "{value}"\n' for name, value in commands.items())
    toml = '[health]\nstable_for = "100ms"\n' + service
    host.repository.release(tag, **{"release.toml": toml, "idle.py": IDLE, "note": NOTE})


def noted(host: Host) -> list[str]:
    """Return what was noted, and forget it."""
    file = host.path / "noted"
    lines = file.read_text().splitlines() if file.exists() else []
    file.unlink(missing_ok=True)
    return lines


def pids(host: Host) -> set[int]:
    return {host.process(f"web:web_0{number}")[1] for number in (0, 1)}


def test_each_process_is_taken_out_by_the_old_release_and_let_in_by_the_new_one(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", drain="300ms")
    host.deploy()
    noted(host)
    version(host, "v1.2.0")

    ran = host.deploy()

    assert ran.code == 0, ran.err
    assert noted(host) == [
        "before_stop v1.1.0 deploy web web_00 00",
        "before_stop v1.1.0 deploy web web_01 01",
        "after_start v1.2.0 deploy web web_00 00",
        "after_start v1.2.0 deploy web web_01 01",
    ]
    (drained,) = ran.events("service.draining")
    assert (drained["processes"], drained["seconds"]) == (["web:web_00", "web:web_01"], 0.3)
    stages = [hook["stage"] for hook in host.agent("history", ran.json["id"], "--json").json["hooks"]]
    assert stages == ["before_stop"] * 2 + ["after_start"] * 2


def test_after_start_that_fails_rolls_back_and_the_old_processes_are_let_in_again(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", before_stop="exit 4", after_start="echo no such balancer; exit 3")

    ran = host.deploy()

    error = ran.json["error"]
    assert (ran.code, error["code"]) == (20, "hook-failed")
    assert "web:web_00: the after_start hook `echo no such balancer; exit 3` exited with 3" in error["message"]
    assert "no such balancer" in error["message"]
    assert noted(host)[-2:] == ["after_start v1.0.0 rollback web web_00 00", "after_start v1.0.0 rollback web web_01 01"]
    assert [event["why"].split("\n")[0] for event in ran.events("hook.ignored")] == [
        f"web:web_0{number}: the before_stop hook `exit 4` exited with 4" for number in (0, 1)
    ]
    assert host.status()["health"] == "passing"


def test_release_that_is_not_healthy_is_left_without_a_drain(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", drain="300ms")
    host.deploy()
    toml = '[health]\ndeadline = "1s"\n[[service]]\nname = "web"\ndrain = "2s"\n[[service.probe]]\nexec = "false"\n'
    host.repository.release("v1.2.0", **{"release.toml": toml})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "unhealthy")
    assert [event["seconds"] for event in ran.events("service.draining")] == [0.3], "on the way there, not back"


def test_release_that_is_not_healthy_any_more_is_left_by_the_monitor_without_a_drain(pair: Host) -> None:
    host = pair
    sick, probe = host.path / "sick", f"[[service.probe]]\nexec = 'test ! -e {host.path}/sick'\n"
    toml = f'[health]\nstable_for = "0s"\n[[service]]\nname = "web"\ndrain = "300ms"\n{probe}'
    host.repository.release("v1.1.0", **{"release.toml": toml, "idle.py": IDLE})
    host.deploy()
    sick.touch()

    ended = host.rpc.release.rollback("", True, "watch")

    assert (ended["outcome"], ended["revision"]) == ("deployed", "v1.0.0"), ended["error"]
    assert "service.draining" not in (host.path / "deploy.err").read_text()
    sick.unlink()
    host.deploy()
    assert host.agent("rollback", "--json").events("service.draining"), "a healthy one is drained"


def test_before_stop_that_fails_rolls_back(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", before_stop="[ $RELEASE_ACTION = rollback ]")
    host.deploy()
    before = pids(host)
    live = host.live()
    version(host, "v1.2.0")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"], host.live()) == (20, "hook-failed", live)
    assert "web:web_00: the before_stop hook" in ran.json["error"]["message"]
    assert pids(host) == before, "what had begun to leave the traffic is let in, and nothing was stopped"
    assert noted(host)[-1] == "after_start v1.1.0 rollback web web_00 00"


def test_release_whose_before_stop_fails_can_be_left_and_condemns_no_other(pair: Host) -> None:
    host = pair
    good = host.live()
    version(host, "v1.1.0", before_stop="exit 9")
    host.deploy()
    version(host, "v1.2.0")

    refused = host.deploy()
    states = {release["revision"]: release["state"] for release in host.agent("releases", "--json").json}
    back = host.agent("rollback")
    live = host.live()
    host.deploy("v1.1.0")
    forced = host.deploy("v1.2.0", "--force")

    assert (refused.code, refused.json["error"]["code"]) == (20, "hook-failed")
    assert "`release-agent deploy --force`" in refused.json["error"]["hint"]
    assert "failed" not in states.values()
    assert (back.code, live) == (0, good), back.err
    assert (forced.code, forced.json["outcome"]) == (0, "deployed"), forced.err
    assert len(forced.events("hook.ignored")) == 2


def test_release_that_never_was_healthy_is_left_though_its_before_stop_fails(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web", "idle.py")]
    host.configure(service="")
    service = '[health]\nstable_for = "100ms"\ndeadline = "3s"\n[[service]]\nname = "web"\n'
    sick = 'before_stop = "exit 9"\n[[service.probe]]\nexec = "false"\n'
    host.repository.release("v1.0.0", **{"release.toml": service + sick, "idle.py": IDLE})
    host.repository.release("v1.1.0", **{"release.toml": service, "idle.py": IDLE})
    host.start()
    assert host.deploy("v1.0.0").json["error"]["code"] == "nothing-behind"
    _, before = host.process()

    ran = host.deploy("v1.1.0")

    assert (ran.code, len(ran.events("hook.ignored"))) == (0, 1), ran.err
    assert host.process()[1] != before
    assert set(host.releases().values()) == {"failed", "healthy"}


def test_service_that_no_command_lets_in_again_is_restarted_when_its_before_stop_has_run(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", before_stop="exit 9", after_start="")
    host.deploy()
    before = pids(host)
    version(host, "v1.2.0")

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "hook-failed")
    assert not before & pids(host)


def test_rolling_process_that_had_begun_to_leave_is_let_in_and_none_is_restarted(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", restart="rolling", before_stop="[ $RELEASE_ACTION = rollback ]")
    host.deploy()
    before = pids(host)
    version(host, "v1.2.0", restart="rolling")
    noted(host)

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "hook-failed")
    assert pids(host) == before
    assert noted(host)[-1] == "after_start v1.1.0 rollback web web_00 00"


def test_healthy_service_is_let_in_though_the_one_beside_it_is_sick_on_either_release(cold_host: Host) -> None:
    host = cold_host
    host.services = [host.service("web", "idle.py"), host.service("db", "idle.py")]
    noting = f'after = []\nafter_start = "sh ./note after_start {host.path}/noted"\n'
    probe = f'[[service.probe]]\nexec = "test ! -e {host.path}/broken"\n'
    services = f'[[service]]\nname = "web"\n{noting}[[service]]\nname = "db"\n{noting}{probe}'
    toml = f'[health]\nstable_for = "100ms"\ndeadline = "3s"\n{services}'
    host.configure(service="")
    for tag in ("v1.0.0", "v1.1.0"):
        host.repository.release(tag, **{"release.toml": toml, "idle.py": IDLE, "note": NOTE})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    (host.path / "broken").touch()
    noted(host)

    ran = host.deploy("v1.1.0")

    assert (ran.code, ran.json["error"]["code"]) == (21, "rollback-unhealthy")
    assert noted(host) == ["after_start v1.0.0 rollback web web 0"]


def test_service_that_the_new_release_drops_is_let_in_again_if_its_before_stop_fails(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", before_stop=f"echo out $RELEASE_PROCESS >> {host.path}/noted; test $RELEASE_PROCESS_NUM != 01")
    host.deploy()
    before = pids(host)
    noted(host)
    host.repository.release("v1.2.0", **{"release.toml": '[health]\nstable_for = "100ms"\n'})

    ran = host.deploy()

    assert (ran.code, ran.json["error"]["code"]) == (20, "hook-failed")
    assert noted(host) == [
        *("out web_00", "out web_01"),
        *(f"after_start v1.1.0 rollback web web_0{number} 0{number}" for number in (0, 1)),
    ]
    assert pids(host) == before


def test_service_is_let_in_and_goes_on_if_the_run_is_stopped_while_it_drains(pair: Host) -> None:
    host = pair
    version(host, "v1.1.0", drain="60s")
    host.deploy()
    before = pids(host)
    noted(host)
    version(host, "v1.2.0")
    run = host.begin("deploy", "--json")
    assert run.stderr
    for line in run.stderr:
        if "service.draining" in line:
            break
    run.send_signal(signal.SIGTERM)
    out, _ = run.communicate()

    assert (run.returncode, json.loads(out)["error"]["code"]) == (20, "cancelled")
    assert noted(host)[-2:] == [f"after_start v1.1.0 rollback web web_0{number} 0{number}" for number in (0, 1)]
    assert pids(host) == before
