"""One host's agent, through the plugin: look, check, start a run, follow it; and how long it is waited for."""

from __future__ import annotations

import asyncio
import xmlrpc.client
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from release_agent.errors import Code
from release_agent.rollout.host.answers import BUSY, brought_by, error_of, failure, status_of, understood
from release_agent.rollout.host.model import HostError
from release_agent.rollout.host.rpc import Unauthorised, Unreachable

if TYPE_CHECKING:
    from release_agent.rollout.host.model import HostStatus, RunRequest
    from release_agent.rollout.host.pace import Pace
    from release_agent.rollout.host.rpc import Remote

FIRST_CONTACT = 30.0  # seconds that a host which never heard is tried
_BUSY_PATIENCE = 60.0  # seconds that a busy host, with a check perhaps, is asked again
_CHECKS = 15  # tries, a second apart
_RECENT = 20  # of a history: enough to find what was just started


class HostClient:
    """One host's agent. Every method raises HostError."""

    def __init__(self, remote: Remote, pace: Pace) -> None:
        """``pace`` is shared by all hosts."""
        self._call_remote = remote
        self._pace = pace

    async def look(self, patience: float = 0.0) -> HostStatus:
        """Return what is live there, and how it is; one that does not answer is asked for ``patience`` seconds."""
        return status_of(await self._insist(patience, "release.getStatus"))

    async def check(self, revision: str, patience: float) -> dict[str, Any]:
        """Return what a deployment would do there, as ``release.check`` answers; waits ``patience`` seconds."""
        record = await self._check(revision)
        with understood():
            identity = str(record["id"])
        record = await self.follow(identity, patience, "release.check")
        if record["outcome"] != "checked":
            raise failure(record)
        with understood():
            return {**record, "commits": dict(record["commits"])}

    async def _check(self, revision: str) -> Any:
        """Begin a check; what somebody else has begun there, a check mostly, is over soon."""
        tries = 0
        while True:
            try:
                return await self._call("release.check", revision, False)
            except HostError as error:
                tries += 1
                if error.code != Code.HOST_BUSY or tries > _CHECKS:
                    raise
            await asyncio.sleep(1.0)

    async def start(self, wanted: RunRequest, deadline: float, *, again: bool, after: str | None = None) -> str:
        """Start a run there, at most once for a trigger; returns the id of its deployment.

        ``again``: it may have been started before, by an operator who was killed before writing it down.
        ``deadline``: seconds.
        ``after``: the id of a deployment; only runs since then count.
        """
        started = await self._started(wanted.trigger, after, deadline) if again else None
        return started or await self._start_once(wanted, after, deadline)

    async def brought(self, release: str, rollout: str, since: str) -> bool:
        """Whether a rollout, or a boot since it began, made live what is live there now."""
        return brought_by(await self._call("release.getHistory", _RECENT), release, rollout, since)

    async def _start_once(self, wanted: RunRequest, after: str | None, deadline: float) -> str:
        """Start it, and again only if it is known that nothing came of it."""
        now = asyncio.get_running_loop().time
        began, heard = now(), False
        while True:
            try:
                record = await self._call_remote(wanted.method, wanted.argument, False, wanted.trigger, *wanted.more)
                with understood():
                    return str(record["id"])
            except Unreachable as error:
                heard = heard or error.heard
                if now() - began > (deadline if heard else min(FIRST_CONTACT, deadline)):
                    raise HostError(Code.HOST_UNREACHABLE, str(error), unreachable=True) from error
            except Unauthorised as error:
                raise HostError(Code.HOST_UNAUTHORISED, str(error)) from error
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != BUSY or now() - began > min(_BUSY_PATIENCE, deadline):
                    raise error_of(fault) from fault
            await asyncio.sleep(1.0)
            # An answer that was lost is no reason to deploy twice; nor is what it is busy with our own.
            started = await self._started(wanted.trigger, after, max(0.0, deadline - (now() - began)))
            if started:
                return started

    async def _started(self, trigger: str, after: str | None, patience: float) -> str | None:
        """Return the id of the run that a trigger started there, or None; asks until the host answers."""
        history = await self._insist(patience, "release.getHistory", _RECENT)
        with understood():
            newer = takewhile(lambda entry: entry["id"] != after, history)
            return next((str(entry["id"]) for entry in newer if entry.get("trigger") == trigger), None)

    async def follow(self, identity: str, patience: float, method: str) -> dict[str, Any]:
        """Ask for what a method began until that has ended, in time and not too often; late after ``patience`` seconds."""
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            await asyncio.sleep(self._pace.wait(method, now() - began))
            record: dict[str, Any] = await self._insist(patience - (now() - began), "release.getDeployment", identity)
            with understood():
                if record.get("outcome"):
                    if "error" not in record:
                        self._pace.took(method, now() - began)
                    return record
                if now() - began > patience:
                    phases = [phase["name"] for phase in record.get("phases", [])]
                    doing = f", in phase {phases[-1]}" if phases else ""
                    raise HostError(Code.HOST_LATE, f"not done within its deadline{doing}; the host goes on alone")

    async def _insist(self, patience: float, method: str, *arguments: str | int | bool) -> Any:
        """Call what changes nothing, again and again where there is no answer."""
        now = asyncio.get_running_loop().time
        end = now() + patience
        while True:
            try:
                return await self._call(method, *arguments)
            except HostError as error:
                if not error.unreachable or now() >= end:
                    raise
            await asyncio.sleep(1.0)

    async def _call(self, method: str, *arguments: str | int | bool) -> Any:
        try:
            return await self._call_remote(method, *arguments)
        except Unreachable as error:
            raise HostError(Code.HOST_UNREACHABLE, str(error), unreachable=True) from error
        except Unauthorised as error:
            raise HostError(Code.HOST_UNAUTHORISED, str(error)) from error
        except xmlrpc.client.Fault as fault:
            raise error_of(fault) from fault
