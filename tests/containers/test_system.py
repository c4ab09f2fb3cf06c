"""The scenes of a system in real containers: several components that need each other, each with a supervisord of its own.

The tests look only from outside: at the answers of the front, at Consul, and at the status of the containers.
"""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import TYPE_CHECKING

from support.load import Load
from support.system import COMPONENTS, FRONT
from support.waiting import eventually

if TYPE_CHECKING:
    from support.system import System

BROKEN_AT_ONCE = "import no_such_module\n"
BROKEN_WHEN_LIVE = """
import os
VERSION = open("VERSION").read().strip()
def app(environ, start_response):
    well = "RELEASE_REHEARSAL" in os.environ or environ["PATH_INFO"] != "/health"
    start_response("200 OK" if well else "500 Not Well", [])
    return [VERSION.encode()]
"""


def everywhere(revision: str) -> dict[str, str]:
    return dict.fromkeys(COMPONENTS, revision)


def test_first_rollout_brings_everything_up_from_nothing(running: System) -> None:
    live = running.live()

    assert len(set(live.values())) == 1
    assert running.front() == (live["web-1"], live["web-1"])
    assert eventually(lambda: running.well("api") == {"10.77.77.31", "10.77.77.32"})
    box = running.container("worker-1")
    box.until("the worker has done a job", lambda: f"{live['worker-1']}: {{'version': '{live['api-1']}'" in box.log())


def test_containers_are_what_the_documentation_says(running: System) -> None:
    for name in COMPONENTS:
        box = running.container(name)
        assert box.inspect("{{.HostConfig.ReadonlyRootfs}}") == "true"
        assert box.execute("touch", "/repos/api/x", check=False).returncode != 0
        assert box.execute("touch", "/x", check=False).returncode != 0
        status = Path(f"/proc/{box.pid()}/status").read_text()
        bounding = int(next(line.split()[1] for line in status.splitlines() if line.startswith("CapBnd")), 16)
        assert bounding == sum(1 << bit for bit in (0, 1, 5, 6, 7))  # CHOWN, DAC_OVERRIDE, KILL, SETGID, SETUID
        doctor = box.execute("release-agent", "doctor", user="release", check=False)
        assert doctor.returncode == 0, doctor.stdout


def test_one_component_is_deployed_while_another_uses_it(system: System) -> None:
    before, tag = system.live()["web-1"], system.new()
    load = Load(FRONT, "api/hello")

    with load.running():
        for name in ("api-1", "api-2"):
            box = system.container(name)
            box.execute("supervisorctl", "release", "deploy", tag)
            box.until_done()

    assert load.lost == []
    assert {json.loads(answer)["version"] for answer in load.answers[-8:]} == {tag}
    live = system.live()
    assert live == {"api-1": tag, "api-2": tag, "web-1": before, "worker-1": before}


def test_whole_system_takes_a_version_under_load_in_the_order_of_requires(system: System) -> None:
    tag = system.new()
    load = Load(FRONT, "api/hello")

    with load.running():
        operator = system.begin("--waves", "1,100%", revision=tag)
        assert operator.end() == 0

    assert load.lost == []
    assert system.live() == everywhere(tag)
    assert system.front() == (tag, tag)
    assert [event["apps"] for event in operator.events("wave.started")] == [["api"], ["api"], ["web", "worker"]]
    assert {system.follows(app) for app in ("api", "web", "worker")} == {tag}


def test_broken_release_is_stopped_by_its_rehearsal_and_no_process_is_touched(system: System) -> None:
    before, since = system.live(), system.container("api-1").started_at("api")
    broken = system.new(api={"app.py": BROKEN_AT_ONCE})
    load = Load(FRONT, "api/hello")

    with load.running():
        failed = system.start(revision=broken)

    assert failed.code == 40
    assert {host["code"] for host in failed.json["hosts"] if host["app"] == "api"} == {"rehearsal-failed"}
    assert load.lost == []
    assert (system.live(), system.container("api-1").started_at("api")) == (before, since)


def test_release_that_is_not_well_when_live_is_taken_back_and_the_rest_is_untouched(system: System) -> None:
    before, since = system.live(), system.container("web-1").started_at("nginx")
    broken = system.new(api={"app.py": BROKEN_WHEN_LIVE})

    failed = system.start("--waves", "1,100%", "--revert", revision=broken)

    assert failed.code in (40, 41)
    assert system.container("api-1").outcomes(1) == [(broken, "rolled-back")]
    assert system.container("api-2").outcomes(1)[0][0] != broken
    assert (system.live(), system.container("web-1").started_at("nginx")) == (before, since)
    assert system.front() == (before["web-1"], before["api-1"])


