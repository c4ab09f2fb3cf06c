from __future__ import annotations

import os
import shutil
import subprocess
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from release_agent.model import State
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from support.privileges import unprivileged
from support.roots import install, release

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


def nothing_known(_moment: float) -> str | None:
    """A journal that knows of no publication."""
    return None


def numbers(root: Root) -> list[int]:
    return [found.number for found in root.releases()]


def prune(root: Root, keep: int, *protected: int) -> list[int]:
    """Prune and return the numbers that went."""
    surplus = root.surplus(keep, {release(number).name for number in protected}, nothing_known)
    for name in surplus:
        root.discard(name)
    return [int(name.split("-")[0]) for name in surplus]


@contextmanager
def process_in(directory: Path) -> Iterator[subprocess.Popen[str]]:
    """Have a process work in a directory."""
    with subprocess.Popen(["cat"], cwd=directory, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        assert process.stdin
        assert process.stdout
        process.stdin.write("ready\n")
        process.stdin.flush()
        assert process.stdout.readline() == "ready\n"
        yield process
        process.stdin.close()


def test_the_newest_healthy_ones_are_kept_by_number(root: Root) -> None:
    for number in (3, 11, 1, 9, 10, 2):
        install(root, number)
    os.utime(root.directory(release(1).name), (2**31, 2**31))

    assert prune(root, 3) == [1, 2, 3]
    assert numbers(root) == [9, 10, 11]


def test_fewer_than_keep_are_all_kept(root: Root) -> None:
    for number in (1, 2):
        install(root, number)

    assert prune(root, 2) == prune(root, 5) == []


def test_failed_ones_do_not_count_and_only_the_newest_of_them_stays(root: Root) -> None:
    for number in range(1, 8):
        install(root, number, State.HEALTHY if number % 2 else State.FAILED)

    assert prune(root, 2) == [1, 2, 3, 4]
    assert numbers(root) == [5, 6, 7]


def test_current_and_previous_never_go(root: Root) -> None:
    for number in range(1, 6):
        install(root, number)
    root.publish(release(2).name)

    assert prune(root, 1, 1) == [3, 4]
    assert numbers(root) == [1, 2, 5]


def test_a_release_that_a_process_works_in_stays_until_it_ends(root: Root) -> None:
    for number in range(1, 4):
        install(root, number)

    with process_in(root.directory(release(1).name)):
        assert prune(root, 1) == [2]
    assert prune(root, 1) == [1]


def test_a_release_that_a_process_works_deep_inside_stays(root: Root) -> None:
    for number in range(1, 3):
        install(root, number)
    deep = root.directory(release(1).name) / "a/b"
    deep.mkdir(parents=True)

    with process_in(deep):
        assert prune(root, 1) == []


def test_a_release_whose_program_runs_stays(root: Root) -> None:
    for number in range(1, 3):
        install(root, number)
    program = root.directory(release(1).name) / "program"
    shutil.copy("/bin/cat", program)
    program.chmod(0o755)

    with subprocess.Popen([program], cwd="/", stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin
        process.stdin.write(b"ready\n")
        process.stdin.flush()
        assert process.stdout
        process.stdout.readline()
        assert prune(root, 1) == []
        process.stdin.close()


def test_a_release_that_was_built_and_never_published_goes(root: Root) -> None:
    install(root, 1)
    install(root, 2, State.BUILT)

    assert prune(root, 1) == [2]


def test_read_only_directories_go_too(open_place: Path) -> None:
    with unprivileged():
        root = Root(open_place / "root", SystemClock())
        root.prepare()
        for number in range(1, 3):
            install(root, number)
        cache = root.directory(release(1).name) / "cache/mod"
        cache.mkdir(parents=True)
        (cache / "file").touch()
        for path in (cache / "file", cache, cache.parent):
            path.chmod(path.stat().st_mode & ~0o222)
        with pytest.raises(PermissionError):
            (cache / "file").unlink()

        assert prune(root, 1) == [1]
        assert numbers(root) == [2]
        assert list(root.incoming.iterdir()) == []


@pytest.mark.parametrize(
    ("lasting", "gone"), [([1], [2, 3]), ([5], [1, 2]), ([4, 5], [1]), ([1, 2, 3, 4, 5], [])], ids=["old", "live", "new", "all"]
)
def test_protected_release_stays_and_does_not_count_towards_keep(tmp_path: Path, lasting: list[int], gone: list[int]) -> None:
    root = Root(tmp_path, SystemClock())
    root.prepare()
    for number in range(1, 6):
        install(root, number, State.HEALTHY)
    for release_ in root.releases():
        root.save(replace(release_, protected=release_.number in lasting))

    assert prune(root, 2, 5) == gone
