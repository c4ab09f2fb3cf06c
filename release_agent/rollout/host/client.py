"""What one host's agent is asked, through the plugin: look, check, deploy, go back; and how long it is waited for."""

from __future__ import annotations

import asyncio
import xmlrpc.client
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import takewhile
from typing import TYPE_CHECKING, Any

from release_agent import __version__
from release_agent.errors import FAULTS, Code, Exit, Refused
from release_agent.model import SUCCESSES, Trigger
from release_agent.rollout.host.rpc import Unauthorised, Unreachable
from release_agent.rollout.model import REVERT
from release_agent.services.faults import FaultCode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.rollout.host.pace import Pace
    from release_agent.rollout.host.rpc import Remote

_BUSY = FAULTS + Exit.BUSY
FIRST_CONTACT = 30.0  # seconds that a host which never heard is tried
_BUSY_PATIENCE = 60.0  # seconds a host that does something else, a check perhaps, is asked again
_CHECKS = 15  # tries, a second apart
_RECENT = 20  # of a history: enough to find what was just fired


class Trouble(Exception):
    """Why a host did not do what it was asked; ``unreachable``: nobody knows what it does; ``refused``: it will not have it."""

    def __init__(self, code: str, why: str, *, unreachable: bool = False, refused: bool = False) -> None:
        """``code`` is a stable name, this agent's or the host's own."""
        super().__init__(why)
        self.code = str(code)
        self.why = why
        self.unreachable = unreachable
        self.refused = refused


@dataclass(frozen=True)
class HostStatus:
    """What a host says of itself."""

    app: str
    environment: str
    release: str | None
    revision: str | None
    commits: dict[str, str]
    health: str
    busy: bool
    maintenance: bool


@dataclass(frozen=True)
class Wish:
    """What a host is to do: a method of the plugin, a revision or a release, and the trigger that its history shows."""

    method: str
    what: str
    trigger: str


def deploy(revision: str, rollout: str) -> Wish:
    """Deploy a revision."""
    return Wish("release.deploy", revision, rollout)


def roll_back(release: str, rollout: str) -> Wish:
    """Go back to a release."""
    return Wish("release.rollback", release, f"{rollout}-{REVERT}")


