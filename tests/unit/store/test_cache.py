"""The cached outputs of build hooks are complete, unchanged, and protected from other users."""

from __future__ import annotations

import os
import re
from typing import TYPE_CHECKING

import pytest

from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.system.disk import remove
from release_agent.system.sharing import Sharing
from release_agent.system.trees import COPIES
from support.privileges import unprivileged
from support.roots import cut_power, small_ext4, small_xfs

if TYPE_CHECKING:
    from pathlib import Path

LINKS = Sharing(links=True, clones_from=None)
CLONES = Sharing(links=False, clones_from=0)
MUCH = 1 << 30
KEY = "0" * 64


@pytest.fixture
def made(root: Root) -> Path:
    """Something of all kinds that a hook may make."""
    directory = root.incoming / "000001-0123456789ab"
    (directory / "made/closed").mkdir(parents=True)
    (directory / "made/closed/file").write_text("1")
    (directory / "made/program").write_text("2")
    (directory / "made/empty").touch()
    (directory / "made" / os.fsdecode(b"\xff\n")).write_text("3")
    (directory / "made/link").symlink_to("closed//file")
    (directory / "made/program").chmod(0o4750)
    os.chown(directory / "made/closed", 0, 12345)
    os.utime(directory / "made/closed/file", ns=(1, 1_000_000_001))
    (directory / "made/closed").chmod(0o2555)
    (directory / "lone").mkdir()
    (directory / "lone/file").write_text("4")
    (directory / "lone").chmod(0o700)
    return directory


PATHS = ["made", "lone/file"]


def taken(root: Root, sharing: Sharing = COPIES) -> Path:
    place = root.incoming / "000002-0123456789ab"
    place.mkdir()
    assert root.cache.take(KEY, place, PATHS, sharing)
    return place


def test_nothing_is_put_in_that_was_not_kept(root: Root) -> None:
    assert not root.cache.take(KEY, root.incoming, PATHS, COPIES)


def test_what_is_put_in_is_what_was_made_with_modes_owners_and_times(root: Root, made: Path) -> None:
    root.cache.keep(KEY, made, PATHS, COPIES, MUCH)

    place = taken(root)

    assert describe(place) == describe(made)
    assert not (place / "made/program").samefile(made / "made/program")
    assert root.cache.directory.stat().st_mode & 0o777 == 0o700


def describe(directory: Path) -> dict[str, tuple[object, ...]]:
    """Return kind, mode, owner, group, time and content of everything below a directory."""
    found = {}
    for path in directory.rglob("*"):
        there = path.lstat()
        holds = os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else None
        found[str(path.relative_to(directory))] = (there.st_mode, there.st_uid, there.st_gid, there.st_mtime_ns, holds)
    return found


def test_hard_links_are_made_if_they_are_asked_for(root: Root, made: Path) -> None:
    root.cache.keep(KEY, made, PATHS, LINKS, MUCH)

    place = taken(root, LINKS)

    assert (place / "made/program").samefile(made / "made/program")
    assert describe(place) == describe(made)


@pytest.mark.needs("mount")
def test_clones_are_files_of_their_own(tmp_path: Path) -> None:
    with small_xfs(tmp_path / "xfs") as disk:
        root = Root(disk / "root", SystemClock())
        root.prepare()
        directory = root.incoming / "1"
        directory.mkdir()
        (directory / "made").write_bytes(os.urandom(1 << 20))
        root.cache.keep(KEY, directory, ["made"], CLONES, MUCH)
        before = os.statvfs(disk).f_bfree
        place = root.incoming / "2"
        place.mkdir()

        assert root.cache.take(KEY, place, ["made"], CLONES)

        assert (place / "made").read_bytes() == (directory / "made").read_bytes()
        assert before - os.statvfs(disk).f_bfree < (1 << 20) // os.statvfs(disk).f_frsize
        (place / "made").write_text("changed")
        (directory / "made").unlink()
        assert root.cache.take(KEY, directory, ["made"], CLONES)


def test_damaged_outputs_are_not_put_in_and_nothing_is_left_of_them(root: Root, made: Path) -> None:
    root.cache.keep(KEY, made, PATHS, COPIES, MUCH)
    (root.cache.directory / KEY / "files/lone/file").write_text("5")
    place = root.incoming / "2"
    place.mkdir()

    with pytest.raises(OSError, match="it has changed"):
        root.cache.take(KEY, place, PATHS, COPIES)

    assert list(place.iterdir()) == []


def test_directory_that_the_release_has_already_stays_as_it_is(root: Root, made: Path) -> None:
    root.cache.keep(KEY, made, PATHS, COPIES, MUCH)
    place = root.incoming / "2"
    (place / "lone").mkdir(parents=True)
    (place / "lone/other").touch()

    assert root.cache.take(KEY, place, PATHS, COPIES)
    assert (place / "lone").stat().st_mode & 0o777 == 0o755

    (root.cache.directory / KEY / "files/lone/file").unlink()
    remove(place / "made")
    (place / "lone/file").unlink()
    with pytest.raises(FileNotFoundError):
        root.cache.take(KEY, place, PATHS, COPIES)
    assert [path.name for path in (place / "lone").iterdir()] == ["other"]


