from __future__ import annotations

import errno
import os
import sqlite3
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.system.disk import (
    check_space,
    disk_full,
    explained,
    free_bytes,
    is_full,
    read_regular,
    remove,
    sync_directory,
    sync_mount,
    unusable,
)
from support.privileges import unprivileged
from support.roots import small_disk

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("number", "code"),
    [
        (errno.ENOSPC, Code.DISK_FULL),
        (errno.EDQUOT, Code.DISK_FULL),
        (errno.EACCES, Code.BUILD_FAILED),
        (errno.EIO, Code.BUILD_FAILED),
        (errno.EROFS, Code.BUILD_FAILED),
    ],
)
def test_what_a_failing_disk_means(tmp_path: Path, number: int, code: Code) -> None:
    with pytest.raises(Failed) as failed, explained(tmp_path):
        raise OSError(number, os.strerror(number))

    assert failed.value.code is code
    assert failed.value.message == f"could not write {tmp_path}: {os.strerror(number)}"


def test_the_file_at_fault_is_named_rather_than_the_place(tmp_path: Path) -> None:
    with pytest.raises(Failed, match="nowhere/file"), explained(tmp_path):
        (tmp_path / "nowhere" / "file").touch()


def test_the_path_that_a_move_would_have_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "made").touch()

    with pytest.raises(Failed, match=r"^could not write .*/nowhere/moved: No such file"), explained(tmp_path):
        (tmp_path / "made").rename(tmp_path / "nowhere" / "moved")


def test_a_really_full_device_is_said_to_be_full(tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed, explained(tmp_path), open("/dev/full", "w") as full:  # noqa: PTH123 - a device
        full.write("x")

    assert failed.value.code is Code.DISK_FULL


def test_what_to_do_about_a_full_disk_is_said_alike_wherever_it_is_noticed(tmp_path: Path) -> None:
    with pytest.raises(Failed) as writing, explained(tmp_path):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    with pytest.raises(Failed) as measuring:
        check_space(tmp_path, free_bytes(tmp_path) + 1, 0)

    assert writing.value.hint == measuring.value.hint == disk_full("git failed").hint
    assert "release-agent prune" in writing.value.hint


@pytest.mark.needs("mount")
def test_a_disk_without_space_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        assert not is_full(disk)
        with suppress(OSError):
            (disk / "big").write_bytes(bytes(1 << 20))
        assert is_full(disk)


@pytest.mark.needs("mount")
def test_a_disk_without_inodes_is_full(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m", 10) as disk:
        with suppress(OSError):
            for number in range(10):
                (disk / str(number)).touch()
        assert is_full(disk)


def test_space_is_looked_at_where_a_root_will_be(tmp_path: Path) -> None:
    assert free_bytes(tmp_path / "not" / "made") == pytest.approx(free_bytes(tmp_path), rel=0.1)


def test_other_errors_are_not_the_disks(tmp_path: Path) -> None:
    with pytest.raises(sqlite3.Error), explained(tmp_path):
        raise sqlite3.DatabaseError


def test_a_root_that_cannot_be_used_is_named(tmp_path: Path) -> None:
    error = unusable(tmp_path, OSError(errno.EROFS, os.strerror(errno.EROFS)))

    assert (error.code, error.message) == (Code.ROOT_UNUSABLE, f"cannot use {tmp_path}: Read-only file system")


def test_files_links_and_directories_are_removed_and_nothing_beyond_a_link(tmp_path: Path) -> None:
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "kept").touch()
    inside = tmp_path / "inside"
    inside.mkdir()
    (inside / "link").symlink_to(outside)
    (inside / "file").touch()
    link = tmp_path / "link"
    link.symlink_to(outside)
    (tmp_path / "dangling").symlink_to("nowhere")

    for path in (inside, link, tmp_path / "dangling", tmp_path / "nothing"):
        remove(path)

    assert [path.name for path in tmp_path.iterdir()] == ["outside"]
    assert (outside / "kept").exists()


@pytest.mark.parametrize("mode", [0o555, 0o500, 0o000, 0o300])
def test_directories_are_removed_whatever_their_modes(open_place: Path, mode: int) -> None:
    with unprivileged():
        top = open_place / "top"
        (top / "locked").mkdir(parents=True)
        (top / "locked/file").touch()
        (top / "locked").chmod(mode)

        remove(top)

        assert not top.exists()


def test_what_cannot_be_removed_says_why(open_place: Path) -> None:
    (open_place / "others").mkdir()
    (open_place / "others/file").touch()

    with unprivileged(), pytest.raises(PermissionError):
        remove(open_place / "others")

    assert (open_place / "others/file").exists()


@pytest.mark.needs("mount")
def test_a_mount_inside_is_not_taken_for_removed(tmp_path: Path) -> None:
    top = tmp_path / "top"
    top.mkdir()

    with small_disk(top / "disk", "1m"), pytest.raises(OSError, match="something is mounted there"):
        remove(top)

    assert (top / "disk").exists()


@pytest.mark.needs("mount")
def test_what_a_hook_has_mounted_inside_keeps_its_files(tmp_path: Path) -> None:
    precious, inside = tmp_path / "precious", tmp_path / "top" / "deep" / "inside"
    precious.mkdir()
    inside.mkdir(parents=True)
    (precious / "keep").touch()
    subprocess.run(["mount", "--bind", precious, inside], check=True)

    try:
        with pytest.raises(OSError, match="something is mounted there"):
            remove(tmp_path / "top")
        assert (precious / "keep").exists()
    finally:
        subprocess.run(["umount", inside], check=True)


def test_syncing_a_directory_that_is_missing_says_so(tmp_path: Path) -> None:
    sync_directory(tmp_path)
    sync_mount(tmp_path)

    with pytest.raises(FileNotFoundError):
        sync_directory(tmp_path / "nowhere")
    with pytest.raises(FileNotFoundError):
        sync_mount(tmp_path / "nowhere")


def test_a_file_is_read_to_its_limit_and_no_further(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"12345")

    assert read_regular(tmp_path / "file", 5) == b"12345"
    with pytest.raises(OSError, match="larger than 4 bytes"):
        read_regular(tmp_path / "file", 4)


def test_what_is_no_regular_file_is_not_read(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")

    for place in (tmp_path / "pipe", tmp_path):
        with pytest.raises(OSError, match=r"not a regular file|Is a directory"):
            read_regular(place, 100)
