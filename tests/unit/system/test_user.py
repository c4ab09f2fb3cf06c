"""A command that root runs changes to another user."""

from __future__ import annotations

import json
import os
import pwd
import shutil
import subprocess
from pathlib import Path
from typing import Any

import pytest

import release_agent
from release_agent.system import user
from support.privileges import unprivileged

BECOME = """
import json, os, sys
from pathlib import Path
from release_agent.errors import ReleaseError
from release_agent.system.user import become_owner
try:
    told = {"name": become_owner(Path(sys.argv[1]))}
except ReleaseError as error:
    told = error.to_json()
print(json.dumps(told | {"users": os.getresuid(), "groups": [*os.getresgid(), os.getgroups()], "home": os.environ["HOME"]}))
"""
# A Python that every user may run; the tests' own may lie in somebody's home.
SYSTEM_PYTHON = "/usr/bin/python3"
STRANGER = 12345


@pytest.fixture
def modules(open_place: Path) -> Path:
    """A directory with the agent, which every user may read."""
    shutil.copytree(Path(release_agent.__file__).parent, open_place / "modules/release_agent")
    return open_place / "modules"


def become_owner(place: Path, modules: Path, *, without: str = "") -> dict[str, Any]:
    """Have another process become the owner of a place; return who it is then. ``without``: capabilities it lacks."""
    environ = {"HOME": "/root", "PYTHONPATH": str(modules), "PYTHONDONTWRITEBYTECODE": "1"}
    lacking = ["setpriv", f"--bounding-set={without}"] if without else []
    command = [*lacking, SYSTEM_PYTHON, "-c", BECOME, place]
    # Not in the checkout, which Python would take the agent from.
    done = subprocess.run(command, env=environ, cwd="/", capture_output=True, check=True, text=True, extra_groups=[])
    told: dict[str, Any] = json.loads(done.stdout)
    return told


def test_root_becomes_the_owner_of_where_it_works(tmp_path: Path, modules: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER + 1)

    assert become_owner(tmp_path, modules) == {
        "name": str(STRANGER),
        "users": [STRANGER] * 3,
        "groups": [*[STRANGER + 1] * 3, []],
        "home": "/",
    }


def test_root_becomes_a_user_of_the_machine_with_their_home_and_groups(tmp_path: Path, modules: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, STRANGER)

    assert become_owner(tmp_path, modules) == {
        "name": "nobody",
        "users": [nobody.pw_uid] * 3,
        "groups": [*[nobody.pw_gid] * 3, os.getgrouplist("nobody", nobody.pw_gid)],
        "home": nobody.pw_dir,
    }


def test_where_root_owns_all_it_stays_root(tmp_path: Path, modules: Path) -> None:
    root = {"name": None, "users": [0, 0, 0], "groups": [0, 0, 0, []], "home": "/root"}

    assert become_owner(tmp_path, modules) == root
    assert become_owner(tmp_path / "nowhere", modules) == root


def test_root_that_may_not_look_at_a_place_does_not_change(open_place: Path, modules: Path) -> None:
    place = open_place / "closed/root"
    place.mkdir(parents=True)
    for path in (place, place.parent):
        os.chown(path, STRANGER, STRANGER)
    place.parent.chmod(0o700)

    assert become_owner(place, modules, without="-dac_override,-dac_read_search")["name"] is None


def test_root_does_not_go_on_as_root_where_the_owner_cannot_read_the_agent(tmp_path: Path, modules: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER)
    modules.chmod(0o700)

    told = become_owner(tmp_path, modules)

    file = modules / "release_agent/system/user.py"
    assert told["code"] == "user-not-changed"
    assert told["message"] == (
        f"cannot change from root to {STRANGER}, who owns {tmp_path}: {STRANGER} cannot read {file}, which this agent runs from"
    )
    assert told["hint"].startswith(f"install Python and release-agent in a directory that {STRANGER} can read")
    assert (told["users"], told["groups"], told["home"]) == ([0, 0, 0], [0, 0, 0, []], "/root")


@pytest.mark.parametrize("capability", ["setuid", "setgid"])
def test_root_does_not_go_on_as_root_in_a_container_that_lets_nobody_change_users(
    tmp_path: Path, modules: Path, capability: str
) -> None:
    os.chown(tmp_path, STRANGER, STRANGER)

    told = become_owner(tmp_path, modules, without=f"-{capability}")

    assert (told["code"], told["message"].partition(": ")[2]) == ("user-not-changed", "Operation not permitted")
    assert told["hint"] == f"run it as {STRANGER}, or give the container the capabilities SETUID and SETGID"
    assert (told["users"], told["groups"]) == ([0, 0, 0], [0, 0, 0, []])


def test_others_stay_who_they_are(open_place: Path) -> None:
    with unprivileged():
        assert user.become_owner(open_place) is None
        assert os.geteuid() != 0


def test_a_wrong_user_is_told_which_user_to_be(open_place: Path) -> None:
    os.chown(open_place, STRANGER, STRANGER)
    with unprivileged():
        assert user.user_to_be(open_place / "not/there") == f"run it as {STRANGER}, who owns {open_place}, or as root"


def test_the_owner_is_not_told_to_be_the_owner_and_nobody_is_told_to_work_as_root(open_place: Path) -> None:
    assert user.user_to_be(open_place) == ""
    with unprivileged():
        assert user.user_to_be(open_place) == ""