@pytest.mark.parametrize(
    ("was", "damaged"),
    [
        (rb'"file", (\d+)', rb'"file", "\1"'),  # JSON still, and a mode that is a text
        (rb"made/program", rb"made/\\u0000"),
        (rb'{"bytes"', rb'{"bytes": Infinity, "was"'),
        (rb'{"bytes": ', rb'{"bytes": -'),
        (rb"(?s).*", rb"[" * 4000),
        (rb"(?s).*", rb"{}\n[]"),
        (rb"(?s).*", rb"\xff"),
        (rb"(?s).*", rb""),
        (rb"\n[^\n]*$", rb""),
    ],
)
def test_outputs_with_a_damaged_note_are_put_in_as_they_were_or_not_at_all(
    root: Root, made: Path, was: bytes, damaged: bytes
) -> None:
    root.cache.keep(KEY, made, PATHS, COPIES, MUCH)
    note = root.cache.directory / KEY / "note"
    note.write_bytes(re.sub(was, damaged.replace(rb"\xff", b"\xff"), note.read_bytes(), count=1))
    place = root.incoming / "2"
    place.mkdir()

    try:
        root.cache.take(KEY, place, PATHS, COPIES)
    except OSError:
        assert list(place.iterdir()) == []
    else:
        assert describe(place) == describe(made)
    assert root.cache.prune(8192) == 1


def test_room_is_made_before_something_is_kept(root: Root, made: Path) -> None:
    room = 3 * 4096  # a file with its directory
    removed = [root.cache.keep(str(number), made, ["lone/file"], COPIES, 2 * room) for number in range(4)]

    assert removed == [0, 0, 1, 1]
    assert sorted(path.name for path in root.cache.directory.iterdir()) == ["2", "3"]


def test_directory_on_the_way_that_is_a_link_is_not_followed(root: Root, made: Path, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / "elsewhere/file").write_text("secret")
    (made / "way").symlink_to(tmp_path / "elsewhere")

    with pytest.raises(OSError, match="is a link"):
        root.cache.keep(KEY, made, ["way/file"], COPIES, MUCH)

    assert list(root.cache.directory.iterdir()) == []


def test_least_recently_used_and_unreadable_outputs_go_first(root: Root, made: Path) -> None:
    for number in range(3):
        root.cache.keep(str(number), made, ["lone/file"], COPIES, MUCH)
        os.utime(root.cache.directory / str(number) / "note", ns=(number, number))
    (root.cache.directory / "stray").mkdir()
    os.mkfifo(root.cache.directory / "stray/note")
    place = root.incoming / "2"
    place.mkdir()
    assert root.cache.take("0", place, ["lone/file"], COPIES)

    removed = root.cache.prune(2 * 3 * 4096)

    assert (removed, sorted(path.name for path in root.cache.directory.iterdir())) == (2, ["0", "2"])
    assert root.cache.prune(0) == 2


@pytest.mark.needs("mount")
def test_power_cut_finds_what_was_kept_whole(tmp_path: Path) -> None:
    with small_ext4(tmp_path / "disk", "32m", 2000) as disk:
        root = Root(disk / "root", SystemClock())
        root.prepare()
        directory = root.incoming / "1"
        directory.mkdir()
        (directory / "made").write_bytes(b"1" * (1 << 20))
        root.cache.keep(KEY, directory, ["made"], COPIES, MUCH)
        cut_power(disk)
        place = root.incoming / "2"
        place.mkdir(parents=True)

        assert root.cache.take(KEY, place, ["made"], COPIES)
        assert (place / "made").stat().st_size == 1 << 20


def test_directory_of_outputs_that_a_hook_closed_is_opened_again(root: Root) -> None:
    root.cache.directory.chmod(0)

    root.take_back()

    assert root.cache.directory.stat().st_mode & 0o700 == 0o700


def test_directories_closed_to_writers_are_kept_put_in_and_removed_by_a_user_that_is_not_root(
    open_place: Path,
) -> None:
    with unprivileged():
        root = Root(open_place / "root", SystemClock())
        root.prepare()
        closed = root.incoming / "1" / "made/closed"
        closed.mkdir(parents=True)
        (closed / "file").write_text("1")
        (closed / "file").chmod(0o400)
        closed.chmod(0o500)
        root.cache.keep(KEY, root.incoming / "1", ["made"], COPIES, MUCH)
        (root.incoming / "2").mkdir()

        assert root.cache.take(KEY, root.incoming / "2", ["made"], COPIES)
        assert describe(root.incoming / "2") == describe(root.incoming / "1")
        root.cache.forget(KEY)
        assert root.cache.is_empty()
