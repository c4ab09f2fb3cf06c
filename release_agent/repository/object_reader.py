"""Ask one git process about all objects of a repository, because a start takes longer than most answers."""

from __future__ import annotations

import os
import selectors
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING, cast

from release_agent.repository.process import GRACE, PIECE, POLL, READING, GitFailedError, end, keep_first, start, too_slow

if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import IO

    from release_agent.repository.process import GitCall
    from release_agent.system.clock import Clock


_VERB = "cat-file"
_SILENCE = 30.0  # seconds; a single object takes milliseconds


class ObjectReader:
    """A ``git cat-file --batch-command`` that runs from the first question until close(), or until a question fails."""

    def __init__(self, make_call: Callable[[], GitCall], clock: Clock) -> None:
        """``make_call``: returns the call of git; its errors become errors of ask()."""
        self._make_call = make_call
        self._clock = clock
        self._running: _Running | None = None

    def ask(self, questions: str, take: Callable[[bytes], bool], seconds: float = READING) -> None:
        """Pass on the answers, in pieces, until ``take`` returns that they are complete.

        ``questions``: lines as in git-cat-file(1). Raises GitFailedError, also after ``seconds`` and after half a
        minute of silence, and Cancelled if a signal has asked to stop.
        """
        try:
            if self._running is None:
                self._running = _Running(self._make_call())
            self._exchange(self._running, questions.encode(), take, seconds)
        except BaseException:
            # The rest of this git's output would count as the answer to the next question.
            self.close()
            raise

    def close(self) -> None:
        """End git."""
        if self._running is not None:
            self._running.end()
        self._running = None

    def _exchange(self, git: _Running, questions: bytes, take: Callable[[bytes], bool], seconds: float) -> None:
        unsent, errors, heard = memoryview(questions), bytearray(), self._clock.now()
        deadline = heard + seconds
        with selectors.DefaultSelector() as selector:
            selector.register(git.questions, selectors.EVENT_WRITE)
            selector.register(git.answers, selectors.EVENT_READ)
            selector.register(git.messages, selectors.EVENT_READ)
            while True:
                self._clock.check()
                now = self._clock.now()
                if now >= deadline:
                    raise too_slow(_VERB, seconds)
                if now >= heard + _SILENCE:
                    message = f"git {_VERB} was silent for {_SILENCE:g} s and was stopped"
                    raise GitFailedError(message)
                for key, _ in selector.select(POLL):
                    if key.fd == git.questions:
                        unsent = unsent[_sent(key.fd, unsent) :]
                        if not unsent:
                            selector.unregister(key.fd)
                        continue
                    heard, data = now, os.read(key.fd, PIECE)
                    if not data:
                        raise GitFailedError(git.last_words(errors))
                    if key.fd == git.messages:
                        keep_first(errors, data)
                    elif take(data):
                        return


class _Running:
    """A git that waits for questions, and the descriptors of its three pipes."""

    def __init__(self, call: GitCall) -> None:
        read, self.questions = os.pipe()
        try:
            with os.fdopen(read, "rb") as stdin:
                self._process = start(call, stdin)
        except BaseException:
            os.close(self.questions)
            raise
        self.answers = cast("IO[bytes]", self._process.stdout).fileno()
        self.messages = cast("IO[bytes]", self._process.stderr).fileno()
        for descriptor in (self.questions, self.messages):
            os.set_blocking(descriptor, False)

    def last_words(self, errors: bytearray) -> str:
        """Return the last messages of a git that has closed a pipe."""
        with suppress(subprocess.TimeoutExpired):
            self._process.wait(GRACE)
        with suppress(BlockingIOError):  # a child of git may hold the pipe
            while data := os.read(self.messages, PIECE):
                keep_first(errors, data)
        return errors.decode("utf-8", "replace").strip() or f"git {_VERB} ended with {self._process.returncode}"

    def end(self) -> None:
        os.close(self.questions)
        end(self._process)


def _sent(pipe: int, data: memoryview) -> int:
    """Return the number of bytes that a pipe has taken; 0 if git has ended, which its output will show."""
    with suppress(BlockingIOError, BrokenPipeError):
        return os.write(pipe, data[:PIECE])
    return 0
