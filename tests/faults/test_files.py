"""Each file of the root, the repository and the configuration is replaced in turn by what it should not be, for every command."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from support.attacked import CHANGING, COMMANDS, USING_GIT, Container, container
from support.fake_supervisor import supervisor
from support.replaced import KINDS, replace

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

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


def broken(attacked: Container, named: str, kinds: Sequence[str], commands: Sequence[str]) -> list[str]:
    """Return what goes wrong with a place replaced by each kind, for each command."""
    found = []
    for kind in kinds:
        attack(attacked, named, kind)
        for name in commands:
            if name in CHANGING:
                attack(attacked, named, kind)
            wrong = attacked.wrong_with(COMMANDS[name])
            found += [f"{name}, {named} a {kind}: {wrong}"] if wrong else []
    attacked.put_back()
    return found


@pytest.mark.parametrize("place", PLACES)
def test_file_that_is_something_else_is_no_bug_and_keeps_no_command_waiting(attacked: Container, place: str) -> None:
    assert broken(attacked, place, list(KINDS), list(COMMANDS)) == []


@pytest.mark.parametrize("place", IN_THE_REPOSITORY)
def test_repository_with_something_else_in_it_is_no_bug(attacked: Container, place: str) -> None:
    # A pipe takes git's whole time limit: that is in test_git_limits.py.
    assert broken(attacked, place, [kind for kind in KINDS if kind != "pipe"], USING_GIT) == []
