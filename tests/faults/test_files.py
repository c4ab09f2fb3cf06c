"""Another kind of file replaces each file of the root, the repository and the configuration in turn, for every command."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from support.attacked import CHANGING, COMMANDS, USING_GIT, Container, container, remove
from support.fake_supervisor import supervisor
from support.replaced import KINDS, MOUNTS, a_link, mounted, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

OWN = "root/.release-agent"
PLACES = [
    "release-agent.toml",
    "root",
    "root/current",
    "root/shared",
    "root/releases",
    "root/releases/{live}",
    "root/releases/{before}",
    "root/releases/{live}/release.toml",
    "root/releases/{live}/app.py",
    OWN,
    f"{OWN}/app",
    f"{OWN}/back",
    f"{OWN}/lock",
    f"{OWN}/shared",
    f"{OWN}/state.db",
    f"{OWN}/state.db-journal",
    f"{OWN}/state.db-wal",
    f"{OWN}/incoming",
    f"{OWN}/incoming/hook-1",
    f"{OWN}/releases",
    f"{OWN}/releases/{{live}}.json",
    f"{OWN}/releases/{{before}}.json",
]
IN_THE_REPOSITORY = [
    "repos/api",
    *(
        f"repos/api/.git{name}"
        for name in ("", "/HEAD", "/config", "/refs", "/refs/tags", "/refs/tags/v1.2.0", "/packed-refs", "/objects")
    ),
]


@pytest.fixture(scope="module")
def attacked() -> Iterator[Container]:
    with supervisor() as url, container(url) as made:
        yield made


def attack(attacked: Container, named: str, kind: str) -> None:
    """Have everything as it was, but for one place."""
    attacked.put_back("root", *(("repos",) if "repos" in named else ()), attacked.config.name)
    replace(attacked.path / named.format(live=attacked.live, before=attacked.before), kind)


# A person may put these elsewhere; everything else is not followed.
FOLLOWED = ("release-agent.toml", "root", "root/shared", "root/current")


@pytest.mark.parametrize("place", [place for place in PLACES if place not in FOLLOWED])
def test_nothing_is_changed_behind_a_link_in_place_of_what_is_the_agents(attacked: Container, place: str) -> None:
    changed = []
    for name in COMMANDS:
        attacked.put_back("root")
        behind = attacked.path / "elsewhere"
        a_link(attacked.path / place.format(live=attacked.live, before=attacked.before), behind)
        before = state(behind)
        attacked.wrong_with(COMMANDS[name])
        changed += [name] if state(behind) != before else []
    attacked.put_back()
    assert changed == []


def state(place: Path) -> dict[str, tuple[float, bytes]]:
    """Return what is below a path: time of change and content, by path."""
    found = [place, *place.rglob("*")] if os.path.lexists(place) else []
    return {str(path): (path.lstat().st_mtime, path.read_bytes() if path.is_file() else b"") for path in found}


def broken(attacked: Container, named: str, kinds: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return what goes wrong with a place replaced by each kind, for every other command.

    Which commands these are alternates with the kind and with the place: over all places each command meets each kind.
    """
    found = []
    for number, kind in enumerate(kinds, sum(named.encode())):
        attack(attacked, named, kind)
        for name in commands[number % 2 :: 2]:
            if name in CHANGING:
                attack(attacked, named, kind)
            wrong = attacked.wrong_with(COMMANDS[name])
            found += [f"{name}, {named} a {kind}: {wrong}"] if wrong else []
    attacked.put_back()
    return found


@pytest.mark.parametrize("place", PLACES)
def test_file_that_is_something_else_is_no_bug_and_keeps_no_command_waiting(attacked: Container, place: str) -> None:
    assert broken(attacked, place, list(KINDS), list(COMMANDS)) == []


@pytest.mark.parametrize("name", ["release-agent.toml", "release.toml"])
def test_file_to_check_that_is_something_else_is_no_bug(attacked: Container, name: str) -> None:
    found = {}
    for kind in KINDS:
        file = attacked.path / "checked" / name
        file.parent.mkdir(exist_ok=True)
        file.write_text("")
        replace(file, kind)
        found[kind] = attacked.wrong_with(["config", "check", str(file)])
        remove(file.parent)
    assert set(found.values()) == {""}, found


@pytest.mark.parametrize("place", IN_THE_REPOSITORY)
def test_repository_with_something_else_in_it_is_no_bug(attacked: Container, place: str) -> None:
    # A pipe takes git's whole time limit: that is in test_git_limits.py.
    assert broken(attacked, place, [kind for kind in KINDS if kind != "pipe"], USING_GIT) == []


@pytest.mark.needs("mount")
@pytest.mark.parametrize("place", [place for place in PLACES if place not in ("release-agent.toml", "root")])
def test_place_below_a_mount_is_no_bug_and_files_of_others_stay(attacked: Container, place: str, tmp_path: Path) -> None:
    found = []
    others = tmp_path / "others"
    for name in ("inner/kept.txt", "000009-0123456789ab", "hook-1"):
        (others / name).parent.mkdir(parents=True, exist_ok=True)
        (others / name).write_text("precious")
    there = attacked.path / place.format(live=attacked.live, before=attacked.before)
    for number, kind in enumerate(MOUNTS, sum(place.encode())):
        for name in list(COMMANDS)[number % 2 :: 2]:
            attacked.put_back("root")
            with mounted(there, kind, others):
                wrong = attacked.wrong_with(COMMANDS[name])
            left = [path for path in others.rglob("*") if path.is_file()]
            # A disk for the agent's own directory is its own: what does not belong there is removed.
            if place not in (f"{OWN}/incoming", f"{OWN}/releases") and len(left) < 3:
                wrong += f"only {left} are left"
            found += [f"{name}, {place} a {kind}: {wrong}"] if wrong else []
    attacked.put_back()
    assert found == []
