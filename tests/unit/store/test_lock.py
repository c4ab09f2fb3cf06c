from __future__ import annotations

import errno
import json
import math
import os
import re
import signal
import subprocess
import sys
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Busy, Cancelled, Code, Exit, Failed
from release_agent.model import Action, Request
from release_agent.store.lock import Lock
from release_agent.system.clock import SystemClock
from support.clocks import FakeClock
from support.roots import shut_down, small_disk, small_ext4

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

HOLDER = """
import sys
from pathlib import Path
from release_agent.system.clock import SystemClock
from release_agent.store.lock import Lock
from release_agent.model import Request
with Lock(Path(sys.argv[1]), SystemClock()).held(Request("d-1", revision="v1.4.2"), wait=False):
    print("held", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """Where the lock is."""
    return tmp_path / "lock"


@pytest.fixture
def lock(path: Path) -> Lock:
    """The lock as another run sees it."""
    return Lock(path, SystemClock())


@contextmanager
def another_process(path: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a real process hold the lock until its stdin is closed."""
    command = [sys.executable, "-P", "-c", HOLDER, path]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout
        assert process.stdout.readline() == "held\n"
        yield process
        assert process.stdin
        process.stdin.close()


def take(lock: Lock, *, wait: bool = False, request: Request | None = None) -> None:
    with lock.held(request or Request("d-2"), wait=wait):
        pass


def test_a_second_run_is_busy_and_told_id_pid_revision_and_age(lock: Lock, path: Path) -> None:
    with another_process(path) as holder:
        since = json.loads(path.read_text())
        path.write_text(json.dumps(since | {"since": since["since"] - 90}))

        with pytest.raises(Busy) as busy:
            take(lock)

        assert (busy.value.code, busy.value.exit_code) == (Code.BUSY, Exit.BUSY)
        assert re.fullmatch(
            rf"another deployment is already running: d-1 \(deploy v1\.4\.2, pid {holder.pid}\), for 9\d s", busy.value.message
        )


def test_who_looks_is_told_who_holds_it_and_disturbs_nobody(lock: Lock, path: Path) -> None:
    with another_process(path) as holder:
        found = lock.holder()
        assert found is not None
        assert (found["id"], found["pid"], found["action"], found["revision"]) == ("d-1", holder.pid, "deploy", "v1.4.2")
        with pytest.raises(Busy):
            take(lock)


def test_a_run_that_ends_leaves_the_lock_free(lock: Lock, path: Path) -> None:
    with another_process(path):
        pass

    take(lock)

    assert lock.holder() is None


def test_a_holder_that_is_killed_leaves_the_lock_free(lock: Lock, path: Path) -> None:
    with another_process(path) as holder:
        os.kill(holder.pid, signal.SIGKILL)
        holder.wait()
        assert json.loads(path.read_text())["pid"] == holder.pid

        assert lock.holder() is None
        take(lock)


def test_nobody_holds_a_lock_that_was_never_taken(lock: Lock, path: Path) -> None:
    assert lock.holder() is None
    assert not path.exists()


@pytest.mark.parametrize("text", ["", "{", "[]", "{}", '{"pid": 1}', '{"pid": "x", "started": 1}'])
def test_a_lock_file_that_says_nothing_useful_names_nobody(lock: Lock, path: Path, text: str) -> None:
    path.write_text(text)

    assert lock.holder() is None
    take(lock)


def test_another_process_with_the_same_pid_is_not_the_holder(lock: Lock, path: Path) -> None:
    with lock.held(Request("d-1"), wait=False):
        mine = json.loads(path.read_text())
        assert lock.holder() == mine
        path.write_text(json.dumps(mine | {"started": mine["started"] - 1}))

        assert lock.holder() is None


def test_what_a_killed_holder_wrote_does_not_show_through(lock: Lock, path: Path) -> None:
    path.write_text(json.dumps({"id": "killed", "revision": "x" * 500}))

    with lock.held(Request("d-1"), wait=False):
        found = lock.holder()

    assert found is not None
    assert (found["id"], found["revision"]) == ("d-1", "")


def test_a_wall_clock_that_was_set_back_makes_no_negative_age(lock: Lock, path: Path) -> None:
    with lock.held(Request("d-1"), wait=False):
        path.write_text(json.dumps(json.loads(path.read_text()) | {"since": 4102444800}))

        with pytest.raises(Busy, match=r"already running.* for 0 s"):
            take(Lock(path, SystemClock()))


def test_a_holder_that_nobody_can_tell_of_is_busy_all_the_same(lock: Lock, path: Path) -> None:
    with another_process(path):
        path.write_text("")

        with pytest.raises(Busy, match="another run holds the lock"):
            take(lock)


