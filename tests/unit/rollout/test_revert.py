"""A revert waits for hosts for a limited time, by a clock on which no time passes."""

from __future__ import annotations

from typing import Any

import pytest

from release_agent.rollout.host.client import HostClient
from release_agent.rollout.host.pace import Pace
from release_agent.rollout.host.rpc import Unreachable
from release_agent.rollout.model import Host, HostStage
from release_agent.rollout.revert import Revert
from support import no_time
from support.fake_hosts import NEW, OLD, FakeHost, Heard
from support.rollouts import a_system


class _Written:
    """What keeps nothing."""

    async def host(self, _host: Host) -> None:
        """Keep nothing."""


@pytest.mark.parametrize("silence", [Unreachable("no answer within 10 s", passing=True), Unreachable("Connection refused")])
def test_application_does_not_wait_long_for_a_host_of_another_one_that_was_never_deployed_to(silence: Unreachable) -> None:
    rollout = a_system("rollout-1", "db", "web")
    db, web = rollout.hosts.values()
    db.stage, db.before, db.rank = HostStage.DONE, OLD, 0
    web.stage, web.wave, web.rank, web.why = HostStage.UNREACHABLE, -1, 1, "it was silent in preflight"
    changed = FakeHost(release=NEW, revision="v2", triggers=[rollout.id])

    async def silent(*_call: object) -> Any:
        raise silence

    clients: dict[str, Any] = {db.name: changed, web.name: HostClient(silent, Pace())}  # type: ignore[arg-type]
    revert = Revert(rollout, _Written(), lambda host: clients[host.name], Heard())  # type: ignore[arg-type]

    _, seconds = no_time.run(revert.go({}))

    assert (changed.release, db.stage) == (OLD, HostStage.REVERTED)
    assert (web.stage, web.why) == (HostStage.UNREACHABLE, "it was silent in preflight")
    assert seconds < 20
