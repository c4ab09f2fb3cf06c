from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Exit, Failed
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.system.sharing import Sharing
from support.roots import release, small_disk

if TYPE_CHECKING:
    from pathlib import Path


def test_a_release_that_does_not_fit_is_refused_before_it_is_built(root: Root) -> None:
    with pytest.raises(Failed) as failed:
        root.check_room(root.free() + (1 << 30), 1)

    assert (failed.value.code, failed.value.exit_code) == (Code.DISK_FULL, Exit.FAILED)
    assert f"MiB are free on {root.path}" in failed.value.message


@pytest.mark.needs("mount")
def test_a_disk_too_small_or_with_too_few_inodes_is_refused(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "2m", 50) as disk:
        root = Root(disk, SystemClock())
        root.prepare()
        root.check_room(0, 20)

        with pytest.raises(Failed, match=r"needs 1\.5 MiB, and (1\.9|2\.0) MiB are free") as bytes_missing:
            root.check_room(3 << 19, 20)
        with pytest.raises(Failed, match=r"needs 50 files, and \d\d inodes are free") as inodes_missing:
            root.check_room(0, 50)

    assert bytes_missing.value.code is inodes_missing.value.code is Code.DISK_FULL


@pytest.mark.needs("mount")
def test_a_disk_that_fills_up_while_building_is_said_so(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "256k") as disk:
        root = Root(disk, SystemClock())
        root.prepare()

        with pytest.raises(Failed) as failed:
            root.build(release(1).name, lambda directory: (directory / "big").write_bytes(bytes(1 << 20)) and None)

    assert failed.value.code is Code.DISK_FULL
    assert os.strerror(errno.ENOSPC) in failed.value.message


@pytest.mark.needs("mount")
def test_what_build_hooks_made_goes_if_a_release_does_not_fit_otherwise(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "6m") as disk:
        root = Root(disk, SystemClock())
        root.prepare()
        made = root.incoming / "made"
        made.write_bytes(bytes(2 << 20))
        root.cache.keep("0", root.incoming, ["made"], Sharing(links=False, clones_from=None), 1 << 30)
        made.unlink()

        root.make_room(1 << 20, 1)
        assert not root.cache.is_empty(), "it fits"
        root.check_room(4 << 20, 1)
        root.make_room(4 << 20, 1)
        assert root.cache.is_empty()
        with pytest.raises(Failed, match="are free on"):
            root.make_room(8 << 20, 1)
