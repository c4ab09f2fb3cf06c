"""A command that only looks during a deployment writes nothing, waits for nothing, and gets an answer."""

from __future__ import annotations

import argparse
import json
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.cli.call import Call
from release_agent.cli.commands import deploy, doctor, history, releases, status
from release_agent.journal.journal import StateDatabase
from release_agent.model import Freeze, Request, timestamp
from release_agent.monitor.poll import Poll
from release_agent.monitor.watched import LiveRelease
from support.contexts import Unheard
from support.repositories import listing
from support.supervisors import own, supervising

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from support.repositories import Repository

CONFIGURATION = """
[app]
name = "api"
environment = "test"
root = "{place}/root"
[[repository]]
name = "api"
path = "{place}/repos/api"
[supervisor]
url = "{url}"
[consul]
enabled = false
"""
DRY = {"revision": None, "dry_run": True}
COMMANDS = {
    "deploy --dry-run": (
        deploy,
        {
            "revision": None,
            "dry_run": True,
            "force": False,
            "accept_moved_tag": False,
            "allow_lower": False,
            "despite_freeze": False,
            "wait_for": 0.0,
        },
    ),
    "doctor": (doctor, {"repair": False}),
    "status": (status, {}),
    "history": (history, {"id": None, "limit": -1}),
    "releases": (releases, {}),
}


@pytest.fixture
def place(repo: Repository) -> Iterator[Path]:
    """A container's configuration, repository and supervisor."""
    place = repo.path.parents[1]
    with supervising([own("deploy")]) as url:
        (place / "agent.toml").write_text(CONFIGURATION.format(place=place, url=url))
        yield place


def call(place: Path, command: str = "status", **arguments: object) -> Call:
    """Return a call of a command, with adapters of its own as another process has them."""
    return Call(argparse.Namespace(config=str(place / "agent.toml"), command=command, json=True, by=None, **arguments))


def content(place: Path) -> dict[str, Any]:
    """List all that is in the root, except SQLite's journal: root reads it by giving it to its owner."""
    found: dict[str, Any] = listing(place / "root")
    return {name: about for name, about in found.items() if not name.endswith("state.db-journal")}


@pytest.mark.parametrize("command", COMMANDS)
def test_a_command_that_only_looks_writes_nothing_while_a_deployment_runs(
    place: Path, command: str, capsys: pytest.CaptureFixture[str]
) -> None:
    module, arguments = COMMANDS[command]
    request = Request("d-1", revision="v1.0.0")
    with call(place).parts.locked(request) as context:
        context.journal.begin(request, "2024-01-01T12:00:00.000000Z")
        context.store.describe("v1.0.0")
        before, lock = content(place), (place / "root/.release-agent/lock").read_bytes()

        code = module.run(call(place, command.split(maxsplit=1)[0], **arguments))

        answer = json.loads(capsys.readouterr().out.splitlines()[-1])
        assert content(place) == before
        assert (place / "root/.release-agent/lock").read_bytes() == lock
    assert code in (0, 30), answer
    if command.startswith("deploy"):
        assert (answer["outcome"], answer["error"]) == ("checked", None)
    if command == "doctor":
        assert [finding["message"] for finding in answer if "lock" in finding["message"]] == []
    if command == "status":
        assert answer["deployment"]["id"] == "d-1"


def test_the_monitors_poll_writes_nothing_while_a_deployment_runs(place: Path) -> None:
    polling = call(place).parts
    request = Request("d-1", revision="v1.0.0")
    with call(place).parts.locked(request), polling.looking() as context:
        before = content(place)
        watched = LiveRelease(polling, context)

        # It looks whether a run is at work, and one may begin right after that.
        assert watched.busy()
        assert watched.target().revision == "v1.0.0"
        Poll(watched, lambda: StateDatabase(polling.root().database), Unheard()).look()

        assert content(place) == before


def test_the_monitors_poll_fires_nothing_at_a_frozen_host_and_says_so_once(place: Path) -> None:
    parts, said = call(place).parts, Heard()
    with parts.locked(Request("d-1")) as context:
        context.journal.freeze(Freeze("the database moves", "ada", timestamp()))
    with parts.looking() as context:
        poll = Poll(Idle(parts, context), lambda: StateDatabase(parts.root().database), said)
        poll.look()
        poll.look()

    assert [event for event, _ in said.events] == ["poll.refused"]
    assert "frozen by ada" in str(said.events[0][1]["why"])


class Idle(LiveRelease):
    """A live release whose supervisor must not be asked for a run."""

    def fire(self, method: str, trigger: str) -> str | None:
        raise AssertionError(method, trigger)


class Heard(Unheard):
    """A log whose warnings are kept."""

    def __init__(self) -> None:
        self.events: list[tuple[str, dict[str, object]]] = []

    def warning(self, event: str, **told: object) -> None:
        self.events.append((event, told))