@pytest.mark.parametrize(
    "odd",
    [
        *({name: None} for name in ("id", "action", "revision", "since")),
        *({name: {"a": 1}} for name in ("id", "action", "revision", "since")),
        {"id": "\ud800"},
        *({"since": since} for since in (math.inf, math.nan, 10**400, "1")),
    ],
    ids=str,
)
def test_a_living_holder_whose_signature_is_no_agents_is_busy_and_not_told_of(
    lock: Lock, path: Path, odd: dict[str, object]
) -> None:
    with another_process(path):
        path.write_text(json.dumps(json.loads(path.read_text()) | odd))

        assert lock.holder() is None
        with pytest.raises(Busy, match="another run holds the lock"):
            take(lock)


def test_a_signature_without_most_of_its_members_names_nobody(lock: Lock, path: Path) -> None:
    with another_process(path):
        signed = json.loads(path.read_text())
        path.write_text(json.dumps({name: signed[name] for name in ("pid", "started")}))

        assert lock.holder() is None


def test_a_run_that_waits_gets_the_lock_when_it_is_free(path: Path) -> None:
    with another_process(path) as holder:
        assert holder.stdin
        waited = []

        def release() -> None:
            assert holder.stdin
            holder.stdin.close()
            holder.wait()
            waited.append(holder.returncode)

        with Lock(path, FakeClock(release)).held(Request("d-2"), wait=True):
            assert waited == [0]


def test_a_signal_ends_the_waiting(path: Path) -> None:
    def cancel() -> None:
        raise Cancelled(Code.CANCELLED, "stopped by SIGTERM")

    with another_process(path), pytest.raises(Cancelled):
        take(Lock(path, FakeClock(cancel)), wait=True)


def test_a_rollback_says_which_release_it_goes_to(lock: Lock, path: Path) -> None:
    back = Request("d-1", Action.ROLLBACK, release="000041-aaaaaaaaaaaa")

    with lock.held(back, wait=False), pytest.raises(Busy, match="d-1 \\(rollback 000041-aaaaaaaaaaaa, pid"):
        take(Lock(path, SystemClock()))


def test_a_bare_run_has_no_revision_to_tell(lock: Lock, path: Path) -> None:
    with lock.held(Request("d-1"), wait=False), pytest.raises(Busy, match="d-1 \\(deploy, pid"):
        take(Lock(path, SystemClock()))


def test_a_run_says_what_it_deploys_once_it_knows(lock: Lock) -> None:
    with lock.held(Request("d-1"), wait=False):
        lock.describe("v1.2.3")

        assert (lock.holder() or {})["revision"] == "v1.2.3"


def test_what_a_run_deploys_is_said_by_that_run_alone(lock: Lock, path: Path) -> None:
    with another_process(path):
        before = path.read_bytes()

        lock.describe("v1.2.3")

        assert path.read_bytes() == before
    take(lock)
    lock.describe("v1.2.3")
    assert lock.holder() is None


def test_a_run_that_fails_frees_the_lock(lock: Lock, path: Path) -> None:
    with pytest.raises(ValueError, match="bug"), lock.held(Request("d-1"), wait=False):
        raise ValueError("bug")  # noqa: EM101 - an example

    take(Lock(path, SystemClock()))


def test_a_daemon_that_a_hook_left_does_not_go_on_holding_the_lock(lock: Lock) -> None:
    with lock.held(Request("d-1"), wait=False):
        daemon = subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, close_fds=False)
        assert daemon.stdin
        assert daemon.stdout
        daemon.stdin.write(b"ready\n")
        daemon.stdin.flush()
        daemon.stdout.readline()

    with daemon:
        take(lock)
        assert daemon.poll() is None
        daemon.stdin.close()


def test_a_place_where_no_lock_can_be_made_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        take(Lock(tmp_path / "nowhere" / "lock", SystemClock()))

    assert failed.value.code is Code.ROOT_UNUSABLE


@pytest.mark.needs("mount")
def test_disk_that_dies_while_the_lock_is_held_does_not_replace_the_outcome(tmp_path: Path) -> None:
    with small_ext4(tmp_path / "disk", "1m", 20) as disk:
        lock = Lock(disk / "lock", SystemClock())
        with lock.held(Request("d-1"), wait=False), (disk / "lock").open("r+b", buffering=0) as file:
            shut_down(disk)
            with pytest.raises(OSError, match=os.strerror(errno.EIO)):
                file.write(b"x")


@pytest.mark.needs("mount")
def test_full_disk_keeps_no_run_from_the_lock(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m") as disk:
        lock = Lock(disk / "lock", SystemClock())
        with lock.held(Request("d-1"), wait=False):
            pass
        with suppress(OSError), (disk / "filler").open("wb", buffering=0) as filler:
            while True:
                filler.write(bytes(4096))

        with lock.held(Request("d-2"), wait=False):
            assert (lock.holder() or {})["id"] == "d-2"


def test_a_lock_whose_file_was_removed_is_held_all_the_same(lock: Lock, path: Path) -> None:
    with lock.held(Request("d-1"), wait=False):
        path.unlink()

        with pytest.raises(Busy, match="another run holds the lock"):
            take(Lock(path, SystemClock()))

    take(Lock(path, SystemClock()))
