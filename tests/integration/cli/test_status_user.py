"""Exec probes are commands of a repository: the root user never runs them for another user, who owns the root directory."""

from __future__ import annotations

import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from support.host import Ran
from support.waiting import eventually

if TYPE_CHECKING:
    from support.host import Host

INSTALLED = Path(sysconfig.get_path("purelib")) / "release_agent"  # `python -m pytest` would import the checkout
# A Python that every user may run; the tests' own may lie in somebody's home.
SYSTEM_PYTHON = "/usr/bin/python3"
STRANGER = 12345
EXEC = '\n[[service.probe]]\nexec = \'id -u >> "$RELEASE_SHARED/users"\'\ntimeout = "10s"'


def agent(host: Host, *arguments: str, closed: Path | None = None) -> Ran:
    """Run a command as root; ``closed``: a directory that only root can read, and from which the agent is to run."""
    if closed:
        shutil.copytree(INSTALLED, closed / "release_agent", dirs_exist_ok=True)
        closed.chmod(0o700)
    path = [str(place) for place in (closed, INSTALLED.parent) if place]
    done = subprocess.run(
        [SYSTEM_PYTHON, "-m", "release_agent", *arguments],
        env=host.environment | {"PYTHONPATH": ":".join(path), "PYTHONDONTWRITEBYTECODE": "1"},
        cwd="/", capture_output=True, text=True, check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def users(host: Host) -> list[str]:
    """Return the users that have run the exec probe since the last call."""
    file = host.root / "shared/users"
    said = file.read_text().split() if file.exists() else []
    file.unlink(missing_ok=True)
    return said


@pytest.fixture
def live(host: Host) -> Host:
    """A container with a healthy release that has an exec probe, and whose root directory belongs to a stranger."""
    host.root.mkdir()
    for place in (host.root, host.path / "supervisor.sock"):
        os.chown(place, STRANGER, STRANGER)
    host.configure(service=host.probed("10s") + EXEC)
    ran = agent(host, "deploy", "v1.0.0")
    assert ran.code == 0, ran.err
    assert set(users(host)) == {str(STRANGER)}
    return host


def test_status_by_root_runs_the_probes_as_the_owner_of_the_root(live: Host) -> None:
    ran = agent(live, "status", "--json")

    assert (ran.code, ran.json["health"]) == (0, "passing"), ran.err
    assert users(live) == [str(STRANGER)]


def test_status_by_root_that_cannot_become_the_owner_answers_and_runs_no_command(live: Host, tmp_path: Path) -> None:
    ran = agent(live, "status", "--json", closed=tmp_path)

    assert (ran.code, ran.json["health"]) == (30, "critical"), ran.err
    assert ran.json["health_why"].endswith(
        f"not run, because this is the root user and {STRANGER} owns {live.root}; `release-agent doctor` shows what to fix"
    )
    assert [process["state"] for service in ran.json["services"] for process in service["processes"]] == ["RUNNING"]
    assert users(live) == []

    live.configure()
    assert agent(live, "status", closed=tmp_path).code == 0, "without an exec probe, root runs no command"


def test_boot_by_root_that_cannot_become_the_owner_starts_the_service_and_runs_no_command(live: Host, tmp_path: Path) -> None:
    live.supervisorctl("stop", "web")
    live.configure(service=live.probed("10s") + EXEC, health='[health]\ndeadline = "2s"\nstable_for = "100ms"')

    ran = agent(live, "boot", "--json", closed=tmp_path)

    assert ran.code == 21, ran.err
    eventually(lambda: live.serves() == "v1.0.0", "the service is started")
    assert "this is the root user" in ran.json["error"]["message"]
    (warning,) = ran.events("recovery.failed")
    assert warning["why"].startswith(f"cannot change from root to {STRANGER}, who owns {live.root}")
    assert users(live) == []

    live.supervisorctl("stop", "web")
    live.configure()
    assert (agent(live, "boot", closed=tmp_path).code, live.serves()) == (0, "v1.0.0")
