"""Commands end, or the agent ends them."""

from __future__ import annotations

import os
import select
import signal
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Cancelled, Code, Exit, Failed
from release_agent.model import new_id
from release_agent.system import left_behind, processes
from release_agent.system.clock import SystemClock
from release_agent.system.command import CommandResult, CommandRunner, HookCommand
from release_agent.system.left_behind import end_left_behind
from support.privileges import NOBODY
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ENVIRONMENT = {"PATH": os.environ["PATH"], "GREETING": "hello"}
# Longer than any test waits: whoever waits for its end by mistake never gets there.
ETERNITY = "sleep 1000"
# It leaves the group and says where it is once it has.
DAEMON = f"setsid sh -c 'echo $$ > new; mv new pid; exec {ETERNITY}' & while [ ! -e pid ]; do sleep 0.01; done;"


READY = "ready"
TIMEOUT = 10_000.0


class Impatient(SystemClock):
    """A clock on which a command's time is up as soon as it says that it is ready."""

    def __init__(self) -> None:
        super().__init__()
        self.said: list[str] = []

    def now(self) -> float:
        return super().now() + (TIMEOUT if READY in self.said else 0.0)


class Interrupted(Impatient):
    """A clock that a signal reaches as soon as a command says that it is ready."""

    def check(self) -> None:
        if READY in self.said:
            raise Cancelled(Code.CANCELLED, "stopped by SIGTERM")


# A stray child that was ended is awaited by process 1, whenever that gets to it: hence the short grace.
def run(directory: Path, command: str) -> CommandResult:
    return CommandRunner(SystemClock(), on_line=lambda _line: None, grace=0.2).run(command, TIMEOUT, directory, ENVIRONMENT)


def stopped(directory: Path, command: str, grace: float = 0.2) -> CommandResult:
    """Run a command until it says that it is ready, and then out of time."""
    clock = Impatient()
    ended = CommandRunner(clock, clock.said.append, grace=grace).run(command, TIMEOUT, directory, ENVIRONMENT)
    assert (ended.timed_out, ended.well) == (True, False)
    return ended


@pytest.fixture
def privileged() -> Iterator[None]:
    """Become root again after a test that gives that up."""
    users = os.getresuid()
    yield
    os.setresuid(*users)


@pytest.mark.usefixtures("privileged")
@pytest.mark.parametrize("is_cancelled", [False, True])
def test_command_that_has_become_another_user_is_given_up(tmp_path: Path, *, is_cancelled: bool) -> None:
    clock = (Interrupted if is_cancelled else Impatient)()
    pids: list[int] = []

    def on_line(line: str) -> None:
        clock.said.append(line)
        if line.isdigit():
            pids.append(int(line))
        if line == READY:  # the command stays root
            os.setresuid(NOBODY, NOBODY, 0)

    runner = CommandRunner(clock, on_line, grace=0.1, patience=0.1)
    try:
        ended = runner.run(f"echo $$; echo {READY}; exec {ETERNITY}", TIMEOUT, tmp_path, ENVIRONMENT)
    except Cancelled:
        assert is_cancelled
    else:
        assert (ended.timed_out, ended.well) == (True, False)
        assert ended.describe(2) == "was still running after 2 s and could not be ended; it may run as another user"

    assert clock.said[2:] == [f"… process {pids[0]} could not be ended; it may run as another user"]
    os.setresuid(0, 0, 0)
    os.kill(pids[0], signal.SIGKILL)


def runs(pid: str | int) -> bool:
    return processes.started(int(pid)) is not None


def pids(output: str) -> list[str]:
    return [word for word in output.split() if word.isdigit()]


@pytest.mark.parametrize(
    ("command", "code", "words"),
    [
        ("true", 0, "exited with 0"),
        ("exit 3", 3, "exited with 3"),
        ("kill -SEGV $$", -signal.SIGSEGV, "was killed by SIGSEGV"),
        ("kill -KILL $$", -signal.SIGKILL, "was killed by SIGKILL"),
        ("kill -40 $$", -40, "was killed by signal 40"),
        ("no-such-command", 127, "exited with 127"),
    ],
)
def test_how_a_command_ended(tmp_path: Path, command: str, code: int, words: str) -> None:
    ended = run(tmp_path, command)

    assert (ended.exit_code, ended.timed_out, ended.well) == (code, False, code == 0)
    assert ended.describe(60) == words


def test_a_command_stops_at_its_first_failure_and_at_unset_variables(tmp_path: Path) -> None:
    assert run(tmp_path, "false; echo went on").output == ""
    assert "went on" not in run(tmp_path, 'echo "$NOWHERE_SET"; echo went on').output


