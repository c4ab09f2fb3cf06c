"""The last look: ask hosts for their live release before a rollout counts as completed."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.rollout.host.client import FIRST_CONTACT
from release_agent.rollout.host.model import HostError, note_failure
from release_agent.rollout.model import HostStage
from release_agent.rollout.parallel import LOOKS, in_parallel
from release_agent.rollout.policy.verdict import may_have_taken_it, verdict

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.rollout.host.client import HostClient
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.observer import Observer
    from release_agent.rollout.writer import Writer


class Verification:
    """The last look at the hosts of one rollout."""

    def __init__(self, rollout: Rollout, writer: Writer, client_of: Callable[[Host], HostClient], observer: Observer) -> None:
        """``client_of`` makes the client of a host."""
        self._rollout = rollout
        self._writer = writer
        self._client_of = client_of
        self._observer = observer

    async def of(self, hosts: Sequence[Host]) -> None:
        """Ask hosts for their live release and note changes; a lost host that has taken the revision becomes done."""
        await in_parallel(hosts, LOOKS, self._ask)

    async def _ask(self, host: Host) -> None:
        was_lost = may_have_taken_it(host)
        patience = 0.0 if was_lost else self._rollout.options.deadline
        try:
            live = await self._client_of(host).look(patience, first_contact=min(FIRST_CONTACT, patience))
            error = verdict(live, self._rollout.commits_of(host))
        except HostError as unanswered:
            error = unanswered
        if was_lost == (error is not None):
            return  # the host's stage stays right
        if error:
            note_failure(host, error)
        elif live.busy:
            return  # the host is still proving the revision
        else:
            host.stage, host.code, host.why, host.release = HostStage.DONE, "", "", live.release
        await self._writer.host(host)
        self._observer.tell("host.finished", host)
