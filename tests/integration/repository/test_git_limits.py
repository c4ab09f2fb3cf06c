"""Every call of git has a time limit and a size limit, and the agent notices work that git did not do."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import git as _loaded_before_git_is_replaced  # noqa: F401
import pytest

from release_agent.config import sections
from release_agent.errors import Cancelled, Code, Failed, Refused, ReleaseError
from release_agent.model import Kind
from release_agent.repository.process import LARGEST_TEXT, GitCall, GitFailedError, output, stream
from release_agent.repository.source import GitSource
from release_agent.system.clock import SystemClock
from support.repositories import Repository, git, source_of


class FastClock(SystemClock):
    """A clock by which a minute passes in half a second."""

    def now(self) -> float:
        return time.monotonic() * 120


class Signalled(SystemClock):
    """A clock that a signal has reached once ``after`` exists."""

    def __init__(self, after: Path) -> None:
        super().__init__()
        self._after = after

    def check(self) -> None:
        if self._after.exists():
            self._note(signal.SIGTERM, None)
        super().check()


def replaced_git(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, script: str) -> None:
    """Put a program before git; ``$real`` is git."""
    place = tmp_path / "bin"
    place.mkdir(exist_ok=True)
    program = place / "git"
    program.write_text(f"#!/bin/sh\nreal=/usr/bin/git\n{script}\n")
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{place}:{os.environ['PATH']}")


def one(repo: Repository, scratch: Path, clock: SystemClock) -> GitSource:
    return GitSource([sections.Repository("api", str(repo.path), ".")], scratch, clock)


def everything(source: GitSource, place: Path) -> None:
    """Do what a deployment and a dry run do with a repository."""
    target = source.resolve("v1.0.0", (Kind.TAG,))
    source.read(target.commits, "release.toml")
    source.size(target.commits)
    place.mkdir()
    source.write(target.commits, place)
    source.drift(target.commits, place)


def test_a_fifo_among_the_tags_ends_at_the_time_limit(repo: Repository, scratch: Path) -> None:
    os.mkfifo(repo.path / ".git/refs/tags/v9")

    with pytest.raises(Refused, match=r"had not ended after 60 s") as refused:
        one(repo, scratch, FastClock()).tags()

    assert refused.value.code is Code.REPOSITORY_UNREADABLE


def test_a_run_that_is_told_to_stop_stops_git(
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "pid"
    replaced_git(monkeypatch, tmp_path, f"echo $$ > {marker}.new; mv {marker}.new {marker}; exec sleep 600")

    with pytest.raises(Cancelled):
        one(repo, scratch, Signalled(marker)).tags()

    assert not Path(f"/proc/{marker.read_text().strip()}").exists()


def test_a_git_that_ignores_the_signal_is_killed(
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    marker = tmp_path / "pid"
    script = f"trap '' TERM; echo $$ > {marker}.new; mv {marker}.new {marker}; while :; do sleep 0.1; done"
    replaced_git(monkeypatch, tmp_path, script)

    with pytest.raises(Cancelled):
        one(repo, scratch, Signalled(marker)).tags()

    assert not Path(f"/proc/{marker.read_text().strip()}").exists()


def test_a_git_that_prints_without_end_is_stopped(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced_git(monkeypatch, tmp_path, "exec yes")

    with pytest.raises(GitFailedError, match=r"printed more than 4 MiB"):
        output(GitCall(["cat-file"], size=LARGEST_TEXT), SystemClock())


def test_a_git_that_complains_without_end_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced_git(monkeypatch, tmp_path, "head -c 30000000 /dev/zero | tr '\\0' e >&2; exit 3")

    with pytest.raises(GitFailedError, match=r"^e+$") as failed:
        output(GitCall(["log"]), SystemClock())

    assert len(str(failed.value)) <= 64 << 10


def test_a_pipe_that_something_else_holds_open_delays_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pid = tmp_path / "pid"
    replaced_git(monkeypatch, tmp_path, f"sleep 600 & echo $! > {pid}; echo done")

    assert output(GitCall(["log"]), SystemClock()) == b"done\n"

    os.kill(int(pid.read_text()), signal.SIGKILL)


def test_what_git_prints_comes_in_pieces(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    replaced_git(monkeypatch, tmp_path, "head -c 5000000 /dev/zero")
    sizes: list[int] = []

    stream(GitCall(["cat-file"]), SystemClock(), lambda data: sizes.append(len(data)))

    assert sum(sizes) == 5_000_000
    assert max(sizes) <= 1 << 20


@pytest.mark.parametrize("verb", ["rev-parse", "for-each-ref", "cat-file", "ls-tree", "read-tree", "update-index"])
@pytest.mark.parametrize("prints", ["", "printf 'garbage\\377\\0\\n'"])
def test_a_git_that_exits_with_0_without_its_work_is_no_success(  # noqa: PLR0913, PLR0917
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verb: str, prints: str
) -> None:
    replaced_git(monkeypatch, tmp_path, f'case " $* " in *" {verb} "*) {prints or ":"}; exit 0;; esac; exec $real "$@"')

    # An agent whose git does nothing may refuse, fail, or do without; it never ends by another exception.
    try:
        everything(source_of(scratch, api=repo), tmp_path / "release")
    except ReleaseError:
        assert not (tmp_path / "release").exists() or verb != "update-index"
    else:
        assert (tmp_path / "release/app.py").read_text() == "print('one')\n"


def test_a_checkout_that_did_nothing_is_no_release(
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"more.py": "x"})
    replaced_git(monkeypatch, tmp_path, 'case " $* " in *" read-tree "*) exit 0;; esac; exec $real "$@"')
    source, place = source_of(scratch, api=repo), tmp_path / "release"
    place.mkdir()

    with pytest.raises(Failed, match=r"2 files are missing, such as app.py") as failed:
        source.write({"api": repo.head}, place)

    assert failed.value.code is Code.BUILD_FAILED


def test_a_checkout_that_did_half_of_it_is_no_release(
    repo: Repository, scratch: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    repo.commit({"more.py": "x"})
    replaced_git(monkeypatch, tmp_path, '"$real" "$@"; s=$?; case " $* " in *" -u "*) rm more.py;; esac; exit $s')
    source, place = source_of(scratch, api=repo), tmp_path / "release"
    place.mkdir()

    with pytest.raises(Failed, match=r"1 files are missing, such as more.py"):
        source.write({"api": repo.head}, place)


def test_a_partial_clone_is_refused_by_name(repo: Repository, scratch: Path, tmp_path: Path) -> None:
    repo.git("config", "uploadpack.allowFilter", "true")
    git(tmp_path, "clone", "--quiet", "--filter=blob:none", "--no-checkout", f"file://{repo.path}", "partial")
    source = source_of(scratch, api=tmp_path / "partial")

    with pytest.raises(Refused, match=r"lacks 1 of 1 files, such as app.py") as refused:
        source.size(source.resolve("v1.0.0", (Kind.TAG,)).commits)

    assert refused.value.code is Code.REPOSITORY_UNREADABLE
    assert "--filter" in refused.value.hint


def test_a_submodule_is_refused_by_its_name(repo: Repository, scratch: Path, tmp_path: Path) -> None:
    repo.git("update-index", "--add", "--cacheinfo", f"160000,{'1' * 40},libs/vendor")
    repo.git("commit", "--quiet", "--message=submodule")
    source, commits = source_of(scratch, api=repo), {"api": repo.head}
    (tmp_path / "release").mkdir()

    with pytest.raises(Refused, match=r"libs/vendor of repository api .* is a submodule") as planned:
        source.size(commits)
    with pytest.raises(Refused, match=r"libs/vendor of repository api"):
        source.write(commits, tmp_path / "release")

    assert planned.value.code is Code.REPOSITORY_INCOMPLETE
