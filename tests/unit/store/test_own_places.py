"""The agent refuses links in place of its own files, never waits for pipes, and checks its notes."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Code, Failed
from release_agent.model import Request
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.system.left_behind import end_left_behind
from support.privileges import unprivileged
from support.roots import install, release, small_disk

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def replace_by_link(place: Path, elsewhere: Path) -> None:
    """Put a link to another directory into the place of a directory."""
    shutil.rmtree(place)
    place.symlink_to(elsewhere)


@pytest.mark.parametrize("name", [".release-agent/incoming", "releases", ".release-agent", ".release-agent/releases"])
def test_link_in_place_of_an_own_directory_is_refused_and_not_followed(root: Root, tmp_path: Path, name: str) -> None:
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "precious").touch()
    replace_by_link(root.path / name, elsewhere)

    with pytest.raises(Failed) as refused, root.lock(Request("me"), wait=False):
        pass

    assert refused.value.code is Code.ROOT_UNUSABLE
    assert [path.name for path in elsewhere.iterdir()] == ["precious"]


def test_incoming_that_became_a_link_during_a_run_is_not_followed_when_a_release_is_discarded(root: Root, tmp_path: Path) -> None:
    name = release(1).name
    (tmp_path / "elsewhere" / name).mkdir(parents=True)
    replace_by_link(root.incoming, tmp_path / "elsewhere")

    with pytest.raises(Failed):
        root.discard(name)

    assert (tmp_path / "elsewhere" / name).is_dir()


def test_who_is_not_the_owner_of_the_root_is_told_which_user_to_be(open_place: Path) -> None:
    root = Root(open_place / "root", SystemClock())
    root.prepare()
    for place in (root.path, *root.path.rglob("*")):
        os.chown(place, 12345, 12345, follow_symlinks=False)

    with unprivileged(), pytest.raises(Failed) as refused, root.lock(Request("me"), wait=False):
        pass

    assert refused.value.hint == f"run it as 12345, who owns {root.own}, or as root"


@pytest.mark.parametrize("closed", [".", "releases"])
@pytest.mark.parametrize("look", [Root.current, Root.releases, lambda root: root.get(release(1).name)])
def test_who_may_not_enter_the_root_is_told_so_and_not_that_nothing_is_live(
    open_place: Path, closed: str, look: Callable[[Root], object]
) -> None:
    root = Root(open_place / "root", SystemClock())
    root.prepare()
    root.publish(install(root, 1).name)
    for place in (root.path, *root.path.rglob("*")):
        os.chown(place, 12345, 12345, follow_symlinks=False)
    (root.path / closed).chmod(0o700)

    with unprivileged(), pytest.raises(Failed) as refused:
        look(root)

    assert refused.value.code is Code.ROOT_UNUSABLE
    assert refused.value.hint.startswith(f"run it as 12345, who owns {root.path}")


@pytest.mark.parametrize("kind", ["pipe", "link"])
def test_lock_that_is_no_regular_file_is_refused(root: Root, tmp_path: Path, kind: str) -> None:
    lock = root.own / "lock"
    lock.unlink(missing_ok=True)
    if kind == "pipe":
        os.mkfifo(lock)
    else:
        lock.symlink_to(tmp_path / "elsewhere")

    assert root.holder() is None
    with pytest.raises(Failed) as refused, root.lock(Request("me"), wait=False):
        pass

    assert refused.value.code is Code.ROOT_UNUSABLE
    assert not (tmp_path / "elsewhere").exists()


def test_pipe_or_huge_file_in_place_of_a_note_is_not_read(root: Root) -> None:
    what = install(root, 1)
    note = root.own / "releases" / f"{what.name}.json"
    with note.open("ab") as file:
        file.truncate(1 << 30)
    assert root.releases() == []

    note.unlink()
    os.mkfifo(note)

    assert root.releases() == []


@pytest.mark.parametrize(
    "edited",
    [
        *({"name": "../../x"}, {"commits": [1]}, {"commits": {"api": 1}}, {"revision": None}, {"built": 3}, {"previous": 5}),
        *(
            {"published_at": "yesterday"},
            {"created_at": "0001-01-01T00:00:00"},
            {"revision": "v\udcff"},
            {"commits": {"api": "\ud800"}},
        ),
        *({"into": {"api": "x\0"}}, {"into": {"api": "/etc"}}, {"into": {"api": "../.."}}),
    ],
)
def test_note_edited_by_hand_counts_as_none(root: Root, edited: dict[str, object]) -> None:
    what = install(root, 1)
    (root.own / "releases" / f"{what.name}.json").write_text(json.dumps(what.to_json() | edited))

    assert root.releases() == []


def test_directory_among_the_notes_is_removed(root: Root) -> None:
    (root.own / "releases" / "stray" / "inner").mkdir(parents=True)

    assert root.clean() == {}
    assert list((root.own / "releases").iterdir()) == []


def test_what_a_hook_puts_beside_its_release_is_not_in_the_way_of_a_note(root: Root, tmp_path: Path) -> None:
    what = install(root, 1)
    (root.incoming / f"note-{what.name}").symlink_to(tmp_path / "elsewhere")

    root.save(what)

    assert root.get(what.name) == what
    assert not (tmp_path / "elsewhere").exists()


def test_stray_files_that_look_like_notes_of_hooks_end_nothing(root: Root) -> None:
    for name in ("hook-x", "hook-", f"hook-{'9' * 40}"):
        (root.incoming / name).touch()
    (root.incoming / f"hook-{os.getpid()}").write_bytes(b"\xff\xfe")
    (root.incoming / "hook-1").mkdir()

    assert end_left_behind(root.incoming) == []


def test_directory_that_a_hook_replaced_is_no_release(root: Root) -> None:
    name = release(1).name
    built = root.build(name, lambda _directory: None)
    root.check_built(name)
    built.rename(root.incoming / "aside")
    with pytest.raises(Failed, match="removed or replaced"):
        root.check_built(name)
    built.mkdir()

    with pytest.raises(Failed, match="removed or replaced"):
        root.check_built(name)


def test_release_that_a_hook_removed_is_never_published(root: Root) -> None:
    live, other = install(root, 1), install(root, 2)
    root.publish(live.name)
    shutil.rmtree(root.directory(other.name))

    with pytest.raises(Failed):
        root.publish(other.name)

    assert root.current() == live


def test_second_app_on_the_same_root_is_refused(root: Root) -> None:
    root.claim("api")
    root.claim("api")

    with pytest.raises(Failed, match="the root of the app api, not of web") as refused:
        root.claim("web")

    assert refused.value.code is Code.ROOT_UNUSABLE


def test_number_of_what_could_not_be_removed_is_not_given_again(root: Root) -> None:
    (root.incoming / release(7).name).mkdir()

    assert root.next_number() == 8


@pytest.mark.needs("mount")
def test_mount_inside_a_release_is_said_and_left(root: Root) -> None:
    what = install(root, 1)
    place = root.directory(what.name)
    (place / "mounted").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "none", place / "mounted"], check=True)
    try:
        with pytest.raises(Failed) as refused:
            root.discard(what.name)
    finally:
        for mounted in (place / "mounted", *root.incoming.glob("trash-*/mounted")):
            subprocess.run(["umount", mounted], check=False, stderr=subprocess.DEVNULL)

    assert refused.value.code is Code.ROOT_UNUSABLE
    assert root.clean() == {}


@pytest.mark.needs("mount")
def test_release_that_came_with_the_image_of_a_container_is_removed(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m") as disk:
        layers = {name: disk / name for name in ("lowerdir", "upperdir", "workdir")}
        for layer in layers.values():
            layer.mkdir()
        image = Root(layers["lowerdir"] / "root", SystemClock())
        image.prepare()
        baked, live = install(image, 1, app="one"), install(image, 2)
        image.publish(live.name)
        merged = tmp_path / "merged"
        merged.mkdir()
        options = ",".join(f"{name}={layer}" for name, layer in layers.items())
        subprocess.run(["mount", "-t", "overlay", "-o", options, "none", merged], check=True)
        try:
            root = Root(merged / "root", SystemClock())
            root.discard(baked.name)

            assert root.releases() == [live]
            assert not root.directory(baked.name).exists()
            assert root.clean() == {}
        finally:
            subprocess.run(["umount", merged], check=True)


@pytest.mark.needs("mount")
def test_going_back_needs_no_inode(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "4m", 200) as disk:
        small = Root(disk / "root", SystemClock())
        small.prepare()
        old, new = install(small, 1), install(small, 2)
        small.publish(old.name)
        small.prepare_return(old.name)
        small.publish(new.name)
        with suppress(OSError):
            for number in range(1000):
                (disk / f"{number}").touch()

        small.publish(old.name)

        assert small.current() == old


@pytest.mark.needs("mount")
def test_root_of_an_older_agent_on_a_full_disk_needs_no_mark(tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk", "1m", 30) as disk:
        made = Root(disk / "root", SystemClock())
        disk.joinpath("root").mkdir()
        made.prepare()
        with suppress(OSError):
            for number in range(100):
                (disk / str(number)).touch()

        made.claim("api")

        assert not (made.own / "app").exists()


def test_own_directories_that_a_hook_closed_are_opened_again(open_place: Path) -> None:
    with unprivileged():
        made = Root(open_place / "root", SystemClock())
        (open_place / "root").mkdir()
        made.prepare()
        for name in (".release-agent/releases", ".release-agent/incoming", "releases", ".release-agent"):
            (made.path / name).chmod(0)

        made.prepare()

        assert made.clean() == {}


def test_remains_that_may_not_be_listed_are_no_bug(open_place: Path) -> None:
    with unprivileged():
        made = Root(open_place / "root", SystemClock())
        (open_place / "root").mkdir()
        made.prepare()
        made.incoming.chmod(0)

        with pytest.raises(Failed) as failed:
            made.clean()

        made.incoming.chmod(0o755)
    assert failed.value.code is Code.ROOT_UNUSABLE


@pytest.mark.parametrize("kind", ["link", "directory"])
def test_something_else_in_place_of_the_link_to_the_shared_files_is_refused_and_left(
    root: Root, tmp_path: Path, kind: str
) -> None:
    link, elsewhere = root.own / "shared", tmp_path / "elsewhere"
    elsewhere.mkdir()
    link.unlink()
    if kind == "link":
        link.symlink_to(elsewhere)
    else:
        link.mkdir()

    with pytest.raises(Failed) as refused, root.lock(Request("me"), wait=False):
        pass

    assert (refused.value.code, str(link) in refused.value.message) == (Code.ROOT_UNUSABLE, True)
    assert link.exists()
    assert list(elsewhere.iterdir()) == []


def test_mark_of_another_app_counts_even_if_the_root_cannot_be_used_and_a_broken_one_names_nobody(root: Root) -> None:
    root.require_not_anothers("web")
    root.claim("api")
    root.require_not_anothers("api")
    with pytest.raises(Failed, match="the root of the app api, not of web"):
        root.require_not_anothers("web")

    (root.own / "app").unlink()
    os.mkfifo(root.own / "app")

    root.require_not_anothers("web")
