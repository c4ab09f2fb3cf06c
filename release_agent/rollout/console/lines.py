"""Show a rollout without a terminal: one line per transition, or JSON, one line per event."""

from __future__ import annotations

import json
import sys
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Protocol

from release_agent.model import timestamp
from release_agent.rollout.console import text

if TYPE_CHECKING:
    import asyncio
    from collections.abc import Callable, Collection, Mapping, Sequence

    from release_agent.errors import Exit
    from release_agent.rollout.model import Host, Rollout
    from release_agent.rollout.operations.drift import FleetDrift
    from release_agent.rollout.options import Options
    from release_agent.rollout.preflight import Asking


class Console(Protocol):
    """Shows rollouts, and asks for approval."""

    def preflight(self, asking: Asking, options: Options) -> None:
        """Show the progress of preflight until end(); ``asking`` changes."""

    def plan(self, rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> None:
        """Show the plan; ``changes``: by application; ``exceeded``: the reason why the plan will not run."""

    def begin(self, rollout: Rollout, again: Callable[[str], str]) -> None:
        """Show a rollout from now on; ``again`` makes the command of a verb, to continue it from elsewhere."""

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Show one transition."""

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Ask for approval; ``approved`` is set if the answer comes from elsewhere. None: no person can answer."""

    def end(self) -> None:
        """End the picture."""

    def ended(self, rollout: Rollout, code: Exit, again: Callable[[str], str]) -> None:
        """Show the end of a rollout; ``again`` makes the command of a verb, to continue it."""

    def status(self, rollout: Rollout, *, running: bool) -> None:
        """Show the progress of a rollout; ``running``: whether an operator runs it."""

    def watch(self, rollout: Rollout, again: Callable[[str], str], *, running: bool) -> None:
        """Show the progress of a rollout that runs elsewhere; called repeatedly, until end(). ``again`` makes commands."""

    def listing(self, rollouts: Sequence[Rollout], running: Collection[str]) -> None:
        """List rollouts; ``running``: the ids of running ones."""

    def drift(self, found: FleetDrift) -> None:
        """Show the live release of each host, and the hosts that do not run the fleet's revision."""

    def say(self, what: str) -> None:
        """Print a text."""


class Lines:
    """One line per transition, with its time, for logs."""

    _names_apps = False  # whether the shown rollout has several applications
    _watched: tuple[Rollout, bool] | None = None

    def preflight(self, asking: Asking, options: Options) -> None:
        """Do nothing: the event ``preflight.progress`` shows the progress of a long preflight."""

    def plan(self, rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> None:
        """Print the plan."""
        self.say(text.plan(rollout, changes, exceeded))

    def begin(self, rollout: Rollout, again: Callable[[str], str]) -> None:
        """Print the id of the rollout, which all other commands need."""
        self._names_apps = rollout.is_of_several
        self.tell("rollout.started", id=rollout.id, who=rollout.who, status=again("status"))

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Print the event, its host and its details on one line."""
        told = {**(_of_host(host) if host else {}), **details}
        hidden = () if self._names_apps else ("app", "apps")
        shown = {name: _words(value) for name, value in told.items() if name not in hidden}
        what = "  ".join(f"{name}={text.one_line(words)}" for name, words in shown.items() if words)
        self.say(f"{timestamp()[:19]}Z  {event:<19} {what}".rstrip())

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Return True if the rollout is already approved, because no person can answer here."""
        return True if approved.is_set() else None

    def end(self) -> None:
        """Do nothing: lines stay."""

    def ended(self, rollout: Rollout, code: Exit, again: Callable[[str], str]) -> None:
        """Print the end of a rollout."""
        self.say(text.ended(rollout, code, again))

    def status(self, rollout: Rollout, *, running: bool) -> None:
        """Print the progress of a rollout."""
        self.say(text.status(rollout, running=running))

    def watch(self, rollout: Rollout, again: Callable[[str], str], *, running: bool) -> None:  # noqa: ARG002 - the table shows it
        """Print the rollout if it has changed, or if its operator has come or gone."""
        if (rollout, running) != self._watched:
            self.status(rollout, running=running)
        self._watched = rollout, running

    def listing(self, rollouts: Sequence[Rollout], running: Collection[str]) -> None:
        """Print one line per rollout."""
        self.say(text.listing(rollouts, running))

    def drift(self, found: FleetDrift) -> None:
        """Print the live release of each host."""
        self.say(text.drift(found))

    def say(self, what: str) -> None:
        """Print a text immediately; without a reader, the rollout continues."""
        with suppress(OSError, ValueError):
            sys.stdout.write(what + "\n")
            sys.stdout.flush()


class Json(Lines):
    """One line per event, for programs."""

    def plan(self, rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> None:
        """Print the whole plan, with its hosts."""
        hosts = [host.to_json() for host in rollout.hosts.values()]
        waves = [[host.name for host in wave] for wave in rollout.waves]
        shown = changes if rollout.is_of_several else changes.get(rollout.apps, {})
        self.tell("rollout.planned", **{**rollout.to_json(), "waves": waves, "hosts": hosts}, changes=shown, exceeded=exceeded)

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Print the event, its host and its details."""
        self._print({"at": timestamp(), "event": event, **(_of_host(host) if host else {}), **details})

    def ended(self, rollout: Rollout, code: Exit, again: Callable[[str], str]) -> None:
        """Print the end of a rollout, with every host."""
        hosts = [_of_host(host) for host in rollout.hosts.values()]
        self.tell("rollout.ended", **{**rollout.to_json(), "hosts": hosts}, exit=int(code), resume=again("resume"))

    def status(self, rollout: Rollout, *, running: bool) -> None:
        """Print the rollout, with every host."""
        self._print({**rollout.to_json(), "running": running, "hosts": [host.to_json() for host in rollout.hosts.values()]})

    def listing(self, rollouts: Sequence[Rollout], running: Collection[str]) -> None:
        """Print all rollouts as one list."""
        self._print([{**rollout.to_json(), "running": rollout.id in running} for rollout in rollouts])

    def drift(self, found: FleetDrift) -> None:
        """Print the live release of every host."""
        self._print(found.to_json())

    def say(self, what: str) -> None:
        """Print the text as the member ``said``."""
        self._print({"said": what})

    def _print(self, body: object) -> None:
        super().say(json.dumps(body))


def _words(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value))
    return "" if value is None else str(value)


def _of_host(host: Host) -> dict[str, Any]:
    return {
        "host": host.name,
        "app": host.app,
        "stage": str(host.stage),
        "release": host.release,
        "deployment": host.deployment,
        "code": host.code,
        "why": host.why,
    }
