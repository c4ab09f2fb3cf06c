"""One host's agent, through the plugin: look, check, start a run, and follow it, with time limits."""

from __future__ import annotations

import asyncio
import xmlrpc.client
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code
from release_agent.rollout.host.answers import brought_by, checked_name, did_nothing, error_of, failure, status_of, understood
from release_agent.rollout.host.model import ArgumentsRefusedError, HostError, NotStartedError
from release_agent.rollout.host.rpc import Unauthorised, Unreachable

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from release_agent.rollout.host.model import HostStatus, RunRequest
    from release_agent.rollout.host.pace import Pace
    from release_agent.rollout.host.rpc import Remote

FIRST_CONTACT = 30.0  # seconds of tries for a host that never answered
PASSING = 15.0  # seconds for temporary trouble before any change: a locked journal, another check
_LONGEST_PHASE = 100  # characters of its name that are kept
_RECENT = 20  # entries of a history: enough to find a run that was just started
_ALL = 1000  # the plugin's maximum, because others may have deployed since
_UNJOURNALED = 5.0  # seconds until the history of a host has a run that it has accepted


class HostClient:
    """One host's agent. Every method raises HostError, and a method that starts a run also NotStartedError."""

    def __init__(self, remote: Remote, pace: Pace) -> None:
        """``pace`` is shared by all hosts."""
        self._call_remote = remote
        self._pace = pace

    async def look(self, patience: float = 0.0, *, first_contact: float | None = None) -> HostStatus:
        """Return the live release there and its health; asks again for ``patience`` seconds.

        ``first_contact``: seconds for a host that never answers, if they are fewer.
        """
        return status_of(await self._insist(patience, "release.getStatus", first_contact=first_contact))

    async def check(
        self, revision: str, patience: float, *, despite_freeze: bool = False, wait_for: float = 0.0
    ) -> dict[str, Any]:
        """Return what a deployment would do there, as ``release.check`` answers; waits ``patience`` seconds.

        ``wait_for``: further seconds for which the host waits for the revision.
        """
        now = asyncio.get_running_loop().time
        started = await self._check(revision, PASSING, despite_freeze=despite_freeze, wait_for=wait_for)
        end = now() + patience + wait_for
        while True:
            with understood():
                identity = str(checked_name(started["id"]))
            try:
                record = await self.follow(identity, end - now(), "release.check")
                break
            except HostError as error:
                if not _lost_the_run(error) or now() >= end:
                    raise
            await asyncio.sleep(1.0)
            left = end - now()
            started = await self._check(revision, left, despite_freeze=despite_freeze, wait_for=max(0.0, left - patience))
        if record["outcome"] != "checked":
            raise failure(record)
        with understood():
            return {**record, "commits": dict(record["commits"])}

    async def _check(self, revision: str, patience: float, *, despite_freeze: bool, wait_for: float) -> Any:
        """Start a check. If the host is busy, ask again, because the other run is usually a check that ends soon."""
        # Send it only if it is set, because an older plugin does not know it.
        waits = (f"{wait_for:.3f}s",) if wait_for else ()
        more = (False, despite_freeze, *waits) if despite_freeze or waits else ()
        return await self._insist(patience, "release.check", revision, False, *more, first_contact=0.0)

    async def run(
        self,
        wanted: RunRequest,
        deadline: float,
        under_way: Callable[[str, str], Awaitable[None]],
        *,
        again: bool,
        known: str | None = None,
    ) -> dict[str, Any]:
        """Start a run there as start() does, and follow it to its end; ``under_way`` gets its id and its phase.

        Until the deadline, it starts a run again that changed nothing. Causes: the host's lock was taken, its journal was
        locked, or its container was restarted before anything was published, even before the journal had the run.
        ``known``: the id of the run, if it was started before.
        """
        now = asyncio.get_running_loop().time
        end = now() + deadline
        while True:
            identity = known or await self.start(wanted, end - now(), again=again)
            await under_way(identity, "")
            try:
                record = await self.follow(identity, end - now(), wanted.method, under_way)
            except HostError as error:
                if not _lost_the_run(error) or now() >= end:
                    raise
                # If only supervisord was restarted, the run continues, and will be in the history.
                known, again = None, True
                await asyncio.sleep(_UNJOURNALED)
                continue
            if not did_nothing(record) or now() >= end:
                return record
            known, again = None, False
            await asyncio.sleep(1.0)

    async def start(self, wanted: RunRequest, deadline: float, *, again: bool) -> str:
        """Start a run there, at most once per trigger; returns the id of its deployment.

        ``again``: an operator who was killed before noting the run may already have started it.
        ``deadline``: seconds.
        """
        started = await self._started(wanted, deadline, deadline, _ALL) if again else None
        if again and not started and not wanted.may_start():
            await asyncio.sleep(_UNJOURNALED)
            started = await self._started(wanted, deadline, deadline, _ALL)
        return started or await self._start_once(wanted, deadline)

    async def brought(self, release: str, rollout: str, boots_since: str | None) -> bool:
        """Return whether its history shows that a rollout made the live release live, see brought_by()."""
        for most in (_RECENT, _ALL):  # the whole history is a long answer
            history = await self._insist(PASSING, "release.getHistory", most, first_contact=0.0)
            brought = brought_by(history, release, rollout, boots_since)
            if brought is not None:
                return brought
        return False

    async def _start_once(self, wanted: RunRequest, deadline: float) -> str:
        """Start a run; start it again only if the first start certainly failed.

        Raises NotStartedError once the run may not start any more, but HostError if it may have started: an answer was lost.
        """
        now = asyncio.get_running_loop().time
        began, first_contact = now(), min(FIRST_CONTACT, deadline)
        lost: HostError | None = None
        while wanted.may_start():
            try:
                record = await self._begun(wanted)
                with understood():
                    return str(checked_name(record["id"]))
            except HostError as error:
                first_contact = deadline if error.passing else first_contact  # the host exists
                if not _may_pass(error, now() - began, deadline, first_contact):
                    raise
                lost = error if error.unreachable else lost
            await asyncio.sleep(1.0)
            # After a lost answer, or if the host is busy with this run, do not deploy twice.
            left = began - now()
            started = await self._started(wanted, deadline + left, first_contact + left)
            if started:
                return started
        raise lost or NotStartedError

    async def _begun(self, wanted: RunRequest) -> Any:
        *newer, oldest = wanted.calls()
        for arguments in newer:
            try:
                return await self._call(wanted.method, *arguments)
            except ArgumentsRefusedError:  # an older plugin, which does not compare the live release itself
                await self._require_live(wanted.expected)
        return await self._call(wanted.method, *oldest)

    async def _require_live(self, expected: str) -> None:
        live = (await self.look()).release if expected else ""
        if live != expected:
            raise HostError(Code.OVERTAKEN, f"{live or 'nothing'} is live, not {expected}")

    async def _started(self, wanted: RunRequest, patience: float, first_contact: float, most: int = _RECENT) -> str | None:
        """Return the id of the run if its trigger has started it there, or None; asks until the host answers.

        ``most``: entries of its history to look at.
        """
        history = await self._insist(patience, "release.getHistory", most, first_contact=first_contact)
        with understood():
            newer = takewhile(lambda entry: entry["id"] != wanted.after, history)
            return next((str(entry["id"]) for entry in newer if entry.get("trigger") == wanted.trigger), None)

    async def follow(
        self, identity: str, patience: float, method: str, under_way: Callable[[str, str], Awaitable[None]] | None = None
    ) -> dict[str, Any]:
        """Wait until the run that a method started has ended; after ``patience`` seconds the host is late.

        ``under_way`` gets the id and the phase of the run after each question.
        """
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            await asyncio.sleep(self._pace.wait(method, now() - began))
            record: dict[str, Any] = await self._insist(patience - (now() - began), "release.getDeployment", identity)
            with understood():
                if checked_name(record.get("outcome")):
                    checked_name(record.get("release"))
                    if "error" not in record:
                        self._pace.took(method, now() - began)
                    return record
                phase = str((record.get("phases") or [{"name": ""}])[-1]["name"])[:_LONGEST_PHASE]
                if under_way:
                    await under_way(identity, phase)
                if now() - began > patience:
                    doing = f", in phase {phase}" if phase else ""
                    why = f"its run has not ended within the deadline{doing}; the host continues on its own"
                    raise HostError(Code.HOST_LATE, why)

    async def _insist(
        self, patience: float, method: str, *arguments: str | int | bool, first_contact: float | None = None
    ) -> Any:
        """Call a reading method. Without an answer or after temporary trouble, repeat the call for ``patience`` seconds.

        ``first_contact``: seconds for a host that never answers (default: ``patience``).
        """
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            try:
                return await self._call(method, *arguments)
            except HostError as error:
                if not _may_pass(error, now() - began, patience, patience if first_contact is None else first_contact):
                    raise
            await asyncio.sleep(1.0)

    async def _call(self, method: str, *arguments: str | int | bool) -> Any:
        try:
            return await self._call_remote(method, *arguments)
        except Unreachable as error:
            raise HostError(Code.HOST_UNREACHABLE, str(error), unreachable=True, passing=error.passing) from error
        except Unauthorised as error:
            raise HostError(Code.HOST_UNAUTHORISED, str(error)) from error
        except xmlrpc.client.Fault as fault:
            raise error_of(fault, method) from fault


def _lost_the_run(error: HostError) -> bool:
    """Return whether supervisord was restarted, usually with its container, before the journal had the run."""
    return error.code == Code.RELEASE_UNKNOWN


def _may_pass(error: HostError, elapsed: float, patience: float, first_contact: float) -> bool:
    """Return whether to ask again after so many seconds of trouble; a host that never answers has ``first_contact`` seconds."""
    return elapsed < (patience if error.passing else first_contact if error.unreachable else 0.0)
