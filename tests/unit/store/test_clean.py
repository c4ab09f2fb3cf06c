"""The agent removes discarded releases and the leftovers of killed runs from a root."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from support.privileges import unprivileged
from support.roots import install, release

if TYPE_CHECKING:
    from pathlib import Path


def write_nothing(_directory: Path) -> None:
    """Leave a release empty."""


def test_a_discarded_release_leaves_nothing(root: Root) -> None:
    what = install(root, 1, app="x")
    other = install(root, 2)

    root.discard(what.name)

    assert [r.name for r in root.releases()] == [other.name]
    assert not root.directory(what.name).exists()
    assert [note.name for note in (root.own / "releases").iterdir()] == [f"{other.name}.json"]
    assert list(root.incoming.iterdir()) == []


def test_a_half_built_release_can_be_discarded(root: Root) -> None:
    root.build(release(1).name, lambda directory: (directory / "half").touch())

    root.discard(release(1).name)

    assert list(root.incoming.iterdir()) == []


def test_the_live_release_is_never_discarded(root: Root) -> None:
    what = install(root, 1)
    root.publish(what.name)

    with pytest.raises(AssertionError, match="is live"):
        root.discard(what.name)

    assert root.current() == what


def test_cleaning_removes_what_killed_runs_left_and_nothing_else(root: Root) -> None:
    what = install(root, 1, app="x")
    root.publish(what.name)
    root.build(release(2).name, lambda directory: (directory / "half").touch())
    for left in ("current-1-aaaa", f"note-{what.name}", "seed-x"):
        (root.incoming / left).touch()
    (root.incoming / "view-api-x").mkdir()
    (root.incoming / "dangling").symlink_to("nowhere")
    root.save(release(3))
    (root.shared / "upload").touch()

    assert root.clean() == {}

    assert list(root.incoming.iterdir()) == []
    assert [note.name for note in (root.own / "releases").iterdir()] == [f"{what.name}.json"]
    assert root.current() == what
    assert (root.shared / "upload").exists()


def test_what_cannot_be_cleaned_is_told_and_in_nobodys_way(open_place: Path) -> None:
    root = Root(open_place / "root", SystemClock())
    with unprivileged():
        root.prepare()
        root.build(release(1).name, write_nothing)
        (root.incoming / "left").touch()
    foreign = root.incoming / release(1).name / "foreign"
    foreign.mkdir()
    (foreign / "file").touch()
    foreign.chmod(0o755 if os.geteuid() == 0 else 0o555)

    with unprivileged():
        stuck = root.clean()

    assert list(stuck) == [release(1).name]
    assert f"{foreign}" in stuck[release(1).name]
    assert [path.name for path in root.incoming.iterdir()] == [release(1).name]
