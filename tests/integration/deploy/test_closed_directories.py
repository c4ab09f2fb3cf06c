"""A hook closes the agent's own directories to the agent, which is not the root user."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest

from release_agent.deploy.agent import Agent, boot_request
from release_agent.errors import Failed
from release_agent.model import Request, new_id
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.privileges import NOBODY, unprivileged
from support.repositories import Repository
from support.supervisors import supervising

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from release_agent.model import Record


@pytest.fixture
def repository(open_place: Path) -> Repository:
    """A repository with v1.0.0."""
    repository = Repository(open_place / "repos/api")
    repository.commit({"app.py": "one"}, tag="v1.0.0")
    return repository


@pytest.fixture
def live(repository: Repository, open_place: Path) -> Iterator[Parts]:
    """A container whose version v1.0.0 is live; its root is nobody's."""
    app = f'[app]\nname = "api"\nenvironment = "test"\nroot = "{open_place}/root"\n'
    where = f'[[repository]]\nname = "api"\npath = "{repository.path}"\n'
    config = configuration('[health]\nstable_for = "0s"\n[consul]\nenabled = false\n', app=app, repository=where)
    with supervising([]) as url:
        parts = Parts(config, SystemClock(), {"SUPERVISOR_SERVER_URL": url})
        deployed(parts, "v1.0.0")
        for place in (open_place, parts.root().path, *parts.root().path.rglob("*")):
            os.chown(place, NOBODY, NOBODY, follow_symlinks=False)
        yield parts


@pytest.fixture
def closing(live: Parts, repository: Repository, open_place: Path, request: pytest.FixtureRequest) -> Iterator[Parts]:
    """A container whose version v1.1.0 closes one of the agent's directories when it is published, and is not healthy."""
    hook = f"chmod 000 {open_place}/{request.param}; exit 3"
    files = {"release.toml": f"[hooks]\nafter_publish = [{{ run = '{hook}' }}]\n"}
    repository.commit(files, tag="v1.1.0")
    with unprivileged():
        yield live
        open_place.chmod(0o755)


def deployed(parts: Parts, revision: str) -> Record:
    request = Request(new_id(), revision=revision)
    with parts.locked(request) as context:
        return Agent(context).deploy(request)


@pytest.mark.parametrize(
    "closing",
    ["root", "root/releases", "root/.release-agent", "root/.release-agent/incoming", "root/.release-agent/releases"],
    indirect=True,
)
def test_sick_release_that_closed_a_directory_of_the_agents_own_is_rolled_back(closing: Parts) -> None:
    ran = deployed(closing, "v1.1.0")

    assert (ran.outcome, ran.error and ran.error["code"]) == ("rolled-back", "hook-failed")
    current = closing.root().current()
    assert current
    assert current.revision == "v1.0.0"


@pytest.mark.parametrize("closing", [""], indirect=True)
def test_sick_release_that_closed_the_directory_above_the_root_is_not_said_to_be_unpublished(closing: Parts) -> None:
    ran = deployed(closing, "v1.1.0")

    assert (ran.outcome, ran.error and ran.error["code"]) == ("rollback-failed", "rollback-unhealthy")
    assert ran.error
    assert "the release before it could not be published again: cannot use" in ran.error["message"]


def test_boot_that_may_not_enter_the_agents_own_directory_starts_what_is_live(live: Parts) -> None:
    own, request = live.root().own, boot_request()
    os.chown(own, 0, 0)
    own.chmod(0o700)

    with unprivileged():
        with pytest.raises(Failed) as trouble, live.locked(request):
            pass
        with live.starting(request) as context:
            record, healthy = Agent(context).start(request, trouble.value)

    assert (record.outcome, healthy) == ("unchanged", True)
    assert record.release == live.root().link.readlink().name
