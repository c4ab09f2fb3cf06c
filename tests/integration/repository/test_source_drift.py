from __future__ import annotations

import os
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from release_agent.config import sections as config
from release_agent.errors import Code, Failed, Refused
from release_agent.model import Kind
from release_agent.repository.files import digest
from release_agent.repository.source import GitSource
from release_agent.system.clock import SystemClock
from support.privileges import unprivileged
from support.repositories import Repository, listing, source_of

if TYPE_CHECKING:
    from pathlib import Path

ANY = (Kind.TAG, Kind.BRANCH)
FILES = {"app.py": "one\n", "sub/deep.txt": "deep", ".gitignore": "*.log\n/build/\n", "run": "#!/bin/sh\n"}


class Written:
    """A release as it was written, and what has become of it."""

    def __init__(self, source: GitSource, place: Path, revision: str = "main") -> None:
        self.source = source
        self.place = place
        self.commits = source.resolve(revision, ANY).commits
        source.write(self.commits, place)

    @property
    def drift(self) -> dict[str, str]:
        return self.source.drift(self.commits, self.place)


@pytest.fixture
def written(repo: Repository, scratch: Path, tmp_path: Path) -> Written:
    """A release of one repository."""
    repo.commit(FILES)
    (repo.path / "run").chmod(0o755)
    (repo.path / "link").symlink_to("app.py")
    repo.commit()
    (tmp_path / "release").mkdir()
    return Written(source_of(scratch, api=repo), tmp_path / "release")


def test_a_release_as_it_was_written_has_no_drift(written: Written) -> None:
    assert written.drift == {}


def test_a_changed_file_is_listed_with_what_it_is_now(written: Written) -> None:
    (written.place / "app.py").write_text("two\n")
    first = written.drift
    (written.place / "app.py").write_text("three\n")

    assert list(first) == list(written.drift) == ["app.py"]
    assert first["app.py"].startswith("file:-:")
    assert first != written.drift


def test_a_change_that_keeps_size_and_time_is_listed(written: Written) -> None:
    file = written.place / "app.py"
    before = file.stat()
    file.write_text("eno\n")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))

    assert list(written.drift) == ["app.py"]


def test_a_file_that_was_only_touched_is_no_drift(written: Written) -> None:
    (written.place / "app.py").touch()

    assert written.drift == {}


def test_a_missing_file_is_listed_as_missing(written: Written) -> None:
    (written.place / "sub/deep.txt").unlink()

    assert written.drift == {"sub/deep.txt": "missing"}


def test_an_added_file_is_listed_as_added(written: Written) -> None:
    (written.place / "sub/new.txt").write_text("x")

    assert list(written.drift) == ["sub/new.txt"]
    assert written.drift["sub/new.txt"].startswith("added file:")


def test_an_added_directory_is_listed_once(written: Written) -> None:
    (written.place / "new/deeper").mkdir(parents=True)
    (written.place / "new/deeper/x").touch()
    (written.place / "new/y").touch()

    assert written.drift == {"new/": "added directory"}


def test_a_changed_mode_is_listed(written: Written) -> None:
    (written.place / "app.py").chmod(0o755)
    (written.place / "run").chmod(0o644)

    assert {path: digest[:7] for path, digest in written.drift.items()} == {"app.py": "file:x:", "run": "file:-:"}


def test_a_link_that_leads_elsewhere_is_listed(written: Written) -> None:
    (written.place / "link").unlink()
    (written.place / "link").symlink_to("/etc/passwd")

    assert list(written.drift) == ["link"]
    assert written.drift["link"].startswith("link:")


def test_a_file_in_place_of_a_link_and_a_directory_in_place_of_a_file(written: Written) -> None:
    (written.place / "link").unlink()
    (written.place / "link").write_text("app.py")
    (written.place / "run").unlink()
    (written.place / "run").mkdir()

    assert written.drift["link"].startswith("file:")
    assert written.drift["run"] == "directory"


def test_what_the_commits_own_gitignore_names_does_not_count(written: Written) -> None:
    (written.place / "debug.log").touch()
    (written.place / "build").mkdir()
    (written.place / "build/out").touch()
    (written.place / "sub/build").mkdir()
    (written.place / "sub/build/out").touch()

    assert written.drift == {"sub/build/": "added directory"}


def test_looking_changes_nothing(written: Written) -> None:
    (written.place / "app.py").write_text("two\n")
    before = listing(written.place)

    assert written.drift
    assert listing(written.place) == before


def test_names_in_other_alphabets_and_with_line_breaks_are_told_whole(written: Written) -> None:
    for name in ("ünï ✓.txt", "new\nline", '"quoted"'):
        (written.place / name).touch()

    assert set(written.drift) == {"ünï ✓.txt", "new\nline", '"quoted"'}


