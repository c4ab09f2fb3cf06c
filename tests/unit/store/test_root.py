from __future__ import annotations

import json
import os
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.errors import Code, Failed, Refused
from release_agent.model import Kind, Release, Request, State
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from support.privileges import unprivileged
from support.roots import cut_power, install, release, small_ext4

if TYPE_CHECKING:
    from collections.abc import Callable


def write_nothing(_directory: Path) -> None:
    """Leave a release empty."""


def test_a_new_root_is_empty(root: Root) -> None:
    assert root.current() is None
    assert root.releases() == []
    assert root.next_number() == 1


def test_a_roots_layout_is_the_documented_one(root: Root) -> None:
    what = install(root, 42)
    root.publish(what.name)
    with root.lock(Request("d-1"), wait=False):
        found = {str(path.relative_to(root.path)) for path in root.path.rglob("*")}

    assert found == {
        *("current", "releases", f"releases/{what.name}", "shared", ".release-agent", ".release-agent/shared"),
        *(".release-agent/lock", ".release-agent/incoming", ".release-agent/releases", ".release-agent/parked"),
        ".release-agent/cache",
        f".release-agent/releases/{what.name}.json",
    }
    assert root.database == root.path / ".release-agent/state.db"


def test_a_root_that_is_not_there_yet_can_be_looked_at(tmp_path: Path) -> None:
    fresh = Root(tmp_path / "not" / "yet", SystemClock())

    assert (fresh.current(), fresh.releases(), fresh.holder(), fresh.next_number()) == (None, [], None, 1)
    assert fresh.free() > 0
    fresh.check_room(1, 1)
    assert list(tmp_path.iterdir()) == []


def test_preparing_twice_changes_nothing(root: Root) -> None:
    install(root, 1)
    (root.shared / "kept").touch()

    root.prepare()

    assert [r.number for r in root.releases()] == [1]
    assert (root.shared / "kept").exists()


def test_a_root_whose_parent_is_missing_is_unusable(tmp_path: Path) -> None:
    with pytest.raises(Failed) as failed:
        Root(tmp_path / "nowhere" / "root", SystemClock()).prepare()

    assert failed.value.code is Code.ROOT_UNUSABLE
    assert f"{tmp_path}/nowhere/root" in failed.value.message


def test_a_root_of_another_user_is_unusable(open_place: Path) -> None:
    open_place.chmod(0o755)

    with unprivileged(), pytest.raises(Failed) as failed:
        Root(open_place / "root", SystemClock()).prepare()

    assert failed.value.code is Code.ROOT_UNUSABLE
    assert "Permission denied" in failed.value.message


@pytest.mark.parametrize("make", [Path.mkdir, Path.touch])
def test_current_that_is_no_symlink_is_refused_and_left_alone(tmp_path: Path, make: Callable[[Path], None]) -> None:
    root = Root(tmp_path / "root", SystemClock())
    root.path.mkdir()
    make(root.link)

    with pytest.raises(Failed) as failed:
        root.prepare()

    assert failed.value.code is Code.ROOT_UNUSABLE
    assert "is not a symlink" in failed.value.message
    assert root.link.exists()


def test_what_is_installed_can_be_got_whole(root: Root) -> None:
    what = install(root, 42, app="x")

    assert root.get(what.name) == what
    assert root.directory(what.name) == root.path / "releases" / what.name
    assert (root.directory(what.name) / "app").read_text() == "x"
    assert list(root.incoming.iterdir()) == []


def test_a_release_holds_nothing_of_the_agents(root: Root) -> None:
    what = install(root, 42, app="x")

    assert [path.name for path in root.directory(what.name).iterdir()] == ["app"]
    note = json.loads((root.own / "releases" / f"{what.name}.json").read_text())
    assert (note["number"], note["revision"], note["state"], note["commits"]) == (42, "v42.0.0", "healthy", what.commits)


def test_releases_are_ordered_by_number_whatever_their_time(root: Root) -> None:
    for number in (10, 9, 1_000_000, 2):
        install(root, number)
    os.utime(root.directory(release(2).name), (2**31, 2**31))

    assert [r.number for r in root.releases()] == [2, 9, 10, 1_000_000]
    assert root.next_number() == 1_000_001


def test_the_next_number_counts_releases_that_are_not_known(root: Root) -> None:
    (root.path / "releases" / "000007-aaaaaaaaaaaa").mkdir()
    (root.path / "releases" / "000099-scratch").mkdir()

    assert root.next_number() == 8


def test_a_directory_without_its_note_is_no_release(root: Root) -> None:
    (root.path / "releases" / release(1).name).mkdir()

    assert root.get(release(1).name) is None
    assert root.releases() == []


