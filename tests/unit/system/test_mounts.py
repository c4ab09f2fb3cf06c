"""The agent reads the kernel's table of mounts as the kernel writes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.system.mounts import mount_points, paths_of

if TYPE_CHECKING:
    from pathlib import Path

TABLE = r"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 8:1 /a\040b.toml /etc/a\040b.toml ro - ext4 /dev/sda1 rw
24 22 0:30 / /srv/back\134slash rw shared:1 - tmpfs none rw
"""


def test_the_places_of_all_mounts_also_those_with_a_space_or_a_backslash(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)

    assert mount_points(tmp_path / "mountinfo") == {"/", "/etc/a b.toml", "/srv/back\\slash"}


@pytest.mark.parametrize("character", ["\r", "\x0c", "\x85", "\u2028"])
def test_a_place_with_an_unusual_line_break_is_one_place(tmp_path: Path, character: str) -> None:
    (tmp_path / "mountinfo").write_bytes(f"22 1 8:1 / /a{character}b rw - ext4 /dev/sda1 rw\n".encode())

    assert mount_points(tmp_path / "mountinfo") == {f"/a{character}b"}


@pytest.mark.parametrize(
    ("directory", "paths"),
    [
        ("/srv/app/root", ["/srv/app/root", "/mnt/app/root", "/jail"]),
        ("/srv/app", ["/srv/app", "/mnt/app"]),
        ("/srv", ["/srv", "/mnt"]),
        ("/srv/application", ["/srv/application", "/mnt/application"]),
        ("/data/x", ["/data/x"]),
        ("/over/x", ["/over/x"]),
    ],
)
def test_directory_is_shown_by_every_mount_of_what_it_lies_in(tmp_path: Path, directory: str, paths: list[str]) -> None:
    table = [
        "22 1 8:1 / / rw - ext4 /dev/sda1 rw",
        "23 22 8:1 /srv /mnt rw - ext4 /dev/sda1 rw",
        "24 22 8:2 / /data rw - ext4 /dev/sdb1 rw",
        "25 22 8:1 /srv/app/root /jail rw - ext4 /dev/sda1 rw",
    ]
    table += ["26 22 8:3 / /over rw - ext4 /dev/sdc1 rw", "27 26 8:4 / /over rw - ext4 /dev/sdd1 rw"]
    (tmp_path / "mountinfo").write_text("\n".join(table))

    assert paths_of(directory, tmp_path / "mountinfo") == paths


def test_in_a_chroot_nothing_may_be_known_of_the_mount_of_a_directory(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text("24 22 8:2 / /data rw - ext4 /dev/sdb1 rw\n")

    assert paths_of("/srv", tmp_path / "mountinfo") == ["/srv"]
