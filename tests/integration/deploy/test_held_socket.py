"""A deployment replaces an fcgi-program with one process and loses no request, because supervisord holds the socket."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.fcgi import SERVER, fcgi_program, refusal
from support.load import Load
from support.waiting import eventually

if TYPE_CHECKING:
    import subprocess

    from support.host import Host


@pytest.fixture
def listening(cold_host: Host) -> Host:
    """A host with a live release behind a socket of supervisord's."""
    host = cold_host
    host.services = [fcgi_program(host)]
    for number in range(6):
        host.repository.release(f"v1.{number}.0", **{"web.py": SERVER})
    host.start()
    assert host.deploy("v1.0.0").code == 0
    return host


def test_no_request_is_lost_over_deployments_and_a_rollback(listening: Host) -> None:
    load = Load(listening.port)

    with load.running():
        for number in range(1, 5):
            assert listening.deploy(f"v1.{number}.0").code == 0
        assert listening.agent("rollback").code == 0
        eventually(lambda: load.answers[-1] == "v1.3.0", "the release before answers")

    assert load.lost == []
    assert {"v1.0.0", "v1.1.0", "v1.2.0", "v1.3.0", "v1.4.0"} <= set(load.answers)


def test_no_request_is_lost_by_a_release_that_cannot_start(listening: Host) -> None:
    listening.repository.release("v2.0.0", **{"web.py": "import no_such_module\n"})
    load = Load(listening.port)

    with load.running():
        ran = listening.deploy("v2.0.0")
        eventually(lambda: load.answers[-1] == "v1.0.0", "the release before answers")

    assert (ran.code, ran.json["error"]["code"]) == (20, "crash-looping")
    assert load.lost == []


def test_socket_is_let_go_when_the_deployment_has_ended(listening: Host) -> None:
    assert listening.deploy("v1.1.0").code == 0

    listening.supervisorctl("stop", "web")

    assert listening.serves() is None
    assert "refused" in refusal(listening)


def test_socket_of_a_killed_deployment_is_let_go(listening: Host) -> None:
    run = in_the_middle(listening)

    run.kill()
    run.wait()
    listening.supervisorctl("stop", "web")

    eventually(lambda: "refused" in refusal(listening), "nobody holds the socket")


def test_group_can_be_removed_and_added_in_the_middle_of_a_deployment(listening: Host) -> None:
    run = in_the_middle(listening)
    configuration = listening.path / "supervisord.conf"
    configuration.write_text(configuration.read_text().replace("startretries=1", "startretries=2"))

    updated = listening.supervisorctl("update")

    assert "web: updated process group" in updated.out
    run.kill()
    run.wait()
    assert listening.agent("boot").code == 0
    assert listening.serves() == "v1.0.0"


def test_nobody_but_a_deployment_can_hold_a_socket(listening: Host) -> None:
    refused = listening.supervisorctl("release", "status")  # the plugin is there

    with pytest.raises(Exception, match="only a deployment"):
        listening.rpc.release.holdSocket("web")

    assert refused.code == 0


def in_the_middle(host: Host) -> subprocess.Popen[str]:
    """Begin a deployment whose service is started and does not answer."""
    host.path.chmod(0o777)
    mute = f"import time\nopen('{host.path}/starting.reached', 'w')\ntime.sleep(3600)\n"
    host.repository.release("v2.0.0", **{"web.py": mute, "release.toml": '[health]\ndeadline = "20s"\n'})
    run = host.begin("deploy", "v2.0.0")
    host.reached("starting")
    return run
