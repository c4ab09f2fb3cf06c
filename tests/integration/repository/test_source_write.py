from __future__ import annotations

import os
from typing import TYPE_CHECKING

import git as _loaded_before_privileges_are_dropped  # noqa: F401
import pytest

from release_agent.errors import Code, Failed
from release_agent.model import Kind
from support.privileges import unprivileged
from support.repositories import Repository, git, modes, source_of

if TYPE_CHECKING:
    from pathlib import Path

ANY = (Kind.TAG, Kind.BRANCH, Kind.COMMIT)


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Where a release is written."""
    made = tmp_path / "release"
    made.mkdir()
    return made


def write(scratch: Path, place: Path, revision: str = "main", /, **repositories: Repository) -> Path:
    source = source_of(scratch, **repositories)
    source.write(source.resolve(revision, ANY).commits, place)
    return place


def entries(place: Path) -> set[str]:
    return {str(path.relative_to(place)) for path in place.rglob("*")}


def test_the_commits_files_and_nothing_of_the_agents(repo: Repository, scratch: Path, place: Path) -> None:
    repo.commit({"a/b/c.txt": "deep", ".hidden": "h", "ünïcode ✓.txt": "u", "new\nline": "n"})
    (repo.path / "untracked").touch()
    (repo.path / "app.py").write_text("not committed")

    write(scratch, place, api=repo)

    assert entries(place) == {"app.py", "a", "a/b", "a/b/c.txt", ".hidden", "ünïcode ✓.txt", "new\nline"}
    assert (place / "app.py").read_text() == "print('one')\n"


def test_files_are_644_and_executables_755(repo: Repository, scratch: Path, place: Path) -> None:
    repo.commit({"run": "#!/bin/sh\n", "private": "x"})
    (repo.path / "run").chmod(0o700)
    (repo.path / "private").chmod(0o600)
    repo.commit()

    assert modes(write(scratch, place, api=repo)) == {"app.py": 0o644, "run": 0o755, "private": 0o644}


def test_symlinks_are_written_as_links_wherever_they_lead(repo: Repository, scratch: Path, place: Path) -> None:
    links = {"inside": "app.py", "broken": "nowhere", "outside": "/etc/passwd", "up": "../.."}
    for name, target in links.items():
        (repo.path / name).symlink_to(target)
    repo.commit()

    write(scratch, place, api=repo)

    assert {name: os.readlink(place / name) for name in links} == links


def test_line_endings_are_those_of_a_checkout(repo: Repository, scratch: Path, place: Path, tmp_path: Path) -> None:
    attributes = "*.bat text eol=crlf\n*.sh text eol=lf\n*.bin -text\n*.id ident\n"
    repo.commit(
        {
            ".gitattributes": attributes,
            "x.bat": "a\nb\n",
            "sub/y.bat": "a\n",
            "z.sh": "a\n",
            "w.bin": b"a\r\n\0",
            "v.id": "$Id$\n",
        }
    )
    git(tmp_path, "clone", "--quiet", str(repo.path), "checkout")

    write(scratch, place, api=repo)

    assert (place / "x.bat").read_bytes() == b"a\r\nb\r\n"
    assert (place / "sub/y.bat").read_bytes() == b"a\r\n"
    for name in ("x.bat", "sub/y.bat", "z.sh", "w.bin", "v.id"):
        assert (place / name).read_bytes() == (tmp_path / "checkout" / name).read_bytes()


def test_files_that_an_archive_would_leave_out_are_there(repo: Repository, scratch: Path, place: Path) -> None:
    repo.commit({".gitattributes": "tests/** export-ignore\nversion export-subst\n", "tests/x": "x", "version": "$Format:%H$\n"})

    write(scratch, place, api=repo)

    assert (place / "tests/x").read_text() == "x"
    assert (place / "version").read_text() == "$Format:%H$\n"


def test_files_that_are_committed_though_ignored_are_there(repo: Repository, scratch: Path, place: Path) -> None:
    repo.commit({".gitignore": "*.log\n", "kept.log": "x"})

    assert (write(scratch, place, api=repo) / "kept.log").exists()


def test_several_repositories_each_go_to_their_place(repo: Repository, scratch: Path, place: Path, tmp_path: Path) -> None:
    web = Repository(tmp_path / "web")
    web.commit({"index.html": "x"})

    assert entries(write(scratch, place, api=repo, web=web)) == {"api", "api/app.py", "web", "web/index.html"}


def test_an_empty_commit_is_an_empty_release(tmp_path: Path, scratch: Path, place: Path) -> None:
    empty = Repository(tmp_path / "empty")
    empty.commit()

    assert entries(write(scratch, place, api=empty)) == set()


def test_what_cannot_be_written_fails_the_build_and_names_the_place(open_place: Path) -> None:
    repo = Repository(open_place / "repo")
    repo.commit({"app.py": "x"})
    for name, mode in (("scratch", 0o777), ("release", 0o555)):
        (open_place / name).mkdir()
        (open_place / name).chmod(mode)

    with unprivileged(), pytest.raises(Failed) as failed:
        write(open_place / "scratch", open_place / "release", api=repo)

    assert failed.value.code is Code.BUILD_FAILED
    assert f"repository api into {open_place}/release" in failed.value.message
    assert "Permission denied" in failed.value.message
