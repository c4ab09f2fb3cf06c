"""Fixtures of the scenes: the images, and one system in which all scenes run."""

from __future__ import annotations

import fcntl
from typing import TYPE_CHECKING

import pytest

from support.containers import SYSTEM, build, build_agent, build_consul
from support.environment import PROJECT
from support.system import COMPONENTS, System
from support.waiting import eventually

if TYPE_CHECKING:
    from collections.abc import Iterator

    from support.host import Ran


def troubles(ran: Ran) -> str:
    """Say why a rollout has failed: its last event has the hosts."""
    return "\n".join([f"exit {ran.code}", *map(str, ran.json.get("hosts", [ran.out, ran.err]))])


@pytest.fixture(scope="session")
def images(tmp_path_factory: pytest.TempPathFactory) -> None:
    """The project's image, that of the example, and one of Consul. Processes that run scenes side by side build them once."""
    with (tmp_path_factory.getbasetemp().parent / "images").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # whoever comes later finds every layer built
        build_agent()
        build(SYSTEM, PROJECT / "examples" / "system")
        build_consul(tmp_path_factory.mktemp("consul"))


@pytest.fixture(scope="session")
def running(images: None, tmp_path_factory: pytest.TempPathFactory) -> Iterator[System]:  # noqa: ARG001
    """The example, from nothing; its first version was rolled out."""
    system = System(tmp_path_factory.mktemp("example"))
    try:
        system.compose("up", "--detach")
        for name in COMPONENTS:
            system.container(name).until_done(["boot"])
        assert eventually(system.leader), "Consul has a leader"
        first = system.start(revision="v1.0.0")
        assert first.code == 0, troubles(first)
        yield system
    finally:
        system.close()


@pytest.fixture
def system(running: System) -> System:
    """The same in peace: every component runs the same version, and is healthy."""
    live = set(running.live().values())
    if len(live) > 1 or not live <= set(running.tags):
        there = running.start(revision=running.new())
        assert there.code == 0, troubles(there)
    return running
