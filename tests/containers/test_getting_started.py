"""docs/getting-started.md in a real container: every command of the page runs, and prints the output that the page shows."""

from __future__ import annotations

import os
import shlex
from functools import reduce
from typing import TYPE_CHECKING

import pytest

from support.containers import AGENT, engine, run
from support.markdown import page
from support.servers import free_port
from support.shown import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

NAME = "release-agent-shop"
SOMEBODY = {f"GIT_{role}_{what}": "a@b" for role in ("AUTHOR", "COMMITTER") for what in ("NAME", "EMAIL")}
# The build of the image is that of the other scenes.
BUILD = "docker build"


@pytest.fixture
def place(images: None, tmp_path: Path) -> Iterator[Path]:  # noqa: ARG001
    os.umask(0o022)
    tmp_path.chmod(0o755)
    yield tmp_path
    run(engine(), "rm", "--force", "--volumes", NAME, check=False)


def steps() -> Iterator[tuple[str, str]]:
    """What a person pastes, and what the page shows after it."""
    whole = page("docs/getting-started.md")
    for section in map(whole.section, whole.headings()[1:]):
        pasted, shown = section.examples("sh"), section.examples("text")
        for i, commands in enumerate(pasted):
            if BUILD not in commands:
                yield commands, shown[i] if i < len(shown) else ""


def test_commands_of_getting_started_print_what_the_page_shows(place: Path) -> None:
    port = str(free_port(of_containers=True))
    head = f'exec 2>&1\ndocker() {{ {engine()} "$@"; }}\ncd {shlex.quote(str(place))}\n'
    # What may be on this machine already is named otherwise.
    own = {"8080:": f"{port}:", ":8080/": f":{port}/", "\n  release-agent": f"\n  {AGENT}"}
    own |= {f"{before} shop": f"{before} {NAME}" for before in ("--name", "exec", "--volumes")}
    for commands, shown in steps():
        here = reduce(lambda text, there: text.replace(there, own[there]), own, commands)
        ran = run("sh", "-c", head + here, env={**os.environ, **SOMEBODY})
        assert missing(shown, ran.stdout) == [], ran.stdout
