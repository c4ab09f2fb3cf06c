"""Run a shell command with a time-out for its whole process group, streaming and keeping its output.

Hooks and exec probes run this way. A deployment waits for the command's own end or its
time limit, not for the end of the output. So a grandchild that holds the pipe open, or
has left the group, cannot delay it.
"""

from __future__ import annotations

import codecs
import os
import selectors
import signal
import subprocess
from collections import deque
from contextlib import suppress
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, cast

from release_agent.errors import Code, Failed
from release_agent.system import left_behind
from release_agent.variables import Variable

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from release_agent.system.clock import Clock

SHELL = ("/bin/sh", "-euc")
# This shell becomes the command after a line from the agent, and ends if the agent has ended.
_HELD = ("/bin/sh", "-c", 'read -r go && exec "$0" "$@" </dev/null')
_TAIL = 64 * 1024  # characters
_LONGEST_LINE = 8 * 1024  # characters
_MOST_LINES = 100_000  # lines to pass on: the agent takes longer for a line than the program that prints it
_POLL = 0.05
_READ = 64 * 1024


@dataclass(frozen=True)
class CommandResult:
    """The end of a command: its exit code (negative: the number of a signal), whether it timed out, its last output.

    ``exit_code``: None for a command that could not be ended.
    """

    exit_code: int | None
    timed_out: bool
    output: str

    @property
    def well(self) -> bool:
        """Return whether it exited with 0 in time."""
        return self.exit_code == 0 and not self.timed_out

    def describe(self, timeout: float) -> str:
        """Return the end in words: ``exited with 3``, ``killed by SIGSEGV``, ``was still running after 2 s``."""
        if self.exit_code is None:
            return f"was still running after {timeout:g} s and could not be ended; it may run as another user"
        if self.timed_out:
            return f"was still running after {timeout:g} s and was stopped"
        if self.exit_code < 0:
            number = -self.exit_code
            known = number in set(signal.Signals)
            return f"was killed by {signal.Signals(number).name if known else f'signal {number}'}"
        return f"exited with {self.exit_code}"


@dataclass(frozen=True)
class HookCommand:
    """A hook: its command, its time limit in seconds, and its umask (-1: as the agent's own)."""

    run: str
    timeout: float
    umask: int = -1


class CommandRunner:
    """Runs commands; passes each line of their output to ``on_line``."""

    def __init__(
        self,
        clock: Clock,
        on_line: Callable[[str], None],
        *,
        grace: float = 5.0,
        patience: float = 10.0,
        notes: Path | None = None,
    ) -> None:
        """``grace``: seconds between TERM and KILL. ``patience``: seconds to wait for the end after KILL.

        ``notes``: a directory for a note of each group before it runs. The next run ends the
        groups of a killed run by these notes (:mod:`release_agent.system.left_behind`).
        """
        self._clock = clock
        self._on_line = on_line
        self._grace = grace
        self._patience = patience
        self._notes = notes

    def run_hook(self, hook: HookCommand, stage: str, directory: Path, environment: Mapping[str, str]) -> CommandResult:
        """Run a hook to its end; raises Failed only if it cannot be started, Cancelled if a signal ended it."""
        try:
            return self.run(hook.run, hook.timeout, directory, environment, umask=hook.umask)
        except OSError as error:
            raise Failed(
                Code.HOOK_FAILED,
                f"the {stage} hook `{hook.run}` could not be started in {directory}: {error.strerror}",
                hint=f"check that {directory} exists, and that this user may enter it",
            ) from error

    def run(
        self, command: str, timeout: float, directory: Path, environment: Mapping[str, str], *, umask: int = -1
    ) -> CommandResult:
        """Run ``/bin/sh -euc command``; raises OSError if it cannot be started, Cancelled if a signal ended it."""
        process = subprocess.Popen(  # noqa: S603 - hooks are commands of the configuration
            [*(_HELD if self._notes else ()), *SHELL, command],
            cwd=directory,
            env=dict(environment),
            stdin=subprocess.PIPE if self._notes else subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            start_new_session=True,
            umask=umask,
        )
        output = _Output(process, self._on_line)
        note = None
        try:
            if self._notes:
                note = left_behind.note(self._notes, process.pid, environment.get(Variable.RELEASE_ID, ""))
                _let_go(process)
            timed_out = not self._wait(process, output, self._clock.now() + timeout)
        finally:
            # End the rest of the group, also on Cancelled: a process that still runs and is
            # writing into a release would change it after it was proved.
            self._end_group(process, output)
            output.close()
            if process.stdin:
                process.stdin.close()
            if note and process.returncode is not None:  # otherwise the next run ends the group by its note
                with suppress(OSError):
                    note.unlink()
        return CommandResult(process.returncode, timed_out, output.tail())

    def _wait(self, process: subprocess.Popen[bytes], output: _Output, deadline: float) -> bool:
        while process.poll() is None:
            self._clock.check()
            if self._clock.now() >= deadline:
                return False
            output.read(_POLL)
        return True

    def _end_group(self, process: subprocess.Popen[bytes], output: _Output) -> None:
        for number in (signal.SIGTERM, signal.SIGKILL):
            if not _signal_group(process.pid, number):
                break
            deadline = self._clock.now() + self._grace
            while self._clock.now() < deadline and _group_lives(process):
                output.read(_POLL)
        try:
            process.wait(self._patience)
        except subprocess.TimeoutExpired:
            # It has become another user, or waits for a broken disk. The run must end, and its lock with it.
            self._on_line(f"… process {process.pid} could not be ended; it may run as another user")
        output.read(0)