def test_all_of_it_is_reverted(system: System) -> None:
    before = system.live()
    tag = system.new()
    done = system.start(revision=tag)
    assert (done.code, system.live()) == (0, everywhere(tag))

    reverted = system.rollout("revert", done.json["id"])

    assert (reverted.code, system.live()) == (0, before)
    assert system.front() == (before["web-1"], before["api-1"])


def test_component_killed_in_the_middle_is_started_again_with_its_volume_and_the_rollout_gone_on_with(system: System) -> None:
    before = system.live()
    tag = system.held_version()
    system.hold("api-1")
    operator = system.begin(revision=tag)
    system.held("api-1")

    operator.send(signal.SIGKILL)
    box = system.container("api-1")
    box.do("kill", "--signal", "KILL")
    box.do("start")
    box.until_done(["boot"])

    assert box.live() == (before["api-1"], "passing")
    system.let_go("api-1")
    lapsed = "the lock of the killed operator lapses"
    eventually(lambda: system.rollout("resume", operator.id).code != 44, lapsed, pause=0.5, looks=800)
    status = system.rollout("status", operator.id).json
    assert (status["phase"], system.live()) == ("completed", everywhere(tag)), json.dumps(status["hosts"])


def test_component_replaced_with_an_empty_volume_boots_to_what_the_fleet_follows(system: System) -> None:
    tag = system.follows("api")
    system.new()  # is tagged, and nobody rolled it out

    system.replace("api-2")

    box = system.container("api-2")
    box.until_done(["boot"])
    assert (box.live(), box.outcomes(5)) == ((tag, "passing"), [(tag, "deployed")])


def test_everything_replaced_comes_up_from_nothing_by_itself(system: System) -> None:
    tag = system.follows("api")

    for name in COMPONENTS:
        system.replace(name)

    for name in COMPONENTS:
        system.container(name).until_done(["boot"])
    assert system.live() == everywhere(tag)
    eventually(lambda: system.well("api") == {"10.77.77.31", "10.77.77.32"})
    assert system.front() == (tag, tag)


def test_host_whose_network_is_cut_is_left_behind_and_taken_along_when_it_is_back(system: System) -> None:
    tag = system.held_version()
    of_host_b = [system.container(name) for name in ("api-2", "consul-b")]
    system.hold("api-2")
    operator = system.begin("--max-unreachable", "1", "--deadline", "20s", revision=tag)
    system.held("api-2")
    for box in of_host_b:
        box.cut()
    try:
        assert operator.end() == 42
        assert system.stages(operator.id)["api-2"] == "unreachable"
        assert system.front() == (tag, tag)
    finally:
        for box in of_host_b:
            box.heal()
        system.let_go("api-2")
    of_host_b[0].until_done(["deploy"])

    assert system.live() == everywhere(tag)
    known = "the rollout knows that it is back"
    eventually(lambda: system.stages(operator.id)["api-2"] == "converged", known, pause=0.5, looks=800)


def test_rollout_goes_on_when_the_leader_of_consul_is_killed(system: System) -> None:
    tag = system.held_version()
    system.hold("api-1")
    operator = system.begin(revision=tag)
    system.held("api-1")
    leader = system.leader()
    box = system.container(leader)

    box.do("kill", "--signal", "KILL")
    try:
        eventually(lambda: system.leader() not in ("", leader), "another one leads")
        system.let_go("api-1")
        assert (operator.end(), system.live()) == (0, everywhere(tag)), json.dumps(operator.events())
        assert {system.follows(app) for app in ("api", "web", "worker")} == {tag}
    finally:
        box.do("start")


def test_tag_that_is_not_mirrored_yet_is_refused_with_nothing_changed(system: System) -> None:
    before = system.live()
    mirror = system.container("mirror")
    mirror.do("pause")
    tag = system.tag()
    refused = system.start(revision=tag)
    mirror.do("unpause")

    assert (refused.code, tag in refused.json["error"]["message"]) == (12, True)
    assert system.live() == before
    system.mirrored(tag)
    assert (system.start(revision=tag).code, system.live()) == (0, everywhere(tag))
