"""Hosts stage a revision, with given answers, by a clock on which no time passes."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from release_agent.rollout.gate import Gate
from release_agent.rollout.host.client import HostClient
from release_agent.rollout.host.pace import Pace
from release_agent.rollout.model import Host, HostStage
from release_agent.rollout.staging import Staging
from support import no_time
from support.fake_hosts import Heard
from support.rollouts import a_rollout

ROLLOUT = a_rollout(hosts=1)
STAGED = {"id": "s2", "outcome": "staged", "commits": ROLLOUT.applications[0].commits}


class _Written:
    """What keeps nothing."""

    async def host(self, _host: Host) -> None:
        """Keep nothing."""


class _Host:
    """A host whose first run ends in a given way, and whose later ones stage the revision."""

    def __init__(self, first: dict[str, Any]) -> None:
        self.records = {"s1": first, "s2": STAGED}
        self.started: list[str] = []

    async def __call__(self, method: str, *arguments: Any) -> Any:
        if method == "release.getHistory":
            return []
        if method == "release.stage":
            self.started.append(f"s{len(self.started) + 1}")
            return {"id": self.started[-1]}
        return self.records[arguments[0]]


def _staged(host: _Host) -> tuple[HostStage, bool]:
    """Return the stage of the host after its staging, and whether the rollout has stopped."""
    rollout = a_rollout(hosts=1)
    rollout.options = replace(rollout.options, stage=True)
    (planned,) = rollout.hosts.values()

    why: list[str] = []

    async def stage() -> None:
        gate = Gate(900.0, why.append, lambda: False)
        client = HostClient(host, Pace())  # type: ignore[arg-type]
        await Staging(rollout, _Written(), lambda _host: client, Heard()).of([planned], gate)  # type: ignore[arg-type]

    no_time.run(stage())
    return planned.stage, ["cannot stage" in reason for reason in why] == [True]


@pytest.mark.parametrize(("outcome", "code"), [("busy", "busy"), ("cancelled", "interrupted"), ("failed", "journal-broken")])
def test_run_that_changed_nothing_is_started_again(outcome: str, code: str) -> None:
    host = _Host({"id": "s1", "outcome": outcome, "error": {"code": code, "message": "it passes"}})

    assert _staged(host) == (HostStage.PENDING, False)
    assert host.started == ["s1", "s2"]


def test_hosts_own_word_about_the_release_stops_it_at_once() -> None:
    host = _Host({"id": "s1", "outcome": "failed", "error": {"code": "rehearsal-failed", "message": "it exits with 3"}})

    assert _staged(host) == (HostStage.FAILED, True)
    assert host.started == ["s1"]