class HostClient:
    """One host's agent. Every method raises Trouble."""

    def __init__(self, remote: Remote, pace: Pace) -> None:
        """Nothing is asked yet; ``pace`` is that of all hosts."""
        self._call_remote = remote
        self._pace = pace

    async def look(self, patience: float = 0.0) -> HostStatus:
        """Return what is live there, and how it is; one that does not answer is asked for ``patience`` seconds."""
        status = await self._insist(patience, "release.getStatus")
        with _understood():
            _check_version(str(status.get("agent_version", "")))
            current = status.get("current") or {}
            return HostStatus(
                app=str(status["app"]),
                environment=str(status["environment"]),
                release=current.get("release"),
                revision=current.get("revision"),
                commits=dict(current.get("commits", {})),
                health=str(status.get("health", "critical")),
                busy=bool(status.get("deployment")),
                maintenance=bool(status.get("maintenance")),
            )

    async def check(self, revision: str, patience: float) -> dict[str, Any]:
        """Return what a deployment would do there, as ``release.check`` answers; waits ``patience`` seconds."""
        record = await self._check(revision)
        with _understood():
            identity = str(record["id"])
        record = await self.follow(identity, patience, "release.check")
        if record["outcome"] != "checked":
            raise _refused(record)
        with _understood():
            return {**record, "commits": dict(record["commits"])}

    async def _check(self, revision: str) -> Any:
        """Begin a check; what somebody else has begun there, a check mostly, is over soon."""
        tries = 0
        while True:
            try:
                return await self._call("release.check", revision, False)
            except Trouble as trouble:
                tries += 1
                if trouble.code != Code.HOST_BUSY or tries > _CHECKS:
                    raise
            await asyncio.sleep(1.0)

    async def fire(self, wish: Wish, deadline: float, *, again: bool, after: str | None = None) -> str:
        """Have it deploy or go back, at most once for a trigger; returns the deployment's id.

        ``again``: it may have been fired before, by who did not live to write it down. ``deadline``: seconds.
        ``after``: what the host did up to this deployment is not meant.
        """
        fired = await self._fired(wish.trigger, after, deadline) if again else None
        return fired or await self._start(wish, after, deadline)

    async def brought(self, release: str, rollout: str, since: str) -> bool:
        """Whether a rollout, or a boot since it began, made live what is live there now."""
        history = await self._call("release.getHistory", _RECENT)
        with _understood():
            newest: dict[str, Any] = next(
                (e for e in history if e.get("release") == release and e.get("outcome") in SUCCESSES), {}
            )
            trigger = newest.get("trigger")
            return bool(trigger == rollout or (trigger == Trigger.BOOT and newest["started_at"] > since))

    async def _start(self, wish: Wish, after: str | None, deadline: float) -> str:
        """Fire, and fire again only where it is known that nothing came of it."""
        now = asyncio.get_running_loop().time
        began, heard = now(), False
        while True:
            try:
                record = await self._call_remote(wish.method, wish.what, False, wish.trigger)
                with _understood():
                    return str(record["id"])
            except Unreachable as error:
                heard = heard or error.heard
                if now() - began > (deadline if heard else min(FIRST_CONTACT, deadline)):
                    raise Trouble(Code.HOST_UNREACHABLE, str(error), unreachable=True) from error
            except Unauthorised as error:
                raise Trouble(Code.HOST_UNAUTHORISED, str(error)) from error
            except xmlrpc.client.Fault as fault:
                if fault.faultCode != _BUSY or now() - began > min(_BUSY_PATIENCE, deadline):
                    raise _fault(fault) from fault
            await asyncio.sleep(1.0)
            # An answer that was lost is no reason to deploy twice; nor is what it is busy with our own.
            fired = await self._fired(wish.trigger, after, max(0.0, deadline - (now() - began)))
            if fired:
                return fired

    async def _fired(self, trigger: str, after: str | None, patience: float) -> str | None:
        """Return the id of what was fired there by a trigger, or None; asks until it answers."""
        history = await self._insist(patience, "release.getHistory", _RECENT)
        with _understood():
            newer = takewhile(lambda entry: entry["id"] != after, history)
            return next((str(entry["id"]) for entry in newer if entry.get("trigger") == trigger), None)

    async def follow(self, identity: str, patience: float, method: str) -> dict[str, Any]:
        """Ask for what a method began until that has ended, in time and not too often; late after ``patience`` seconds."""
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            await asyncio.sleep(self._pace.wait(method, now() - began))
            record: dict[str, Any] = await self._insist(patience - (now() - began), "release.getDeployment", identity)
            with _understood():
                if record.get("outcome"):
                    if "error" not in record:
                        self._pace.took(method, now() - began)
                    return record
                if now() - began > patience:
                    phases = [phase["name"] for phase in record.get("phases", [])]
                    doing = f", in phase {phases[-1]}" if phases else ""
                    raise Trouble(Code.HOST_LATE, f"not done within its deadline{doing}; it goes on by itself")

    async def _insist(self, patience: float, method: str, *arguments: str | int | bool) -> Any:
        """Call what changes nothing, again and again where there is no answer."""
        now = asyncio.get_running_loop().time
        end = now() + patience
        while True:
            try:
                return await self._call(method, *arguments)
            except Trouble as trouble:
                if not trouble.unreachable or now() >= end:
                    raise
            await asyncio.sleep(1.0)

    async def _call(self, method: str, *arguments: str | int | bool) -> Any:
        try:
            return await self._call_remote(method, *arguments)
        except Unreachable as error:
            raise Trouble(Code.HOST_UNREACHABLE, str(error), unreachable=True) from error
        except Unauthorised as error:
            raise Trouble(Code.HOST_UNAUTHORISED, str(error)) from error
        except xmlrpc.client.Fault as fault:
            raise _fault(fault) from fault


@contextmanager
def _understood() -> Iterator[None]:
    """Let an answer that is none of the plugin's be that host's own trouble."""
    try:
        yield
    except (KeyError, TypeError, AttributeError, ValueError, IndexError) as error:
        raise Trouble(Code.HOST_UNFIT, f"what it answers is no release agent's: {error!r:.80}") from error


def _fault(fault: xmlrpc.client.Fault) -> Trouble:
    if fault.faultCode == FaultCode.UNKNOWN_METHOD:
        return Trouble(Code.HOST_UNFIT, "its supervisord has no [rpcinterface:release]: include supervisor.d/plugin.conf")
    return Trouble(Code.HOST_BUSY if fault.faultCode == _BUSY else Code.HOST_UNFIT, fault.faultString)


def took_it(record: dict[str, Any], commits: dict[str, str] | None = None) -> None:
    """Raise Trouble unless a deployment ended well, and with the commits that were meant."""
    if record["outcome"] not in SUCCESSES:
        raise _refused(record)
    if commits is not None and record.get("commits") != commits:
        raise Trouble(Code.COMMITS_DIFFER, "it deployed other commits than were looked at: the revision was moved meanwhile")


def _refused(record: dict[str, Any]) -> Trouble:
    with _understood():
        error = record.get("error") or {}
        why = f"{record['outcome']}: {error.get('message', 'it does not say why')}"
        return Trouble(error.get("code", record["outcome"]), why, refused=record["outcome"] == Refused.outcome)


def _check_version(version: str) -> None:
    """Hosts of another major version may understand something else."""
    if version.split(".", maxsplit=1)[0] != __version__.split(".")[0]:
        raise Trouble(Code.HOST_UNFIT, f"its agent is {version or 'of an unknown version'}, this one is {__version__}")
