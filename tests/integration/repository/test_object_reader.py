"""One git answers all questions about objects. It ends, another one follows a failed one, and no answers are mixed up."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path
from typing import TYPE_CHECKING

import git as _loaded_before_git_is_replaced  # noqa: F401
import pytest

from release_agent.errors import Cancelled
from release_agent.repository.object_reader import ObjectReader
from release_agent.repository.process import GitCall, GitFailedError
from release_agent.system.clock import SystemClock

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.repositories import Repository

ENDS = b".\n"


class FastClock(SystemClock):
    """A clock by which a minute passes in half a second."""

    def now(self) -> float:
        return time.monotonic() * 120


class Stopped(SystemClock):
    """A clock that a signal reaches once git has said its first word."""

    def __init__(self) -> None:
        super().__init__()
        self.begun = False

    def check(self) -> None:
        if self.begun:
            self._note(signal.SIGTERM, None)
        super().check()


class Answers:
    """What came, until it ends as the scripts' answers do."""

    def __init__(self) -> None:
        self.text = b""

    def __call__(self, data: bytes) -> bool:
        self.text += data
        return self.text.endswith(ENDS)


class Asked:
    """A reader whose git is a script; ``starts``: how often it was started."""

    def __init__(self, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._path = path
        self._log = path / "starts"
        self._log.touch()
        monkeypatch.setenv("PATH", f"{path}:{os.environ['PATH']}")
        self.reader = self.by(SystemClock())

    def git(self, script: str) -> None:
        program = self._path / "git"
        program.write_text(f"#!/bin/sh\necho $$ >>{self._log}\n{script}\n")
        program.chmod(0o755)

    def by(self, clock: SystemClock) -> ObjectReader:
        self.reader = ObjectReader(lambda: GitCall(["cat-file", "--batch-command"]), clock)
        return self.reader

    def ask(self, questions: str = "info x\n") -> bytes:
        answers = Answers()
        self.reader.ask(questions, answers)
        return answers.text

    @property
    def pids(self) -> list[str]:
        return self._log.read_text().split()


@pytest.fixture
def asked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Asked]:
    made = Asked(tmp_path, monkeypatch)
    yield made
    made.reader.close()


def test_all_questions_are_answered_by_one_git_which_close_ends(asked: Asked) -> None:
    asked.git("while read -r question; do echo $question; echo .; done")

    assert [asked.ask(f"info {name}\n") for name in "ab"] == [b"info a\n.\n", b"info b\n.\n"]
    (pid,) = asked.pids
    asked.reader.close()
    assert not Path(f"/proc/{pid}").exists()


def test_more_questions_than_a_pipe_holds_are_asked_while_the_answers_come(repo: Repository) -> None:
    reader = ObjectReader(lambda: GitCall([f"--git-dir={repo.path}/.git", "cat-file", "--batch-command"]), SystemClock())
    wanted, lines = 50_000, 0

    def take(data: bytes) -> bool:
        nonlocal lines
        lines += data.count(b"\n")
        return lines == wanted

    reader.ask(f"info {repo.head}\n" * wanted, take)
    reader.close()

    assert lines == wanted


def test_a_git_that_dies_is_told_by_its_own_words_and_another_answers_the_next_question(asked: Asked) -> None:
    asked.git("echo the beginning; echo fatal: pack is corrupt >&2; exit 128")

    with pytest.raises(GitFailedError, match=r"^fatal: pack is corrupt$"):
        asked.ask()

    asked.git("read -r question; echo $question; echo .; read -r more")
    assert asked.ask("info b\n") == b"info b\n.\n"
    assert len(asked.pids) == 2


def test_a_git_that_dies_without_a_word_is_told_by_its_exit(asked: Asked) -> None:
    asked.git("read -r question; exit 3")

    with pytest.raises(GitFailedError, match=r"^git cat-file ended with 3$"):
        asked.ask()


def test_what_a_failed_question_leaves_is_no_answer_to_the_next(asked: Asked) -> None:
    def unfit(_data: bytes) -> bool:
        message = "this is not what was asked"
        raise GitFailedError(message)

    asked.git("while read -r question; do echo $question; head -c 200000 /dev/zero; echo; echo .; done")

    with pytest.raises(GitFailedError, match="not what was asked"):
        asked.reader.ask("info a\n", unfit)

    assert asked.ask("info b\n").startswith(b"info b\n")


@pytest.mark.parametrize("script", ["exec sleep 600", "(echo word; read -r question; exec sleep 600) | head -c 2"])
def test_a_git_that_never_answers_is_stopped_at_the_time_limit(asked: Asked, script: str) -> None:
    asked.git(script)
    asked.by(FastClock())

    with pytest.raises(GitFailedError, match=r"^git cat-file was silent for 30 s and was stopped$"):
        asked.ask()

    assert not Path(f"/proc/{asked.pids[0]}").exists()


def test_a_git_that_answers_by_drops_is_stopped_at_the_time_limit(asked: Asked) -> None:
    asked.git("exec yes")
    asked.by(FastClock())

    with pytest.raises(GitFailedError, match=r"^git cat-file had not ended after 60 s and was stopped$"):
        asked.reader.ask("info a\n", lambda _data: False)


def test_a_signal_stops_a_git_that_is_being_asked(asked: Asked) -> None:
    asked.git("echo word; exec sleep 600")
    clock = Stopped()

    def take(_data: bytes) -> bool:
        clock.begun = True
        return False

    with pytest.raises(Cancelled):
        asked.by(clock).ask("info a\n", take)

    assert not Path(f"/proc/{asked.pids[0]}").exists()


def test_a_git_that_complains_without_end_is_read_and_its_complaints_are_cut(asked: Asked) -> None:
    asked.git("head -c 3000000 /dev/zero | tr '\\0' e >&2; exit 1")

    with pytest.raises(GitFailedError, match=r"^e+$") as failed:
        asked.ask()

    assert len(str(failed.value)) <= 64 << 10
