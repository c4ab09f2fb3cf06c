"""Who a command becomes, that root was asked to run."""

from __future__ import annotations

import os
import pwd
import subprocess
from pathlib import Path

from release_agent.system import user
from support.privileges import unprivileged

BECOME = """
import os, sys
from pathlib import Path
from release_agent.system.user import become_owner
name = become_owner(Path(sys.argv[1]))
print(name, *os.getresuid(), *os.getresgid(), os.getgroups(), os.environ["HOME"])
"""
# A Python that every user may run; the tests' own may lie in somebody's home.
SYSTEM_PYTHON = "/usr/bin/python3"


def become_owner(place: Path) -> str:
    """Have another process become the owner of a place; return who it is then."""
    environ = {"HOME": "/root", "PYTHONPATH": str(Path(user.__file__).parents[2]), "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(
        [SYSTEM_PYTHON, "-c", BECOME, place], env=environ, capture_output=True, check=True, text=True, extra_groups=[]
    )
    return done.stdout.strip()


STRANGER = 12345


def test_root_becomes_the_owner_of_where_it_works(tmp_path: Path) -> None:
    os.chown(tmp_path, STRANGER, STRANGER + 1)

    assert become_owner(tmp_path) == "12345 12345 12345 12345 12346 12346 12346 [] /"


def test_root_becomes_a_user_of_the_machine_with_their_home_and_groups(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    os.chown(tmp_path, nobody.pw_uid, STRANGER)
    groups = os.getgrouplist("nobody", nobody.pw_gid)

    assert become_owner(tmp_path) == " ".join(
        str(word) for word in ["nobody", *[nobody.pw_uid] * 3, *[nobody.pw_gid] * 3, groups, nobody.pw_dir]
    )


def test_where_root_owns_all_it_stays_root(tmp_path: Path) -> None:
    assert become_owner(tmp_path).startswith("None 0 0 0 0 0 0 ")
    assert become_owner(tmp_path / "nowhere").startswith("None 0 0 0 ")


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
