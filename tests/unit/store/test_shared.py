from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.config.sections import Shared
from release_agent.errors import Code, Failed
from release_agent.store.root import Root
from release_agent.system.clock import SystemClock
from release_agent.system.disk import sync_directory, sync_mount
from support.repositories import listing
from support.roots import cut_power, release, small_ext4

if TYPE_CHECKING:
    from pathlib import Path

NAME = release(1).name


def built(root: Root, files: dict[str, str] | None = None) -> Path:
    """Return a release that is being built."""

    def write(directory: Path) -> None:
        for name, text in (files or {}).items():
            (directory / name).parent.mkdir(parents=True, exist_ok=True)
            (directory / name).write_text(text)

    return root.build(NAME, write)


def refusal(root: Root, directory: Path, shared: Shared) -> Failed:
    with pytest.raises(Failed) as failed:
        root.link_shared(directory, shared)
    return failed.value


UPLOADS = Shared(("var/uploads",), ())
ENV = Shared((), (".env",))
NOTHING = Shared((), ())


def test_a_directory_is_seeded_from_the_release(root: Root) -> None:
    directory = built(root, {"var/uploads/example.png": "png", "var/uploads/a/b": "deep", "var/other": "x"})

    root.link_shared(directory, UPLOADS)

    assert (root.shared / "var/uploads/example.png").read_text() == "png"
    assert (root.shared / "var/uploads/a/b").read_text() == "deep"
    assert not (root.shared / "var/other").exists()
    assert (directory / "var/uploads").is_symlink()
    assert not (directory / "var/other").is_symlink()


@pytest.mark.needs("mount")
def test_seed_is_whole_after_a_power_cut_though_its_build_never_ended(tmp_path: Path) -> None:
    with small_ext4(tmp_path / "disk", "4m", 100) as disk:
        root = Root(disk / "root", SystemClock())
        root.prepare()
        sync_mount(disk)
        directory = built(root, {"var/uploads/example.png": "png", ".env": "KEY=example"})
        root.link_shared(directory, Shared(("var/uploads",), (".env",)))
        for parent in (root.shared, root.shared / "var"):
            sync_directory(parent)  # as the kernel does at any time

        cut_power(disk)

        assert (root.shared / ".env").read_text() == "KEY=example"
        assert (root.shared / "var/uploads/example.png").read_text() == "png"


def test_a_file_is_seeded_from_the_release_with_its_mode(root: Root) -> None:
    directory = built(root, {".env": "KEY=example"})
    (directory / ".env").chmod(0o600)

    root.link_shared(directory, ENV)

    assert (root.shared / ".env").read_text() == "KEY=example"
    assert (root.shared / ".env").stat().st_mode & 0o777 == 0o600
    assert (directory / ".env").is_symlink()


def test_what_is_shared_already_wins(root: Root) -> None:
    (root.shared / "var/uploads").mkdir(parents=True)
    (root.shared / "var/uploads/mine").write_text("mine")
    (root.shared / ".env").write_text("KEY=mine")
    before = listing(root.shared)
    directory = built(root, {"var/uploads/example.png": "png", ".env": "KEY=example"})

    root.link_shared(directory, Shared(("var/uploads",), (".env",)))

    assert listing(root.shared) == before
    assert (directory / ".env").read_text() == "KEY=mine"
    assert [path.name for path in (directory / "var/uploads").iterdir()] == ["mine"]


def test_a_directory_that_nobody_ships_is_made_empty(root: Root) -> None:
    directory = built(root)

    root.link_shared(directory, UPLOADS)

    assert list((directory / "var/uploads").iterdir()) == []
    (directory / "var/uploads/new").touch()
    assert (root.shared / "var/uploads/new").exists()


def test_directories_on_the_way_are_made_on_both_sides(root: Root) -> None:
    directory = built(root)

    root.link_shared(directory, Shared(("a/b/c/uploads",), ()))

    assert (directory / "a/b/c/uploads").resolve() == (root.shared / "a/b/c/uploads").resolve()
    assert (root.shared / "a/b/c/uploads").is_dir()


def test_a_file_on_the_way_among_what_is_shared_fails_the_build(root: Root) -> None:
    (root.shared / "var").touch()

    assert refusal(root, built(root), UPLOADS).code is Code.BUILD_FAILED


def test_a_file_that_nobody_has_is_missing(root: Root) -> None:
    error = refusal(root, built(root), ENV)

    assert error.code is Code.SHARED_MISSING
    assert f"the shared file {root.shared}/.env does not exist, and the release has none" in error.message