def _let_go(process: subprocess.Popen[bytes]) -> None:
    """Start a held command, which somebody may have killed."""
    with suppress(BrokenPipeError), cast("IO[bytes]", process.stdin) as gate:
        gate.write(b"go\n")


def _signal_group(pid: int, number: signal.Signals) -> bool:
    try:
        os.killpg(pid, number)
    except ProcessLookupError:
        return False
    except PermissionError:  # the whole group has changed its user
        return True
    return True


def _group_lives(process: subprocess.Popen[bytes]) -> bool:
    process.poll()  # a dead child counts as alive until poll() reaps it
    try:
        os.killpg(process.pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:  # it is alive and has changed its user
        return True
    return True


class _Output:
    """A command's output: passes on the first 100,000 lines as they come, keeps the last 65,536 characters."""

    def __init__(self, process: subprocess.Popen[bytes], on_line: Callable[[str], None]) -> None:
        self._pipe = cast("IO[bytes]", process.stdout)  # of Popen with stdout=PIPE
        os.set_blocking(self._pipe.fileno(), False)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._pipe, selectors.EVENT_READ)
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace")
        self._on_line = on_line
        self._line = ""
        self._left = _MOST_LINES  # negative once a line was not passed on
        self._kept: deque[str] = deque()
        self._size = 0

    def read(self, timeout: float) -> None:
        """Wait for output, up to ``timeout`` seconds, and take it."""
        if not self._selector.select(timeout):
            return
        data = os.read(self._pipe.fileno(), _READ)
        if data:
            self._take(self._decoder.decode(data))
        else:
            self._selector.unregister(self._pipe)

    def _take(self, text: str) -> None:
        self._keep(text)
        if self._left < 0:
            return
        *lines, self._line = (self._line + text).split("\n")
        if len(self._line) > _LONGEST_LINE:
            lines.append(self._line)
            self._line = ""
        for line in lines[: self._left]:
            self._on_line(line[:_LONGEST_LINE])
        self._left -= len(lines)
        if self._left < 0:
            self._line = ""
            self._on_line(f"… more than {_MOST_LINES} lines: the rest is not logged; its last 65,536 characters are kept")

    def _keep(self, text: str) -> None:
        self._kept.append(text)
        self._size += len(text)
        while self._size - len(self._kept[0]) >= _TAIL:
            self._size -= len(self._kept.popleft())

    def close(self) -> None:
        """Pass on the last line, even an incomplete one, and close the pipe, even if another process holds it."""
        if self._line:
            self._on_line(self._line)
        self._selector.close()
        self._pipe.close()

    def tail(self) -> str:
        """Return the last 65,536 characters."""
        return "".join(self._kept)[-_TAIL:]