def test_a_command_sees_its_directory_its_environment_and_no_input(tmp_path: Path) -> None:
    ended = run(tmp_path, 'pwd; echo "$GREETING"; echo "${HOME-no home}"; cat; echo end of input')

    assert ended.output.splitlines() == [str(tmp_path), "hello", "no home", "end of input"]


def test_what_a_command_says_on_either_stream_is_kept_in_order(tmp_path: Path) -> None:
    assert run(tmp_path, "echo one; echo two >&2; echo three").output == "one\ntwo\nthree\n"


def test_a_command_that_takes_too_long_is_stopped(tmp_path: Path) -> None:
    ended = stopped(tmp_path, f"echo $$; echo {READY}; {ETERNITY}")

    assert ended.describe(0.5) == "was still running after 0.5 s and was stopped"
    assert [runs(pid) for pid in pids(ended.output)] == [False]


def test_a_command_is_asked_with_term_before_it_is_killed(tmp_path: Path) -> None:
    ended = stopped(tmp_path, f"trap 'echo asked; exit 0' TERM; echo {READY}; while :; do sleep 0.01; done", grace=60)

    assert ended.exit_code == 0
    assert "asked" in ended.output.splitlines()


def test_a_child_that_ignores_term_is_killed(tmp_path: Path) -> None:
    ended = stopped(tmp_path, f"trap '' TERM; {ETERNITY} & echo $! $$; echo {READY}; wait")

    assert ended.exit_code == -signal.SIGKILL
    assert [runs(pid) for pid in pids(ended.output)] == [False, False]


def test_the_whole_group_ends_with_a_command_that_is_stopped(tmp_path: Path) -> None:
    ended = stopped(tmp_path, f"({ETERNITY} & echo $!); (trap '' TERM; {ETERNITY} & echo $!); echo {READY}; {ETERNITY}")

    assert len(pids(ended.output)) == 2
    eventually(lambda: not any(map(runs, pids(ended.output))), "the one that ignores TERM ends of KILL")


def test_a_grandchild_left_behind_is_ended_and_does_not_hold_up(tmp_path: Path) -> None:
    ended = run(tmp_path, f"{ETERNITY} & echo $!")

    assert ended.well
    assert not runs(ended.output)


def test_a_grandchild_left_behind_by_a_command_that_failed_is_ended(tmp_path: Path) -> None:
    ended = run(tmp_path, f"{ETERNITY} & echo $!; exit 3")

    assert ended.exit_code == 3
    assert not runs(ended.output)


def test_a_grandchild_that_left_the_group_and_holds_the_pipe_does_not_hold_up(tmp_path: Path) -> None:
    ended = run(tmp_path, f"{DAEMON} cat pid")

    assert ended.well
    assert runs(ended.output)
    os.kill(int(ended.output), signal.SIGKILL)


def test_a_grandchild_that_left_the_group_does_not_outwit_the_time_out(tmp_path: Path) -> None:
    (pid,) = pids(stopped(tmp_path, f"{DAEMON} cat pid; echo {READY}; wait").output)

    assert runs(pid)
    os.kill(int(pid), signal.SIGKILL)


def test_a_signal_to_the_agent_ends_the_group(tmp_path: Path) -> None:
    clock = Interrupted()
    runner = CommandRunner(clock, clock.said.append, grace=0.2)

    with pytest.raises(Cancelled):
        runner.run(f"trap '' TERM; {ETERNITY} & echo $! $$; echo {READY}; wait", TIMEOUT, tmp_path, ENVIRONMENT)

    assert [runs(pid) for pid in pids(clock.said[0])] == [False, False]


def test_a_hook_that_cannot_be_started_fails_and_names_its_directory(tmp_path: Path) -> None:
    runner = CommandRunner(SystemClock(), on_line=lambda _line: None)

    with pytest.raises(Failed) as failed:
        runner.run_hook(HookCommand("make", 60), "build", tmp_path / "nowhere", ENVIRONMENT)

    assert (failed.value.code, failed.value.exit_code) == (Code.HOOK_FAILED, Exit.FAILED)
    assert f"the build hook `make` could not be started in {tmp_path}/nowhere" in failed.value.message


def test_a_hook_that_fails_is_no_error_of_the_runner(tmp_path: Path) -> None:
    runner = CommandRunner(SystemClock(), on_line=lambda _line: None)

    assert runner.run_hook(HookCommand("exit 3", 60), "build", tmp_path, ENVIRONMENT).exit_code == 3


def killed_run(directory: Path, hook: str = "echo $$; exec sleep 1000", **environment: str) -> str:
    """Have a run begin a hook and be killed while the hook runs; return what the hook printed, its pid."""
    command = [sys.executable, "-P", "-c", RUN_AND_WAIT, directory, hook]
    started = subprocess.Popen(command, stdout=subprocess.PIPE, text=True, env=os.environ | environment)
    with started:
        assert started.stdout
        pid = started.stdout.readline().strip()
        started.kill()
    return pid


