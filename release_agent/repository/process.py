"""Run git with limits: on the time of a call, and on the size of its output. A signal that stops the run also stops git."""

from __future__ import annotations

import os
import selectors
import subprocess
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, cast

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import IO, BinaryIO

    from release_agent.system.clock import Clock

# Seconds. Reading takes milliseconds; a whole tree on a slow disk takes minutes.
READING, WHOLE_TREE = 60.0, 1800.0
# Bytes of output: a tree of more than a million files; the text of one file or tag.
LARGEST_LIST, LARGEST_TEXT = 256 << 20, 4 << 20
_LONGEST_ERROR = 64 << 10
PIECE = 64 << 10  # bytes: what a pipe holds
POLL, GRACE = 0.05, 1.0  # seconds


class GitFailedError(Exception):
    """The output of a git that failed; each caller translates it."""


@dataclass(frozen=True)
class GitCall:
    """One call of git: its arguments, input, surroundings and limits (seconds, bytes of output)."""

    arguments: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    directory: str = "/"
    stdin: bytes = b""
    seconds: float = READING
    size: int = LARGEST_LIST
    check: bool = True


def output(call: GitCall, clock: Clock) -> bytes:
    """Return git's output; raises GitFailedError, or Cancelled if a signal has asked to stop."""
    kept: list[bytes] = []
    size = 0

    def keep(data: bytes) -> None:
        nonlocal size
        size += len(data)
        if size > call.size:
            message = f"git {_verb(call)} printed more than {call.size >> 20} MiB and was stopped"
            raise GitFailedError(message)
        kept.append(data)

    stream(call, clock, keep)
    return b"".join(kept)


def stream(call: GitCall, clock: Clock, take: Callable[[bytes], None]) -> str:
    """Pass on git's output in pieces; returns its messages. Raises GitFailedError, or Cancelled if a signal came."""
    with os.fdopen(os.memfd_create("git-stdin"), "w+b") as given:
        given.write(call.stdin)
        given.seek(0)
        process, errors = start(call, given), bytearray()
    try:
        _attend(call, clock, process, {process.stdout: take, process.stderr: lambda data: keep_first(errors, data)})
    finally:
        end(process)
    said = errors.decode("utf-8", "replace").strip()
    if process.returncode and call.check:
        raise GitFailedError(said or f"git exited with {process.returncode}")
    return said


def start(call: GitCall, stdin: BinaryIO) -> subprocess.Popen[bytes]:
    """Start git, with its output and its messages as pipes; raises GitFailedError."""
    try:
        import git  # 90 ms, which `status` and `history` save
    except ImportError as error:
        message = "git is not installed"
        raise GitFailedError(message) from error
    try:
        started = git.Git(call.directory).execute(
            ["git", *call.arguments], istream=stdin, env=dict(call.environment), as_process=True
        )
    except (git.exc.GitCommandNotFound, OSError) as error:
        message = f"git could not be started: {error.strerror}" if isinstance(error, OSError) else "git is not installed"
        raise GitFailedError(message) from error
    # GitPython's wrapper would end the process with its last reference.
    process, started.proc = started.proc, None
    return cast("subprocess.Popen[bytes]", process)


def _attend(
    call: GitCall,
    clock: Clock,
    process: subprocess.Popen[bytes],
    takers: dict[IO[bytes] | None, Callable[[bytes], None]],
) -> None:
    """Read until git has ended, even if another process still holds its pipes; raises GitFailedError at the time limit."""
    deadline = clock.now() + call.seconds
    with selectors.DefaultSelector() as selector:
        for pipe, take in takers.items():
            selector.register(cast("IO[bytes]", pipe), selectors.EVENT_READ, take)
        ended = False
        while selector.get_map() or process.poll() is None:
            clock.check()
            if clock.now() >= deadline:
                raise too_slow(_verb(call), call.seconds)
            if not selector.get_map():
                with suppress(subprocess.TimeoutExpired):
                    process.wait(POLL)
                continue
            ready = selector.select(0 if ended else POLL)
            if ended and not ready:
                break
            ended = ended or (not ready and process.poll() is not None)
            for key, _ in ready:
                data = os.read(key.fd, PIECE)
                if data:
                    key.data(data)
                else:
                    selector.unregister(key.fileobj)


def end(process: subprocess.Popen[bytes]) -> None:
    """Stop git if it still runs, and close its pipes."""
    if process.poll() is None:
        process.terminate()
        with suppress(subprocess.TimeoutExpired):
            process.wait(GRACE)
    if process.poll() is None:
        process.kill()
        process.wait()
    for pipe in (process.stdout, process.stderr):
        if pipe:
            pipe.close()


def too_slow(verb: str, seconds: float) -> GitFailedError:
    """Make the error for a git that has exceeded its time limit."""
    return GitFailedError(f"git {verb} had not ended after {seconds:g} s and was stopped")


def keep_first(kept: bytearray, data: bytes) -> None:
    """Add git's messages to those kept, up to a limit."""
    kept += data[: max(_LONGEST_ERROR - len(kept), 0)]


def _verb(call: GitCall) -> str:
    """Return the command of git, without the options before it."""
    arguments = list(call.arguments)
    while arguments and arguments[0].startswith("-"):
        del arguments[: 2 if arguments[0] in ("-c", "-C") else 1]
    return arguments[0] if arguments else ""
