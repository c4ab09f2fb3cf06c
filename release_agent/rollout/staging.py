"""``--stage``: every host builds and rehearses the revision before any host publishes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.model import Outcome
from release_agent.rollout.host.answers import require_outcome
from release_agent.rollout.host.model import HostError, NotStartedError, note_failure, staging
from release_agent.rollout.parallel import in_parallel
from release_agent.rollout.policy.budgets import too_many_lost

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.rollout.gate import Gate
    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.observer import Observer
    from release_agent.rollout.writer import Writer

_STAGED = (Outcome.STAGED, Outcome.UNCHANGED)


class Staging:
    """The staging of one rollout; a host that cannot stage stops the rollout."""

    def __init__(self, rollout: Rollout, writer: Writer, client_of: Callable[[Host], HostClient], observer: Observer) -> None:
        """``client_of`` makes the client of a host."""
        self._rollout = rollout
        self._writer = writer
        self._client_of = client_of
        self._observer = observer

    async def of(self, hosts: Sequence[Host], gate: Gate) -> None:
        """Stage on hosts, some at a time; after a failure, start no more and wait for the started ones."""

        async def stage(host: Host) -> None:
            try:
                await self._stage(host, lambda: not gate.stopped)
            except NotStartedError:
                return
            except HostError as error:
                note_failure(host, error)
                await self._writer.host(host)
                self._observer.tell("host.finished", host)
                gate.stop(too_many_lost(self._rollout))
            else:
                gate.progressed()
                self._observer.tell("host.staged", host)

        await in_parallel(hosts, self._rollout.options.parallel, stage, gate=gate)

    async def _stage(self, host: Host, may_start: Callable[[], bool]) -> None:
        rollout = self._rollout
        wanted = staging(rollout, may_start)
        # An earlier operator may have started it.
        record = await self._client_of(host).run(wanted, rollout.options.deadline, _under_way, again=True)
        require_outcome(record, _STAGED, rollout.commits_of(host))


async def _under_way(_identity: str, _phase: str) -> None:
    """Note nothing: a host that stages stays pending."""
