"""What one host's agent is asked, through the plugin: look, check, deploy, go back; and how long it is waited for."""

from __future__ import annotations

import asyncio
import xmlrpc.client
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from release_agent import __version__
from release_agent.errors import Code, Exit
from release_agent.rollout.model import REVERT
from release_agent.rollout.remote import Unauthorised, Unreachable

if TYPE_CHECKING:
    from release_agent.rollout.remote import Remote

_FAULTS = 100  # release_agent.plugin.FAULTS: a refusal's fault is its exit code above this
_UNKNOWN_METHOD = 1  # supervisor.xmlrpc.Faults
_BUSY = _FAULTS + Exit.BUSY
FIRST_CONTACT = 30.0  # seconds that a host which never heard is tried
_BUSY_PATIENCE = 60.0  # seconds a host that does something else, a check perhaps, is asked again
_FIRST_POLL, _LAST_POLL, _POLL_PART = 0.25, 5.0, 0.15
_RECENT = 20  # of a history: enough to find what was just fired
_TOOK_IT = ("deployed", "unchanged")


class Trouble(Exception):
    """Why a host did not do what it was asked; ``unreachable``: nobody knows what it does."""

    def __init__(self, code: str, why: str, *, unreachable: bool = False) -> None:
        """``code`` is a stable name, this agent's or the host's own."""
        super().__init__(why)
        self.code = str(code)
        self.why = why
        self.unreachable = unreachable


@dataclass(frozen=True)
class Seen:
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


class Agent:
    """One host's agent. Every method raises Trouble."""

    def __init__(self, remote: Remote) -> None:
        """Nothing is asked yet."""
        self._call_remote = remote

    async def look(self, patience: float = 0.0) -> Seen:
        """Return what is live there, and how it is; one that does not answer is asked for ``patience`` seconds."""
        status = await self._insist(patience, "release.getStatus")
        _check_version(str(status.get("agent_version", "")))
        current = status.get("current") or {}
        return Seen(
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
        record = await self._call("release.check", revision, False)  # noqa: FBT003 - XML-RPC: do not wait
        record = await self.follow(str(record["id"]), patience)
        if record["outcome"] != "checked":
            raise _refused(record)
        return record

    async def fire(self, wish: Wish, deadline: float, *, again: bool) -> str:
        """Have it deploy or go back, at most once for a trigger; returns the deployment's id.

        ``again``: it may have been fired before, by who did not live to write it down. ``deadline``: seconds.
        """
        fired = await self._fired(wish.trigger, deadline) if again else None
        return fired or await self._start(wish, deadline)

    async def _start(self, wish: Wish, deadline: float) -> str:
        """Fire, and fire again only where it is known that nothing came of it."""
        now = asyncio.get_running_loop().time
        began, heard = now(), False
        while True:
            try:
                record = await self._call_remote(wish.method, wish.what, False, wish.trigger)  # noqa: FBT003 - do not wait
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
            fired = await self._fired(wish.trigger, max(0.0, deadline - (now() - began)))
            if fired:
                return fired

    async def _fired(self, trigger: str, patience: float) -> str | None:
        """Return the id of what was fired there by a trigger, or None; asks until it answers."""
        history = await self._insist(patience, "release.getHistory", _RECENT)
        return next((str(entry["id"]) for entry in history if entry.get("trigger") == trigger), None)

    async def follow(self, identity: str, patience: float) -> dict[str, Any]:
        """Ask for a deployment until it has ended, more and more seldom; late after ``patience`` seconds."""
        now = asyncio.get_running_loop().time
        began = now()
        while True:
            await asyncio.sleep(min(max(_FIRST_POLL, _POLL_PART * (now() - began)), _LAST_POLL))
            record: dict[str, Any] = await self._insist(patience - (now() - began), "release.getDeployment", identity)
            if record.get("outcome"):
                return record
            if now() - began > patience:
                phases = [phase["name"] for phase in record.get("phases", [])]
                doing = f", in phase {phases[-1]}" if phases else ""
                raise Trouble(Code.HOST_LATE, f"not done within its deadline{doing}; it goes on by itself")

    async def _insist(self, patience: float, method: str, *arguments: str | int | bool) -> Any:  # noqa: ANN401 - the method's
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

    async def _call(self, method: str, *arguments: str | int | bool) -> Any:  # noqa: ANN401 - the method's
        try:
            return await self._call_remote(method, *arguments)
        except Unreachable as error:
            raise Trouble(Code.HOST_UNREACHABLE, str(error), unreachable=True) from error
        except Unauthorised as error:
            raise Trouble(Code.HOST_UNAUTHORISED, str(error)) from error
        except xmlrpc.client.Fault as fault:
            raise _fault(fault) from fault


def _fault(fault: xmlrpc.client.Fault) -> Trouble:
    if fault.faultCode == _UNKNOWN_METHOD:
        return Trouble(Code.HOST_UNFIT, "its supervisord has no [rpcinterface:release]: include supervisor.d/plugin.conf")
    return Trouble(Code.HOST_BUSY if fault.faultCode == _BUSY else Code.HOST_UNFIT, fault.faultString)


def took_it(record: dict[str, Any]) -> None:
    """Raise Trouble unless a deployment ended well."""
    if record["outcome"] not in _TOOK_IT:
        raise _refused(record)


def _refused(record: dict[str, Any]) -> Trouble:
    error = record.get("error") or {}
    return Trouble(error.get("code", record["outcome"]), f"{record['outcome']}: {error.get('message', 'it does not say why')}")


def _check_version(version: str) -> None:
    """Hosts of another major version may understand something else."""
    if version.split(".", maxsplit=1)[0] != __version__.split(".")[0]:
        raise Trouble(Code.HOST_UNFIT, f"its agent is {version or 'of an unknown version'}, this one is {__version__}")
