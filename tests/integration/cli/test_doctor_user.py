"""If root runs doctor, as `docker exec` does, its findings are about the user that deploys."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sysconfig
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from support.environment import clean_environment
from support.privileges import NOBODY
from support.repositories import Repository
from support.supervisors import own, started_as, supervising

if TYPE_CHECKING:
    from collections.abc import Mapping

    from support.host import Host

# A Python that every user may run; the tests' own may lie in somebody's home.
SYSTEM_PYTHON = "/usr/bin/python3"
STRANGER = 12345
DAEMON = 1
CONFIGURATION = """
[app]
name = "api"
environment = "test"
root = "{place}/root"
[[repository]]
name = "api"
path = "{place}/repos/api"
[consul]
enabled = false
"""


@pytest.fixture
def place(open_place: Path) -> Path:
    """A set-up in which everything is nobody's, or may be read by nobody."""
    Repository(open_place / "repos/api").commit({"app.py": "x"}, tag="v1.0.0")
    (open_place / "root").mkdir()
    os.chown(open_place / "root", NOBODY, NOBODY)
    (open_place / "agent.toml").write_text(CONFIGURATION.format(place=open_place))
    return open_place


INSTALLED = Path(sysconfig.get_path("purelib")) / "release_agent"  # `python -m pytest` would import the checkout


def doctor(place: Path, user: int | str = NOBODY, **environment: str) -> dict[str, dict[str, str]]:
    """Return what doctor finds, by check, where supervisor starts the agent's programs as ``user``."""
    programs = [own(verb, user=user) for verb in ("deploy", "boot", "monitor")]
    (place / "s.conf").write_text("[program:deploy]\nautorestart=false\n[program:boot]\nautorestart=false\n")
    with started_as(place, "-c", place / "s.conf") as pid, supervising(programs, pid=pid) as url:
        return ask_doctor(place / "agent.toml", clean_environment() | {"SUPERVISOR_SERVER_URL": url} | environment)


def ask_doctor(configuration: Path, environment: Mapping[str, str]) -> dict[str, dict[str, str]]:
    """Return what doctor finds, by check; the worst of a check stands for it."""
    modules = {"PYTHONPATH": str(INSTALLED.parent), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [SYSTEM_PYTHON, "-m", "release_agent", "--config", configuration, "doctor", "--json"],
        env=modules | environment,
        cwd="/",
        check=False,
        capture_output=True,
        text=True,
    )
    assert done.returncode in (0, 30), done.stderr
    found: list[dict[str, str]] = json.loads(done.stdout.splitlines()[-1])
    return {finding["check"]: finding for finding in sorted(found, key=lambda f: ("ok", "warning", "fault").index(f["level"]))}


def faults(found: dict[str, dict[str, str]]) -> dict[str, str]:
    return {check: finding["message"] for check, finding in found.items() if finding["level"] == "fault"}


def test_a_set_up_that_is_right_for_the_user_that_deploys_has_no_fault(place: Path) -> None:
    found = doctor(place)

    assert faults(found) == {}
    assert found["user"]["message"] == "checks as nobody, the user of the program deploy"


def test_a_root_directory_of_another_owner_is_a_fault(place: Path) -> None:
    os.chown(place / "root", 0, 0)

    found = faults(doctor(place))

    assert found["root"] == f"{place}/root is not writable"
    assert found["program deploy"] == f"runs as nobody, and {place}/root belongs to root"
    assert found["program boot"] == f"runs as nobody, and {place}/root belongs to root"
    assert found["monitor"] == f"runs as nobody, and {place}/root belongs to root"


def test_a_closed_root_directory_of_another_owner_is_fixed_by_one_edit_of_user(place: Path) -> None:
    os.chown(place / "root", DAEMON, DAEMON)
    (place / "root").chmod(0o700)

    found = doctor(place)

    assert faults(found)["root"] == f"{place}/root belongs to daemon and cannot be read by nobody"
    edit = "set user=daemon in [program:deploy]"
    assert {check: found[check]["hint"] for check in faults(found)} == {
        "root": edit,
        "journal": edit,
        "revision": edit,
        "program deploy": edit,
        "program boot": "set user=daemon in [program:boot]",
        "monitor": "set user=daemon in [eventlistener:monitor]",
    }