def test_links_hold_while_building_and_once_installed_and_after_the_root_moved(root: Root) -> None:
    directory = built(root, {"var/uploads/x": "x", ".env": "e", "a/b/c/deep": "d"})
    root.link_shared(directory, Shared(("var/uploads",), (".env", "a/b/c/deep")))
    contents = {"var/uploads/x": "x", ".env": "e", "a/b/c/deep": "d"}
    assert {name: (directory / name).read_text() for name in contents} == contents

    root.install(release(1))
    installed = root.directory(NAME)
    assert {name: (installed / name).read_text() for name in contents} == contents

    moved = root.path.rename(root.path.with_name("moved"))
    assert {name: (moved / "releases" / NAME / name).read_text() for name in contents} == contents
    assert (moved / "releases" / NAME / ".env").resolve() == (moved / "shared/.env").resolve()


def test_a_dangling_link_that_a_person_made_is_kept(root: Root) -> None:
    (root.shared / ".env").symlink_to("/run/secrets/env")
    directory = built(root)

    root.link_shared(directory, ENV)

    assert (directory / ".env").is_symlink()
    assert (root.shared / ".env").is_symlink()


@pytest.mark.parametrize("parent", ["var", "var/deep"])
def test_a_symlink_on_the_way_is_a_conflict_and_nothing_is_written_beyond_it(root: Root, tmp_path: Path, parent: str) -> None:
    outside = tmp_path / "outside"
    (outside / "deep").mkdir(parents=True)
    directory = built(root)
    (directory / parent).parent.mkdir(exist_ok=True)
    (directory / parent).symlink_to(outside)
    before = listing(outside)

    error = refusal(root, directory, Shared(("var/deep/uploads",), ()))

    assert error.code is Code.SHARED_CONFLICT
    assert f"{parent} is not a directory in the release" in error.message
    assert listing(outside) == before


def test_a_file_on_the_way_is_a_conflict(root: Root) -> None:
    assert refusal(root, built(root, {"var": "a file"}), UPLOADS).code is Code.SHARED_CONFLICT


def test_a_symlink_in_the_place_of_what_is_to_be_shared_is_a_conflict(root: Root) -> None:
    directory = built(root)
    (directory / ".env").symlink_to("/etc/passwd")

    assert refusal(root, directory, ENV).code is Code.SHARED_CONFLICT
    assert not (root.shared / ".env").exists()


@pytest.mark.parametrize(("files", "shared"), [({"var/uploads": "a file"}, UPLOADS), ({".env/x": "in a directory"}, ENV)])
def test_a_release_that_ships_the_other_kind_is_a_conflict(root: Root, files: dict[str, str], shared: Shared) -> None:
    assert refusal(root, built(root, files), shared).code is Code.SHARED_CONFLICT


def test_the_other_kind_among_what_is_shared_is_a_conflict(root: Root) -> None:
    (root.shared / ".env").mkdir()

    error = refusal(root, built(root, {".env": "x"}), ENV)

    assert error.code is Code.SHARED_CONFLICT
    assert f"{root.shared}/.env is a directory" in error.message


def test_two_shared_paths_of_the_same_last_name_do_not_mix(root: Root) -> None:
    directory = built(root, {"api/.env": "api", "web/.env": "web"})

    root.link_shared(directory, Shared((), ("api/.env", "web/.env")))

    assert (directory / "api/.env").read_text() == "api"
    assert (directory / "web/.env").read_text() == "web"


def test_a_seed_that_a_killed_run_left_is_not_in_the_way(root: Root) -> None:
    (root.incoming / "seed-uploads").mkdir()
    (root.incoming / "seed-uploads/half").touch()
    directory = built(root, {"var/uploads/x": "x"})

    root.link_shared(directory, UPLOADS)

    assert [path.name for path in (root.shared / "var/uploads").iterdir()] == ["x"]


def test_symlinks_inside_a_seeded_directory_stay_links(root: Root) -> None:
    directory = built(root, {"var/uploads/x": "x"})
    (directory / "var/uploads/link").symlink_to("/etc/passwd")

    root.link_shared(directory, UPLOADS)

    assert (root.shared / "var/uploads/link").is_symlink()


def test_nothing_shared_changes_nothing(root: Root) -> None:
    directory = built(root, {"app": "x"})
    before = listing(root.path)

    root.link_shared(directory, NOTHING)

    assert listing(root.path) == before
