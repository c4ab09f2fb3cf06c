"""The agent restores a release that programs and hooks wrote into: the files equal those of a fresh checkout."""

from __future__ import annotations

import os
import stat
import struct
from typing import TYPE_CHECKING

import git as _loaded_before_privileges_are_dropped  # noqa: F401
import pytest

from release_agent.config.sections import Repository
from release_agent.repository.source import GitSource
from release_agent.system.clock import SystemClock
from support.histories import EXECUTABLE, FILE, History, differences, picture
from support.privileges import NOBODY, unprivileged
from support.repositories import source_of

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from support.histories import Tree

_ACCESS, _DEFAULT = "system.posix_acl_access", "system.posix_acl_default"
# An access control list, see acl(5): user::rwx, user:65534:rwx, group::r-x, mask::rwx, other::r-x.
_NOBODY_WRITES = struct.pack("<I", 2) + b"".join(
    struct.pack("<HHI", *entry)
    for entry in ((0x01, 7, 0xFFFFFFFF), (0x02, 7, NOBODY), (0x04, 5, 0xFFFFFFFF), (0x10, 7, 0xFFFFFFFF), (0x20, 5, 0xFFFFFFFF))
)


class Restored:
    """A release of a single commit, to be damaged and restored."""

    def __init__(self, place: Path, tree: Tree) -> None:
        self.history = History.of(place, [tree])
        self.directory = place / "release"
        self.directory.mkdir()
        self.source = source_of(place / "scratch", api=self.history.repository)
        self.commits = {"api": self.history.commits[0]}
        self.source.write(self.commits, self.directory)

    def wrong(self) -> list[str]:
        """Restore it, and return what is not as in a fresh checkout."""
        self.source.restore(self.commits, self.directory)
        return differences(picture(self.directory), self.history.expected(self.commits["api"]))


@pytest.fixture
def make(tmp_path: Path) -> Callable[[Tree], Restored]:
    return lambda tree: Restored(tmp_path, tree)


@pytest.mark.parametrize("name", [b"Icon\r", b"\r", b"sub/a\rb\r", b'"Icon"\r', b"line\nbreak"])
def test_a_file_of_an_odd_name_is_found_as_it_is(make: Callable[[Tree], Restored], name: bytes) -> None:
    release = make({name: (FILE, b"x"), b"app.py": (FILE, b"x")})

    assert release.wrong() == []


ATTRIBUTES = b"*.bat eol=crlf\n*.id ident\n*.u16 working-tree-encoding=UTF-16LE\n* text=auto\n"


def test_a_converted_file_that_a_program_gave_its_committed_content_is_converted_again(make: Callable[[Tree], Restored]) -> None:
    committed = {b"a.bat": b"a\n", b"sub/b.id": b"$Id$\n", b"c.u16": b"c\n", b"plain": b"d\n"}
    release = make({b".gitattributes": (FILE, ATTRIBUTES)} | {path: (FILE, content) for path, content in committed.items()})
    inode = (release.directory / "plain").stat().st_ino
    for path, content in committed.items():
        (release.directory / path.decode()).write_bytes(content)

    assert release.wrong() == []
    assert (release.directory / "plain").stat().st_ino == inode, "what is not converted is not written again"


def test_attributes_hold_for_every_file_of_more_than_git_is_given_at_a_time(make: Callable[[Tree], Restored]) -> None:
    # A plus sorts before a dot.
    many = {f"+{number}.txt".encode(): (FILE, b"x\n") for number in range(5_050)}
    release = make({b".gitattributes": (FILE, b"*49.txt eol=crlf\n"), **many})
    for path in release.directory.iterdir():
        path.unlink()

    assert release.wrong() == []


def test_a_directory_gets_its_mode_and_its_owner_back(make: Callable[[Tree], Restored]) -> None:
    release = make({b"sub/deep/a": (FILE, b"a"), b"sub/b": (FILE, b"b")})
    (release.directory / "sub/deep").chmod(0o1700)
    (release.directory / "sub").chmod(0o2775)
    release.directory.chmod(0o2770)
    for place in (release.directory, release.directory / "sub", release.directory / "sub/b"):
        os.chown(place, NOBODY, NOBODY)

    assert release.wrong() == []


def test_what_somebody_else_may_do_with_a_file_or_a_directory_is_taken_from_him(make: Callable[[Tree], Restored]) -> None:
    release = make({b"sub/a": (FILE, b"a"), b"b": (EXECUTABLE, b"b")})
    for place, name in ((".", _DEFAULT), ("sub", _DEFAULT), ("sub", _ACCESS), ("sub/a", _ACCESS)):
        os.setxattr(release.directory / place, name, _NOBODY_WRITES)
    os.setxattr(release.directory / "b", "security.capability", bytes.fromhex("0100000200040000" + 12 * "00"))

    assert release.wrong() == []


def test_directories_keep_what_every_new_one_beside_them_gets(tmp_path: Path) -> None:
    os.setxattr(tmp_path, _DEFAULT, _NOBODY_WRITES)
    tmp_path.chmod(tmp_path.stat().st_mode | stat.S_ISGID)
    os.chown(tmp_path, -1, NOBODY)
    release = Restored(tmp_path, {b"sub/a": (FILE, b"a")})
    before = picture(release.directory)
    (release.directory / "sub").chmod(0)

    release.wrong()

    assert differences(picture(release.directory), before) == []


@pytest.mark.parametrize("mode", [0o000, 0o300, 0o500])
def test_a_user_who_is_not_root_gets_into_his_closed_directories(open_place: Path, mode: int) -> None:
    with unprivileged():
        release = Restored(open_place / "release", {b"sub/deep/a": (FILE, b"a")})
        for place in ("sub/deep", "sub", "."):
            (release.directory / place).chmod(mode)

        assert release.wrong() == []


def test_directories_above_repositories_are_put_right(tmp_path: Path) -> None:
    history = History.of(tmp_path, [{b"a": (FILE, b"a")}])
    release, elsewhere = tmp_path / "release", tmp_path / "elsewhere"
    commits = {"api": history.commits[0], "web": history.commits[0], "lib": history.commits[0]}
    places = {"api": "api", "web": "in/web", "lib": "in/deep/lib"}
    repositories = [Repository(name, str(history.repository.path), into) for name, into in places.items()]
    (tmp_path / "scratch").mkdir()
    source = GitSource(repositories, tmp_path / "scratch", SystemClock())
    release.mkdir()
    source.write(commits, release)
    expected = picture(release)
    (release / "in/deep").rename(elsewhere)
    elsewhere.chmod(0o700)
    (release / "in/deep").symlink_to(elsewhere)
    (release / "in/new").mkdir()
    (release / "in").chmod(0o777)
    (release / "api").chmod(0o2700)
    os.chown(release, NOBODY, NOBODY)

    source.restore(commits, release)

    assert differences(picture(release), expected) == []
    assert elsewhere.stat().st_mode & 0o777 == 0o700, "what lies elsewhere is not the agent's"