def test_line_endings_that_a_checkout_makes_are_no_drift(repo: Repository, scratch: Path, tmp_path: Path) -> None:
    repo.commit({".gitattributes": "*.bat text eol=crlf\n", "x.bat": "a\nb\n"})
    (tmp_path / "release").mkdir()
    written = Written(source_of(scratch, api=repo), tmp_path / "release")
    assert (written.place / "x.bat").read_bytes() == b"a\r\nb\r\n"

    assert written.drift == {}


def test_drift_of_several_repositories_is_told_by_its_place_in_the_release(
    repo: Repository, scratch: Path, tmp_path: Path
) -> None:
    web = Repository(tmp_path / "web")
    web.commit({"index.html": "x"})
    (tmp_path / "release").mkdir()
    written = Written(source_of(scratch, api=repo, web=web), tmp_path / "release")
    (written.place / "web/index.html").unlink()
    (written.place / "api/new").touch()

    assert set(written.drift) == {"web/index.html", "api/new"}


def test_a_fifo_or_a_directory_in_place_of_a_file_is_named_and_not_read(written: Written) -> None:
    (written.place / "app.py").unlink()
    os.mkfifo(written.place / "app.py")
    (written.place / "run").unlink()
    (written.place / "run").mkdir()

    assert written.drift == {"app.py": "fifo", "run": "directory"}


@pytest.mark.parametrize("place", [".gitattributes", "sub/.gitattributes", ".gitignore", "sub/.gitignore"])
def test_a_pipe_that_git_would_read_is_named_and_not_waited_for(written: Written, place: str) -> None:
    (written.place / place).unlink(missing_ok=True)
    os.mkfifo(written.place / place)

    with pytest.raises(Failed, match=f"{place} is a fifo") as failed:
        _ = written.drift

    assert failed.value.code is Code.BUILD_FAILED


def test_a_huge_file_that_git_would_read_whole_is_named_and_not_read(written: Written) -> None:
    with (written.place / "sub/.gitignore").open("wb") as file:
        file.truncate(64 << 20)

    with pytest.raises(Failed, match=r"sub/\.gitignore is a file of 67108864 bytes"):
        _ = written.drift


def test_a_file_that_may_not_be_read_is_named(open_place: Path) -> None:
    file = open_place / "secret"
    file.touch(mode=0)

    with unprivileged():
        assert digest(file, SystemClock()) == "unreadable: Permission denied"


def test_a_huge_file_is_not_read_into_memory(written: Written) -> None:
    with (written.place / "huge").open("wb") as file:
        file.truncate(64 << 20)
    written.source.drift(written.commits, written.place / "sub")  # what is imported at the first use does not count

    tracemalloc.start()
    drift = written.drift
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()

    assert drift["huge"].startswith("added file:-:")
    assert most < 8 << 20


@pytest.fixture
def two(repo: Repository, scratch: Path, tmp_path: Path) -> Written:
    """A release of two repositories, each in a place of its own."""
    web = Repository(tmp_path / "repos" / "web")
    for each in (repo, web):
        each.commit({"app.py": "one\n"}, tag="v2")
    places = [config.Repository("api", str(repo.path), "parts/api"), config.Repository("web", str(web.path), "web")]
    (tmp_path / "release").mkdir()
    return Written(GitSource(places, scratch, SystemClock()), tmp_path / "release", "v2")


INTO = {"api": "parts/api", "web": "web"}


def test_what_lies_beside_the_repositories_is_drift(two: Written) -> None:
    place = two.place
    assert two.source.drift(two.commits, place, INTO) == {}
    (place / "stray").write_text("x")
    (place / "parts" / "stray").symlink_to("api")
    (place / "vendor" / "deep").mkdir(parents=True)
    (place / "web" / "app.py").write_text("two\n")
    (place / "parts" / "api").rename(two.place.parent / "elsewhere")
    (place / "parts" / "api").symlink_to(two.place.parent / "elsewhere")

    found = two.source.drift(two.commits, place, INTO)

    assert sorted(found) == ["parts/api", "parts/stray", "stray", "vendor/", "web/app.py"]
    assert all(found[path].startswith("added ") for path in ("parts/stray", "stray", "vendor/"))


def test_release_without_noted_places_is_looked_at_where_the_configuration_says(two: Written) -> None:
    (two.place / "stray").write_text("x")

    assert two.drift == {}


def test_release_is_compared_where_it_was_built_although_the_places_have_changed(two: Written, tmp_path: Path) -> None:
    moved = GitSource(
        [config.Repository(name, str(tmp_path / "repos" / name), f"moved/{name}") for name in ("api", "web")],
        tmp_path / "scratch",
        SystemClock(),
    )
    (two.place / "web" / "app.py").write_text("two\n")

    assert list(moved.drift(two.commits, two.place, INTO)) == ["web/app.py"]


def test_release_of_a_repository_that_is_no_longer_configured_cannot_be_compared(two: Written) -> None:
    with pytest.raises(Refused, match="repository old, which is no longer configured"):
        two.source.drift({**two.commits, "old": "0" * 40}, two.place, {**INTO, "old": "old"})
