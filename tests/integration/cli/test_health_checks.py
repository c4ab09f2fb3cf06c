"""The answers of the probes of examples/kubernetes in each state of a container, under a real supervisord."""

from __future__ import annotations

import signal
import subprocess
from typing import TYPE_CHECKING

from support import kubernetes
from support.environment import BIN
from support.waiting import ended, eventually

if TYPE_CHECKING:
    from support.host import Host

# Hosts of tests have no user of that name.
AS_RELEASE = "setpriv --reuid=release --regid=release --init-groups "


def _exit(host: Host, kind: str, *, within: float = 120) -> int | None:
    """Return how a probe ended; None if it did not within its time (seconds)."""
    command = [word.replace(AS_RELEASE, "") for word in kubernetes.probe(kind)]
    environment = host.environment | {"PATH": f"{BIN}:{host.environment['PATH']}"}
    try:
        # supervisorctl finds supervisord.conf in its directory, as it finds that of the image in /etc.
        return subprocess.run(
            command, cwd=host.path, env=environment, capture_output=True, check=False, timeout=within
        ).returncode
    except subprocess.TimeoutExpired:
        return None


def _states(host: Host) -> tuple[bool, bool, int]:
    """Return whether the container is alive, whether it is ready, and the exit code of `status`."""
    return _exit(host, "livenessProbe") == 0, _exit(host, "readinessProbe") == 0, host.agent("status").code


HEALTHY, UNPROVED, UNHEALTHY, MISCONFIGURED = (True, True, 0), (True, True, 30), (True, False, 30), (True, False, 10)


def test_probe_that_runs_what_a_release_says_runs_as_the_agents_user() -> None:
    assert kubernetes.probe("readinessProbe")[-1].startswith(AS_RELEASE + "release-agent status")


def test_container_is_alive_throughout_and_ready_from_its_first_healthy_release_on(host: Host) -> None:
    assert _states(host) == UNHEALTHY
    host.deploy("v1.0.0")
    assert _states(host) == HEALTHY

    host.supervisorctl("stop", "web")
    assert _states(host) == UNHEALTHY
    host.supervisorctl("start", "web")
    assert _states(host) == HEALTHY


def test_first_deployment_is_not_ready_and_its_container_is_alive(host: Host) -> None:
    host.configure(f"[hooks]\nbefore_publish = [{{ run = '{host.gate('built')}' }}]")
    run = host.begin("deploy", "v1.0.0")
    host.reached("built")

    assert _states(host) == UNHEALTHY

    host.open("built")
    assert ended(run) == 0


def test_deployment_leaves_a_container_ready_before_and_after_it_publishes(host: Host) -> None:
    host.deploy("v1.0.0")
    before, after = (f"[{{ run = '{host.gate(name)}' }}]" for name in ("built", "published"))
    host.configure(f"[hooks]\nbefore_publish = {before}\nafter_publish = {after}")
    run = host.begin("deploy", "v1.1.0")
    host.reached("built")
    assert _states(host) == HEALTHY
    host.open("built")
    host.reached("published")

    assert _states(host) == UNPROVED

    host.open("published")
    assert ended(run) == 0


def test_unhealthy_release_that_is_rolled_back_leaves_the_container_alive(host: Host) -> None:
    host.deploy("v1.0.0")
    host.repository.release("v1.2.0", "sick")
    host.configure(f"[hooks]\nbefore_rollback = [{{ run = '{host.gate('leaving')}' }}]")
    run = host.begin("deploy", "v1.2.0")
    host.reached("leaving")

    assert _states(host) == UNPROVED

    host.open("leaving")
    assert ended(run) == 20
    assert _states(host) == HEALTHY


def test_service_that_supervisor_gave_up_is_not_ready(host: Host) -> None:
    host.deploy("v1.0.0")
    host.spoil(str(host.live()), "behaviour", "crash")
    host.supervisorctl("restart", "web")
    eventually(lambda: host.process()[0] == "FATAL", "it is given up")

    assert _states(host) == UNHEALTHY


def test_configuration_that_is_wrong_is_not_ready(host: Host) -> None:
    host.deploy("v1.0.0")
    host.configure("[unknown]")

    assert _states(host) == MISCONFIGURED


def test_container_whose_supervisord_is_gone_or_answers_nothing_is_not_alive(host: Host) -> None:
    host.freeze()
    assert _exit(host, "livenessProbe", within=3) is None
    host.stop(signal.SIGKILL)
    assert _states(host) == (False, False, 30)
