from __future__ import annotations

import ast
import mmap
import os
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from release_agent.system import inspection, processes
from support.host import CONTAINED
from support.privileges import NOBODY, unprivileged

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

LOOK = """
import pathlib, sys
from release_agent.system import inspection
print(inspection.releases_of([int(sys.argv[1])], pathlib.Path(sys.argv[2])))
"""


@pytest.fixture
def sleeper() -> Iterator[subprocess.Popen[bytes]]:
    """A process that waits for its input to end."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def test_a_living_process_has_started_once(sleeper: subprocess.Popen[bytes]) -> None:
    first = processes.started(sleeper.pid)

    assert first is not None
    assert processes.started(sleeper.pid) == first
    own = processes.started(os.getpid())
    assert own is not None
    assert own <= first


def test_a_process_that_ended_has_not_started_even_while_nobody_waited_for_it(sleeper: subprocess.Popen[bytes]) -> None:
    os.kill(sleeper.pid, signal.SIGKILL)
    os.waitid(os.P_PID, sleeper.pid, os.WEXITED | os.WNOWAIT)
    assert (processes.started(sleeper.pid), sleeper.returncode) == (None, None)

    sleeper.wait()
    assert processes.started(sleeper.pid) is None


def test_a_name_with_parentheses_and_blanks_does_not_confuse(tmp_path: Path) -> None:
    program = tmp_path / "a) R 1 (b"
    program.symlink_to("/bin/cat")
    with subprocess.Popen([program], stdin=subprocess.PIPE) as process:
        started = processes.started(process.pid)
        own = processes.started(os.getpid())
        assert process.stdin
        process.stdin.close()

    assert own is not None
    assert started is not None
    assert started >= own


def test_whose_a_process_is(sleeper: subprocess.Popen[bytes]) -> None:
    assert processes.owner(sleeper.pid) == os.geteuid()
    sleeper.kill()
    sleeper.wait()
    assert processes.owner(sleeper.pid) is None


def nothing_known(_moment: float) -> str | None:
    return None


def test_a_release_is_in_use_while_a_process_works_in_it(tmp_path: Path) -> None:
    deep = tmp_path / "releases/000001-a/sub"
    deep.mkdir(parents=True)
    (tmp_path / "releases/000002-b").mkdir()
    with subprocess.Popen(["cat"], cwd=deep, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        process.stdout.readline()
        assert inspection.releases_in_use(tmp_path / "releases", nothing_known) == {"000001-a"}
        process.stdin.close()

    assert inspection.releases_in_use(tmp_path / "releases", nothing_known) == set()


def test_the_releases_may_be_reached_by_a_link(tmp_path: Path) -> None:
    (tmp_path / "real/000001-a").mkdir(parents=True)
    (tmp_path / "releases").symlink_to("real")
    with subprocess.Popen(["cat"], cwd=tmp_path / "real/000001-a", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        process.stdout.readline()
        assert inspection.releases_in_use(tmp_path / "releases", nothing_known) == {"000001-a"}
        process.stdin.close()


@pytest.mark.parametrize("character", ["\r", "\x0c", "\u2028"])
def test_a_release_is_in_use_while_its_file_is_mapped_whatever_the_path_has(tmp_path: Path, character: str) -> None:
    releases = tmp_path / f"a{character}b" / "releases"
    release = releases / "000001-a"
    release.mkdir(parents=True)
    (release / "data").write_bytes(b"x")
    with (release / "data").open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ):
        found = inspection.releases_of([os.getpid()], releases)

    assert found == {"000001-a": [os.getpid()]}


@pytest.mark.skipif(os.geteuid() != 0, reason="only root looks as other users")
@pytest.mark.parametrize("name", [r"\rUid:", r"\fUid:\t0\t0", r"\342\200\250Uid:x"])
def test_the_name_of_a_process_does_not_hide_it_from_root(open_place: Path, name: str) -> None:
    release = open_place / "releases/000001-a"
    release.mkdir(parents=True)
    script = f"printf '{name}' > /proc/self/comm; echo named; read line"
    user = {"user": NOBODY, "group": NOBODY, "extra_groups": []}
    with subprocess.Popen(["sh", "-c", script], cwd=release, stdin=subprocess.PIPE, stdout=subprocess.PIPE, **user) as process:
        assert process.stdout
        assert process.stdout.readline() == b"named\n"
        looked = subprocess.run(
            [*CONTAINED, sys.executable, "-c", LOOK, str(process.pid), release.parent], check=True, capture_output=True, text=True
        )
        process.communicate()

    assert ast.literal_eval(looked.stdout) == {"000001-a": [process.pid]}


def test_a_process_that_may_not_be_looked_into_uses_what_was_live_when_it_started(
    tmp_path: Path, sleeper: subprocess.Popen[bytes]
) -> None:
    if os.geteuid() != 0:
        assert NOBODY  # without root there are others' processes anyway: the kernel's, init
    asked: list[float] = []

    def live_at(moment: float) -> str | None:
        asked.append(moment)
        return "000001-a"

    with unprivileged():
        assert inspection.releases_in_use(tmp_path, live_at) == {"000001-a"}

    started = sleeper_started(sleeper.pid)
    assert os.geteuid() != 0 or any(abs(moment - started) < 2 for moment in asked)


def sleeper_started(pid: int) -> float:
    """Ask the system when a process started, in seconds since 1970."""
    answer = subprocess.run(["stat", "--format=%Y", f"/proc/{pid}"], check=True, capture_output=True, text=True).stdout
    return float(answer)


def test_processes_below_others_are_found_once_though_a_reused_number_makes_a_circle() -> None:
    children = {1: [2, 3], 3: [4], 4: [1, 3]}

    assert sorted(processes.reachable([1, 3], children)) == [1, 2, 3, 4]
    assert processes.reachable([5], children) == [5]