RUN_AND_WAIT = """
import os, sys
from pathlib import Path
from release_agent.system.clock import SystemClock
from release_agent.system.command import CommandRunner
runner = CommandRunner(SystemClock(), lambda line: print(line, flush=True), notes=Path(sys.argv[1]))
runner.run(sys.argv[2], 10000, Path("/"), os.environ)
"""


def test_the_hook_of_a_killed_run_is_ended_by_the_next(tmp_path: Path) -> None:
    pid = killed_run(tmp_path)
    assert runs(pid)
    end = os.pidfd_open(int(pid))

    assert end_left_behind(tmp_path) == [int(pid)]
    assert select.select([end], [], [], 30)[0] == [end]
    os.close(end)


@pytest.mark.parametrize("group", ["its group lives on", "its group has ended"])
def test_what_has_left_the_group_of_a_killed_runs_hook_is_ended_too(tmp_path: Path, group: str) -> None:
    own = new_id()
    alone = killed_run(tmp_path, "setsid sh -c 'echo $$; exec sleep 1000' & wait", RELEASE_ID=own)
    (note,) = tmp_path.iterdir()
    if group == "its group has ended":
        os.killpg(int(note.name.split("-")[1]), signal.SIGKILL)
    stranger = subprocess.Popen(["/bin/sleep", "1000"], env=os.environ | {"RELEASE_ID": f"{own}d"})

    assert int(alone) in end_left_behind(tmp_path)

    assert not runs(alone)
    assert stranger.poll() is None, "it is another run's"
    stranger.kill()
    stranger.wait()


def test_what_runs_the_next_deployment_is_spared_if_a_killed_hook_started_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    own = new_id()
    killed_run(tmp_path, RELEASE_ID=own)
    again = (
        "from pathlib import Path; from release_agent.system.left_behind import end_left_behind as e; print(len(e(Path('.'))))"
    )
    monkeypatch.setenv("RELEASE_ID", own)

    done = subprocess.run([sys.executable, "-P", "-c", again], cwd=tmp_path, capture_output=True, text=True, check=True)

    assert done.stdout.strip() == "1"


def test_a_process_that_has_a_killed_hooks_number_by_now_is_spared(tmp_path: Path) -> None:
    pid = killed_run(tmp_path)
    (note,) = tmp_path.iterdir()
    note.write_text(str(int(note.read_text()) - 1))

    assert end_left_behind(tmp_path) == []
    assert runs(pid)
    os.kill(int(pid), signal.SIGKILL)


