from __future__ import annotations

import os
import shutil
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from support.roots import install, release, watched

if TYPE_CHECKING:
    from pathlib import Path


def target(root: Root) -> str:
    return os.readlink(root.link)


def test_what_is_published_is_current(root: Root) -> None:
    what = install(root, 1, app="one")

    root.publish(what.name)

    assert root.current() == what
    assert (root.link / "app").read_text() == "one"


def test_the_link_is_relative_so_that_the_root_may_be_mounted_elsewhere(root: Root) -> None:
    what = install(root, 1, app="one")
    root.publish(what.name)
    assert target(root) == f"releases/{what.name}"

    moved = root.path.rename(root.path.with_name("moved"))

    assert (moved / "current/app").read_text() == "one"


def test_root_may_be_a_link_to_a_directory_of_another_disk(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    (tmp_path / "root").symlink_to("disk")
    root = Root(tmp_path / "root", SystemClock())
    root.prepare()
    what = install(root, 1, app="one")

    root.publish(what.name)

    assert root.current() == what
    assert (tmp_path / "disk/current/app").read_text() == "one"


def test_current_is_swapped_by_rename_and_never_absent(root: Root) -> None:
    first, second = install(root, 1), install(root, 2)
    root.publish(first.name)

    with watched(root.path) as events:
        root.publish(second.name)
        seen = events()

    assert seen == [("moved here", "current")]
    assert root.current() == second


def test_a_release_arrives_among_the_others_in_one_step(root: Root) -> None:
    what = release(1)
    root.build(what.name, lambda directory: (directory / "app").touch())

    with watched(root.path / "releases") as events:
        root.install(what)
        seen = events()

    assert seen == [("moved here", what.name)]


def test_a_release_leaves_the_others_in_one_step(root: Root) -> None:
    what = install(root, 1, app="x")

    with watched(root.path / "releases") as events:
        root.discard(what.name)
        seen = events()

    assert seen == [("moved away", what.name)]


def test_what_a_killed_run_left_is_never_in_the_way(root: Root) -> None:
    first, second = install(root, 1), install(root, 2)
    for name in ("current", f"current-{os.getpid()}", "current.tmp", "current-new"):
        (root.incoming / name).symlink_to("releases/000009-aaaaaaaaaaaa")

    root.publish(first.name)
    root.publish(second.name)

    assert root.current() == second


def test_a_directory_in_the_place_of_current_is_not_replaced(root: Root) -> None:
    what = install(root, 1)
    root.link.mkdir()

    with pytest.raises(Failed) as failed:
        root.publish(what.name)

    assert failed.value.code is Code.ROOT_UNUSABLE
    assert failed.value.message.startswith(f"{root.link} is not a symlink")
    assert root.link.is_dir()


def test_a_link_that_dangles_names_no_release(root: Root) -> None:
    what = install(root, 1)
    root.publish(what.name)
    shutil.rmtree(root.directory(what.name))

    assert root.current() is None


@pytest.mark.parametrize("elsewhere", ["shared", "/", "releases", "../releases/x", "releases/unknown"])
def test_a_link_that_a_person_made_elsewhere_names_no_release(root: Root, elsewhere: str) -> None:
    root.link.symlink_to(elsewhere)

    assert root.current() is None


def test_an_absolute_link_into_the_releases_names_one(root: Root) -> None:
    what = install(root, 1)
    root.link.symlink_to(root.directory(what.name))

    assert root.current() == what