def rewrite(root: Root, what: Release, write: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Write a release's note as another version of the agent would."""
    note = root.own / "releases" / f"{what.name}.json"
    note.write_text(json.dumps(write(json.loads(note.read_text()))))


def test_a_newer_agents_note_hides_no_release(root: Root) -> None:
    what = install(root, 1)
    root.publish(what.name)

    rewrite(root, what, lambda note: note | {"rehearsed_at": "2024-01-01T00:00:00.000000Z", "strategy": {"rolling": True}})

    assert root.current() == what
    assert root.releases() == [what]


def test_an_older_agents_note_may_lack_what_was_added_since(root: Root) -> None:
    what = install(root, 1)
    root.publish(what.name)
    added = ("number", "previous", "published_at", "built")

    rewrite(root, what, lambda note: {name: value for name, value in note.items() if name not in added})

    assert root.current() == what


def test_a_state_that_only_a_newer_agent_has_is_seen_and_never_gone_back_to(root: Root) -> None:
    what = install(root, 1)
    root.publish(what.name)

    rewrite(root, what, lambda note: note | {"state": "rehearsed", "kind": "digest"})

    assert root.current() == replace(what, state=State.FAILED, kind=Kind.COMMIT)
    assert [release.state for release in root.releases()] == [State.FAILED]


@pytest.mark.parametrize("note", ["", "{", "[]", "{}", '{"number": 1}', '{"number": 1, "state": "odd"}', "\x00"])
def test_a_note_that_cannot_be_read_makes_no_release(root: Root, note: str) -> None:
    what = install(root, 1)
    (root.own / "releases" / f"{what.name}.json").write_text(note)

    assert root.get(what.name) is None


@pytest.mark.parametrize("name", ["", "..", "000001", "../releases/000001-aaaaaaaaaaaa", "000001-aaaaaaaaaaaa/../x"])
def test_names_of_no_release(root: Root, name: str) -> None:
    assert root.get(name) is None


def test_a_note_without_its_directory_is_no_release(root: Root) -> None:
    root.save(release(1))

    assert root.get(release(1).name) is None


def test_what_was_never_built_cannot_be_installed(root: Root) -> None:
    with pytest.raises(Failed) as failed:
        root.install(release(1))

    assert failed.value.code is Code.BUILD_FAILED


def test_a_release_that_is_marked_keeps_its_mark(root: Root) -> None:
    what = install(root, 1, State.BUILT)

    root.save(release(1, State.FAILED))

    found = root.get(what.name)
    assert found is not None
    assert found.state is State.FAILED


def test_a_regular_file_of_a_release_is_read(root: Root) -> None:
    what = install(root, 1, app="ünï")

    assert root.read(what.name, "./app") == "ünï"
    assert root.read(what.name, "nothing") is None


@pytest.mark.parametrize("kind", ["symlink", "directory"])
def test_release_of_an_older_agent_with_a_link_as_release_toml_has_none(root: Root, kind: str) -> None:
    what = install(root, 1, app="")
    file = root.directory(what.name) / "release.toml"
    file.symlink_to("app") if kind == "symlink" else file.mkdir()

    assert root.read(what.name, "release.toml") is None


@pytest.mark.parametrize("kind", ["pipe", "huge file"])
def test_release_toml_that_cannot_be_read_is_not_taken_for_none(root: Root, kind: str) -> None:
    what = install(root, 1)
    file = root.directory(what.name) / "release.toml"
    if kind == "pipe":
        os.mkfifo(file)
    else:
        file.touch()
        os.truncate(file, 1 << 30)

    with pytest.raises(Refused) as refused:
        root.read(what.name, "release.toml")

    assert refused.value.code is Code.RELEASE_TOML_INVALID


def test_a_release_is_built_once(root: Root) -> None:
    root.build(release(1).name, write_nothing)

    with pytest.raises(Failed) as failed:
        root.build(release(1).name, write_nothing)

    assert failed.value.code is Code.BUILD_FAILED


@pytest.mark.needs("mount")
@pytest.mark.parametrize("written", [None, ["lib/app.py"]])
def test_release_that_was_synced_before_it_was_published_is_whole_after_a_power_cut(
    tmp_path: Path, written: list[str] | None
) -> None:
    what = release(1)

    def write(directory: Path) -> None:
        (directory / "lib").mkdir()
        (directory / "lib" / "app.py").write_text("print()\n" * 5000)

    with small_ext4(tmp_path / "disk", "4m", 100) as disk:
        made = Root(disk / "root", SystemClock())
        made.prepare()
        made.sync(made.build(what.name, write), written)
        made.install(what)
        made.publish(what.name)

        cut_power(disk)

        assert made.current() == what
        assert made.read(what.name, "lib/app.py") == "print()\n" * 5000
