"""bash, zsh and fish offer the right words after they load the script of `release-agent completion`."""

from __future__ import annotations

import os
import select
import shlex
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.environment import BIN
from support.repositories import Repository
from support.supervisors import supervising

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    Offer = Callable[[Path, str], list[str]]

CONFIGURATION = """
[app]
name = "api"
environment = "test"
root = "{place}/root"
[[repository]]
name = "api"
path = "{place}/repository"
[health]
stable_for = "0s"
[supervisor]
url = "{url}"
[consul]
enabled = false
"""
EVIL = "v1.2.0$(touch${IFS}evil)"
IN_BASH = """
source ./script
COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
$(complete -p release-agent | sed 's/.*-F \\([^ ]*\\).*/\\1/') release-agent
printf '%s\\n' "${COMPREPLY[@]}"
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A container with two tags, one of them deployed, and a tag that wants to run a command."""
    place = tmp_path_factory.mktemp("completion")
    repository = Repository(place / "repository")
    for tag in ("v1.0.0", "v1.1.0"):
        repository.commit({"version": tag}, tag=tag)
    repository.git("tag", EVIL)
    with supervising([], []) as url:
        (place / "agent.toml").write_text(CONFIGURATION.format(place=place, url=url))
        run(place, ["release-agent", "deploy", "v1.0.0"])
        yield place


def environment(place: Path) -> dict[str, str]:
    path = f"{BIN}:{os.environ['PATH']}"
    return {"PATH": path, "HOME": str(place), "RELEASE_AGENT_CONFIG": str(place / "agent.toml")}


def run(place: Path, command: list[str]) -> str:
    done = subprocess.run(command, cwd=place, env=environment(place), check=True, stdout=subprocess.PIPE, text=True, timeout=60)
    return done.stdout


def script(place: Path, shell: str) -> Path:
    (place / "script").write_text(run(place, ["release-agent", "completion", shell]))
    return place / "script"


def in_bash(place: Path, line: str) -> list[str]:
    script(place, "bash")
    words = ["release-agent", *shlex.split(line)[1:], *([""] if line.endswith(" ") else [])]
    return run(place, ["bash", "--norc", "-c", IN_BASH, "bash", *words]).split()


def in_fish(place: Path, line: str) -> list[str]:
    script(place, "fish")
    said = run(place, ["fish", "--no-config", "-c", f"source ./script; complete -C {shlex.quote(line)}"])
    return [offered.partition("\t")[0] for offered in said.splitlines()]


SHELLS = {"bash": in_bash, "fish": in_fish}


@pytest.mark.parametrize("offer", SHELLS.values(), ids=SHELLS)
@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("release-agent dep", {"deploy"}),
        ("release-agent --config /x dep", {"deploy"}),
        ("release-agent deploy --all", {"--allow-lower"}),
        ("release-agent deploy v1", {"v1.0.0", "v1.1.0"}),
        ("release-agent stage v1.1", {"v1.1.0"}),
        ("release-agent rollback v1", {"v1.0.0"}),
        ("release-agent rollback 0", {"000001-"}),
        ("release-agent rollout ab", {"abort"}),
        ("release-agent rollout start --by", {"--by-zone"}),
        ("release-agent explain crash", {"crash-looping"}),
        ("release-agent config check age", {"agent.toml"}),
        ("release-agent completion zs", {"zsh"}),
    ],
)
def test_shell_offers_what_can_stand_there(place: Path, offer: Offer, line: str, offered: set[str]) -> None:
    found = {word if not word.startswith("0") else word.partition("-")[0] + "-" for word in offer(place, line)}

    assert found == offered


@pytest.mark.parametrize("offer", SHELLS.values(), ids=SHELLS)
def test_deployments_are_offered_where_one_is_named(place: Path, offer: Offer) -> None:
    assert offer(place, "release-agent history 2") == run(place, ["release-agent", "completion", "deployments"]).split()


@pytest.mark.parametrize("offer", SHELLS.values(), ids=SHELLS)
def test_tag_that_a_shell_would_run_is_not_offered(place: Path, offer: Offer) -> None:
    assert EVIL in run(place, ["git", "-C", "repository", "tag"])

    assert EVIL not in offer(place, "release-agent deploy v1.2")
    assert not list(place.rglob("evil"))


@pytest.mark.parametrize("offer", SHELLS.values(), ids=SHELLS)
def test_shell_on_a_machine_without_a_configuration_offers_no_tags(tmp_path: Path, offer: Offer) -> None:
    assert offer(tmp_path, "release-agent deploy v") == []


def test_zsh_completes_a_command_a_tag_and_an_option(place: Path) -> None:
    script(place, "zsh").rename(place / "_release-agent")
    (place / ".zshrc").write_text("fpath=(~ $fpath); autoload -U compinit; compinit -u -D; PS1='ready> '\n")
    master, slave = os.openpty()
    command = ["setsid", "--ctty", "zsh", "-i"]
    named = environment(place) | {"TERM": "dumb"}
    shell = subprocess.Popen(command, cwd=place, env=named, stdin=slave, stdout=slave, stderr=slave)
    os.close(slave)
    try:
        read_until(master, "ready> ")
        os.write(master, b"release-agent depl\t")
        read_until(master, "deploy ")
        os.write(master, b"v1.1\t")
        read_until(master, "v1.1.0 ")
        os.write(master, b"--dry\t")
        read_until(master, "--dry-run ")
    finally:
        shell.kill()
        shell.wait()
        os.close(master)


def read_until(terminal: int, text: str) -> None:
    """Read what is on the terminal up to a text."""
    seen = ""
    while text not in seen:
        assert select.select([terminal], [], [], 60)[0], seen
        seen += os.read(terminal, 4096).decode(errors="replace")
