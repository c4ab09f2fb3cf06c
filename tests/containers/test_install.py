"""docs/install.md in a container of the base image: its steps make a container that deploys."""

from __future__ import annotations

import secrets
import shutil
from typing import TYPE_CHECKING

import pytest

from support.containers import Container, base_image
from support.environment import PROJECT
from support.markdown import page
from support.repositories import Repository
from support.servers import free_port

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

CHECKOUT = "/usr/src/release-agent"
SERVER = """
from http.server import HTTPServer, SimpleHTTPRequestHandler
HTTPServer(("127.0.0.1", {port}), SimpleHTTPRequestHandler).serve_forever()
"""


@pytest.fixture
def empty(tmp_path: Path) -> Iterator[Container]:
    """An empty container of the base image with a copy of a checkout, and a repository below /repos."""
    tmp_path.chmod(0o755)
    left_out = shutil.ignore_patterns(".*", "build", "__pycache__", "*.egg-info")
    shutil.copytree(PROJECT, tmp_path / "checkout", ignore=left_out)
    repository = Repository(tmp_path / "web")
    for tag in ("v1.0.0", "v1.1.0"):
        repository.commit({"server.py": SERVER.format(port=free_port(of_containers=True))}, tag=tag)
    volumes = (f"--volume={tmp_path}/checkout:{CHECKOUT}", f"--volume={tmp_path}/web:/repos/web:ro")
    # Packages come by the network of the machine, as they do when an image is built.
    name = f"release-agent-install-{secrets.token_hex(4)}"
    container = Container.start(name, base_image(), "--network", "host", *volumes, command=("sleep", "infinity"))
    try:
        container.execute("apt-get", "-qq", "update")
        container.execute("apt-get", "-qq", "install", "--yes", "--no-install-recommends", "git", "python3-venv")
        yield container
    finally:
        container.do("kill", check=False)
        container.do("rm", "--force", check=False)


def test_empty_container_deploys_after_the_commands_of_the_page(empty: Container) -> None:
    how = page("docs/install.md")
    (install,) = how.section("An existing container").examples("sh")
    (first,) = how.section("The first deployment").examples("sh")

    empty.execute("sh", "-ec", f"cd {CHECKOUT}\n{install}")
    empty.until("supervisord answers", lambda: empty.execute("supervisorctl", "pid", check=False).returncode == 0)
    done = empty.execute("sh", "-ec", first)
    assert "no faults" in done.stdout, done.stdout
    empty.until_done(["boot"])
    assert empty.live() == ("v1.1.0", "passing")

    empty.execute("supervisorctl", "start", "deploy")
    empty.until_done()
    assert empty.outcomes(1) == [("v1.1.0", "unchanged")]
