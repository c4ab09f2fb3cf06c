"""The parked release is complete, unused, and the only one."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING

import pytest

from release_agent.errors import Failed
from support.replaced import mounted
from support.roots import install, release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from release_agent.store.root import Root


@pytest.fixture
def root(root: Root) -> Root:
    """A root with one release."""
    install(root, 1, file="1")
    return root


NAME, NEXT = release(1).name, release(2).name


@pytest.fixture
def inside(root: Root) -> Iterator[subprocess.Popen[bytes]]:
    """A process that works in the release."""
    with subprocess.Popen(["cat"], cwd=root.directory(NAME), stdin=subprocess.PIPE) as process:
        yield process
        assert process.stdin
        process.stdin.close()


def as_it_is(_: Path) -> None:
    pass


def test_what_was_parked_is_taken_once(root: Root) -> None:
    root.park(NAME, as_it_is)
    parked = root.parked()
    taken = root.take_parked(NEXT)

    assert parked
    assert (parked.name, root.releases()) == (NAME, [])
    assert taken == root.incoming / NEXT
    assert (taken / "file").read_text() == "1"
    assert root.parked() is None
    assert root.take_parked(NEXT) is None


def test_release_in_which_a_process_works_is_not_parked(root: Root, inside: subprocess.Popen[bytes]) -> None:
    with pytest.raises(Failed, match="a process works in"):
        root.park(NAME, as_it_is)

    assert inside.poll() is None
    assert root.parked() is None
    assert list(root.incoming.iterdir()) == []


def test_release_in_which_a_process_worked_while_it_was_restored_is_not_parked(
    root: Root, inside: subprocess.Popen[bytes]
) -> None:
    def restore(_: Path) -> None:
        inside.kill()
        inside.wait()

    with pytest.raises(Failed, match="a process works in"):
        root.park(NAME, restore)


def test_process_that_comes_into_the_parked_release_keeps_it_from_being_taken(root: Root) -> None:
    root.park(NAME, as_it_is)
    place = root.own / "parked" / NAME
    with (place / "file").open():
        assert root.take_parked(NEXT) is None
    assert root.take_parked(NEXT)


def test_release_whose_restoring_fails_is_gone(root: Root) -> None:
    def fail(place: Path) -> None:
        (place / "file").unlink()
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        root.park(NAME, fail)

    assert (root.releases(), root.parked(), list(root.incoming.iterdir())) == ([], None, [])


@pytest.mark.needs("mount")
@pytest.mark.parametrize("kind", ["directory of others", "tmpfs"])
def test_what_is_mounted_in_a_release_is_not_the_agents_to_restore(root: Root, tmp_path: Path, kind: str) -> None:
    others = tmp_path / "others"
    others.mkdir()
    (others / "precious").write_text("x")

    def restore(_: Path) -> None:
        pytest.fail("it would look into what is mounted")

    with mounted(root.directory(NAME) / "data", kind, others), pytest.raises(OSError, match="something is mounted there"):
        root.park(NAME, restore)

    assert (others / "precious").exists()
    assert root.parked() is None
