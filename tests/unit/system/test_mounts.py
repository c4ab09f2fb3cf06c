"""What the kernel says of mounts is read as it is written."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.system.mounts import mount_points

if TYPE_CHECKING:
    from pathlib import Path

TABLE = r"""22 1 8:1 / / rw - ext4 /dev/sda1 rw
23 22 8:1 /a\040b.toml /etc/a\040b.toml ro - ext4 /dev/sda1 rw
24 22 0:30 / /srv/back\134slash rw shared:1 - tmpfs none rw
"""


def test_the_places_of_all_mounts_also_those_with_a_space_or_a_backslash(tmp_path: Path) -> None:
    (tmp_path / "mountinfo").write_text(TABLE)

    assert mount_points(tmp_path / "mountinfo") == {"/", "/etc/a b.toml", "/srv/back\\slash"}
