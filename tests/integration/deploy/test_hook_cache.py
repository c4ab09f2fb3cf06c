"""A build hook does not run again with the same inputs: its outputs are put in."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from support.host import Host, Ran

RUN = "echo ran >> {ran}; mkdir -p made/deep; cp lock made/deep/copy; ln -s deep/copy made/link; install -m 755 lock made/tool"


def hook(host: Host, run: str = RUN, more: str = "") -> str:
    """Return a hook that makes ``made`` of ``lock`` and notes that it has run."""
    command = run.format(ran=host.path / "ran")
    return f"[hooks]\nbuild = [{{ run = '''{command}''', cache = ['lock'], makes = ['made']{more} }}]\n"


def version(host: Host, tag: str, lock: str = "one", **files: str) -> Ran:
    """Release and deploy a version."""
    host.repository.release(tag, lock=lock, **files)
    ran = host.deploy(tag)
    assert ran.code == 0, ran.err
    return ran


def runs(host: Host) -> int:
    """Return how often the hook has run."""
    return len((host.path / "ran").read_text().splitlines())


def live(host: Host) -> Path:
    return host.root / "current"


def cached(host: Host) -> list[str]:
    return sorted(path.name for path in (host.root / ".release-agent" / "cache").iterdir())


@pytest.fixture
def host(host: Host) -> Host:
    """A host with the hook."""
    host.configure(hook(host))
    return host


def test_second_deployment_with_the_same_inputs_does_not_run_the_hook(host: Host) -> None:
    version(host, "v2.0.0")
    ran = version(host, "v2.1.0")

    assert runs(host) == 1
    assert (live(host) / "made/link").read_text() == "one"
    assert (live(host) / "made/tool").stat().st_mode & 0o777 == 0o755
    assert [event["makes"] for event in ran.events("hook.cached")] == [["made"]]
    assert [phase["name"] for phase in ran.json["phases"]].count("hooks") == 1
    assert host.agent("history", ran.json["id"], "--json").json["hooks"][0]["ended"] == "did not run: its outputs were kept"
    assert host.agent("verify").code == 0