def test_a_hook_that_ended_leaves_no_note(tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    noted = 'while [ -z "$(ls notes)" ]; do sleep 0.01; done; ls notes'

    ended = CommandRunner(SystemClock(), lambda _line: None, notes=tmp_path / "notes").run(noted, 60, tmp_path, ENVIRONMENT)

    assert ended.output
    assert list((tmp_path / "notes").iterdir()) == []


def test_no_pipe_is_left_open(tmp_path: Path) -> None:
    def pipes() -> list[str]:
        places = [f"/proc/self/fd/{number}" for number in os.listdir("/proc/self/fd")]
        return sorted(os.readlink(place) for place in places if os.path.lexists(place))

    before = [pipe for pipe in pipes() if pipe.startswith("pipe:")]
    kept = [run(tmp_path, "echo x"), run(tmp_path, f"{ETERNITY} &")]

    assert [pipe for pipe in pipes() if pipe.startswith("pipe:")] == before
    assert all(ended.well for ended in kept)


# A parent that inherits what a killed run left, and a run that is killed at the moment at which it opens its note.
KILLED_BEFORE_ITS_NOTE = """
import ctypes, os, signal, subprocess, sys
PR_SET_CHILD_SUBREAPER = 36
ctypes.CDLL(None).prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)
run = '''
import os, signal, sys
from pathlib import Path
from release_agent.system.clock import SystemClock
from release_agent.system.command import CommandRunner
def die(event, arguments):
    if event == "open" and "hook-" in str(arguments[0]):
        os.kill(os.getpid(), signal.SIGKILL)
sys.addaudithook(die)
notes = Path(sys.argv[1])
CommandRunner(SystemClock(), print, notes=notes).run("echo > ran", 10000, notes, os.environ)
'''
print(subprocess.run([sys.executable, "-P", "-c", run, sys.argv[1]]).returncode)
try:
    while True:
        os.waitpid(-1, 0)
except ChildProcessError:
    pass
"""


def test_a_run_that_is_killed_before_it_noted_its_hook_has_not_begun_it(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", KILLED_BEFORE_ITS_NOTE, tmp_path],
        capture_output=True,
        text=True,
        env=dict(os.environ),
        check=True,
    )

    assert done.stdout.strip() == str(-signal.SIGKILL)
    assert list(tmp_path.iterdir()) == []


def test_what_a_killed_runs_hook_left_in_its_group_is_ended_though_the_hook_has_ended(tmp_path: Path) -> None:
    leader = subprocess.Popen(
        ["/bin/sh", "-c", f"{ETERNITY} & echo $!"], stdout=subprocess.PIPE, env={**ENVIRONMENT, "RELEASE_ID": "d-1"}, text=True,
        start_new_session=True,
    )  # fmt: skip
    with leader:
        assert leader.stdout
        left = leader.stdout.readline().strip()
        leader.stdout.close()
        leader.wait()
    (tmp_path / f"hook-{leader.pid}").write_text("12345")

    assert end_left_behind(tmp_path) == [leader.pid]
    assert not runs(left)


def test_a_group_of_somebody_else_with_the_number_of_a_killed_hook_is_spared(tmp_path: Path) -> None:
    leader = subprocess.Popen(
        ["/bin/sh", "-c", f"{ETERNITY} & echo $!"], stdout=subprocess.PIPE, env=ENVIRONMENT, text=True, start_new_session=True
    )
    with leader:
        assert leader.stdout
        left = leader.stdout.readline().strip()
        leader.stdout.close()
        leader.wait()
    (tmp_path / f"hook-{leader.pid}").write_text("12345")

    assert end_left_behind(tmp_path) == []
    assert runs(left)
    os.kill(int(left), signal.SIGKILL)


@pytest.mark.parametrize("kind", ["name", "bytes", "empty", "directory", "pipe", "link", "zero"])
def test_a_stray_file_that_looks_like_a_note_is_passed_over(tmp_path: Path, kind: str) -> None:
    place = tmp_path / f"hook-{os.getpid()}"
    if kind == "name":
        (tmp_path / "hook-x").touch()
        (tmp_path / "hook-²").touch()
    elif kind == "zero":
        (tmp_path / "hook-0").write_text("None")
    elif kind == "directory":
        place.mkdir()
    elif kind == "pipe":
        os.mkfifo(place)
    elif kind == "link":
        (tmp_path / "real").write_text(str(processes.started(os.getpid())))
        place.symlink_to(tmp_path / "real")
    else:
        place.write_bytes(b"\xff\xfe\0" if kind == "bytes" else b"")

    assert end_left_behind(tmp_path) == []


def test_a_link_that_a_hook_laid_in_the_place_of_the_next_note_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / f"hook-{os.getpid()}").symlink_to(tmp_path / "precious")

    noted = left_behind.note(tmp_path, os.getpid())

    assert not (tmp_path / "precious").exists()
    assert noted.read_text() == str(processes.started(os.getpid()))


def test_a_note_has_a_name_of_its_own_each_time(tmp_path: Path) -> None:
    assert left_behind.note(tmp_path, os.getpid()) != left_behind.note(tmp_path, os.getpid())


def test_a_link_in_the_place_of_the_directory_of_the_notes_is_not_followed(tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "notes").symlink_to("elsewhere")

    with pytest.raises(OSError, match="notes"):
        left_behind.note(tmp_path / "notes", os.getpid())

    assert list((tmp_path / "elsewhere").iterdir()) == []


def test_the_hook_of_a_run_killed_by_an_older_agent_is_ended(tmp_path: Path) -> None:
    pid = killed_run(tmp_path)
    (note,) = tmp_path.iterdir()
    note.rename(tmp_path / f"hook-{pid}")

    assert end_left_behind(tmp_path) == [int(pid)]


def test_a_hook_that_removes_the_directory_of_the_notes_is_no_error(tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    notes.mkdir()

    ended = CommandRunner(SystemClock(), lambda _line: None, notes=notes).run("rm -rf notes", 60, tmp_path, ENVIRONMENT)

    assert ended.well


def test_files_of_a_hook_have_the_modes_of_its_umask(tmp_path: Path) -> None:
    runner = CommandRunner(SystemClock(), lambda _line: None, notes=tmp_path)

    assert runner.run_hook(HookCommand("touch shared; mkdir open", 60, 0o002), "build", tmp_path, ENVIRONMENT).well
    assert runner.run_hook(HookCommand("touch private", 60, 0o077), "build", tmp_path, ENVIRONMENT).well

    modes = {name: (tmp_path / name).stat().st_mode & 0o777 for name in ("shared", "open", "private")}
    assert modes == {"shared": 0o664, "open": 0o775, "private": 0o600}


def test_a_hook_without_an_umask_has_the_agents(tmp_path: Path) -> None:
    said: list[str] = []

    CommandRunner(SystemClock(), said.append).run_hook(HookCommand("umask", 60), "build", tmp_path, ENVIRONMENT)

    own = os.umask(0)
    os.umask(own)
    assert said == [f"{own:04o}"]
