"""A newcomer's way: a container with python3 and git, a clean clone, and the first commands of the README."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from support.containers import Container, base_image, run
from support.environment import PROJECT
from support.markdown import page
from support.shown import missing

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKOUT = "/home/newcomer/release-agent"
USER = "newcomer"
ACTS = """
deployed: v1.0.0 as
deployed: v1.1.0 as
by v1.1.0), 0 failed
=> No live process was restarted
rolled-back  v1.3.0
$ release-agent rollback
$ consul catalog services -tags
That was it, in
"""


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Container]:
    """An unprivileged container of the base image, in which somebody has cloned the project."""
    clone = tmp_path / "clone"
    run("git", "clone", "--quiet", "--no-local", PROJECT, clone)
    # Packages come by the network of the machine, as they do when an image is built.
    flags = ("--network", "host", f"--volume={clone}:{CHECKOUT}")
    name = f"release-agent-newcomer-{secrets.token_hex(4)}"
    container = Container.start(name, base_image(), *flags, command=("sleep", "infinity"))
    try:
        container.execute("apt-get", "-qq", "update")
        container.execute("apt-get", "-qq", "install", "--yes", "--no-install-recommends", "git")
        container.execute("useradd", USER)
        container.execute("chown", "--recursive", USER, f"/home/{USER}")
        yield container
    finally:
        container.do("kill", check=False)
        container.do("rm", "--force", check=False)


def test_demo_and_unit_tests_run_in_an_empty_container_as_the_readme_says(newcomer: Container) -> None:
    demo = newcomer.execute("sh", "-c", f"cd {CHECKOUT} && scripts/demo", user=USER)
    for words in ACTS.strip().splitlines():
        assert words in demo.stdout
    (shown,) = page("README.md").section("See it").examples("text")
    assert missing(shown, demo.stdout) == []
    assert newcomer.execute("git", "-C", CHECKOUT, "status", "--porcelain", user=USER).stdout == ""

    tests = newcomer.execute("sh", "-c", f"cd {CHECKOUT} && scripts/test tests/unit")
    assert " passed" in tests.stdout.splitlines()[-1]
    assert newcomer.execute("git", "-C", CHECKOUT, "status", "--porcelain", user=USER).stdout == ""