def test_a_user_that_supervisor_lets_in_no_more_is_found_before_root_becomes_it(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    host.root.mkdir()
    os.chown(host.root, DAEMON, DAEMON)
    host.deploy_settings = "user=nobody"
    host.start()  # its socket is root's alone

    found = ask_doctor(host.config, host.environment)

    assert faults(found)["program deploy"] == f"runs as nobody, and {host.root} belongs to daemon"
    for check in ("root", "supervisor", "program deploy"):
        assert found[check]["hint"] == "set user=daemon in [program:deploy]"


def test_the_right_user_whom_supervisor_does_not_let_in_needs_another_owner_of_the_socket(cold_host: Host) -> None:
    host = cold_host
    host.repository.release("v1.0.0")
    host.root.mkdir()
    os.chown(host.root, NOBODY, NOBODY)
    host.deploy_settings = "user=nobody"
    host.start()

    found = ask_doctor(host.config, host.environment)

    assert list(faults(found)) == ["supervisor"]
    assert found["supervisor"]["hint"] == ("set chmod=0770 and chown=root:GROUP in [unix_http_server], with a group of nobody")


def test_a_repository_that_only_root_may_read_is_a_fault(place: Path) -> None:
    (place / "repos/api").chmod(0o700)

    assert "cannot be read" in faults(doctor(place))["repository api"]


def test_a_configuration_that_only_root_may_read_is_a_fault(place: Path) -> None:
    (place / "agent.toml").chmod(0o600)

    assert faults(doctor(place)) == {"configuration": f"{place}/agent.toml cannot be read by nobody"}


def test_a_place_that_the_user_may_not_enter_is_a_fault_and_no_bug(place: Path) -> None:
    (place / "root/.release-agent").mkdir(mode=0o700)

    found = faults(doctor(place))

    assert found["root"].startswith(f"{place}/root/.release-agent")
    assert "cannot be read" in found["journal"]


def test_without_a_user_of_its_own_the_deploy_program_becomes_the_owner_of_the_root(place: Path) -> None:
    os.chown(place / "root", STRANGER, STRANGER)

    found = doctor(place, user="none")

    assert found["user"]["message"] == f"checks as {STRANGER}, who owns {place}/root"
    assert faults(found) == {}


@pytest.mark.parametrize(("user", "who"), [(NOBODY, "runs the program deploy"), ("none", "owns {place}/root")])
def test_an_agent_that_the_user_that_deploys_cannot_read_is_a_fault(place: Path, user: int | str, who: str) -> None:
    closed = place / "closed"
    closed.mkdir(mode=0o700)
    shutil.copytree(INSTALLED, closed / "release_agent")

    found = doctor(place, user=user, PYTHONPATH=f"{closed}:{INSTALLED.parent}")["user"]

    assert found["level"] == "fault"
    assert found["message"] == (
        f"cannot change from root to nobody, who {who.format(place=place)}: nobody cannot read "
        f"{closed}/release_agent/system/user.py, which this agent runs from; root does the other checks"
    )
    assert found["hint"].startswith("install Python and release-agent in a directory that nobody can read")


def test_where_supervisor_does_not_answer_doctor_looks_as_the_owner_of_the_root(place: Path) -> None:
    found = doctor(place, SUPERVISOR_SERVER_URL="unix:///nowhere")

    assert found["user"]["message"] == f"checks as nobody, who owns {place}/root"
    assert list(faults(found)) == ["supervisor"]


def test_every_part_of_the_set_up_has_a_line(place: Path) -> None:
    found: dict[str, Any] = doctor(place)

    assert {check: finding["level"] for check, finding in found.items()} == dict.fromkeys(
        [
            "user", "configuration", "root", "journal", "git", "repository api", "revision",
            "supervisor", "program deploy", "program boot", "monitor",
        ],
        "ok",
    )  # fmt: skip
