"""What is seen of a rollout off a terminal: a line each transition, or JSON, an event a line."""

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
    """Tells of rollouts, and asks."""

    def preflight(self, asking: Asking, options: Options) -> None:
        """Show how far preflight is, until end(): ``asking`` changes."""

    def plan(self, rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> None:
        """Show what is going to be done; ``changes``: by application; ``exceeded``: the reason why the plan will not run."""

    def begin(self, rollout: Rollout, again: Callable[[str], str]) -> None:
        """Show a rollout from now on; ``again`` makes the command of a verb, to go on with it from elsewhere."""

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Tell of one transition."""

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Ask whether to go on; also ``approved``, from elsewhere, is an answer. None: there is nobody to ask."""

    def end(self) -> None:
        """Show it no more."""

    def ended(self, rollout: Rollout, code: Exit, again: Callable[[str], str]) -> None:
        """Say how it ended; ``again`` makes the command of a verb, to go on with it."""

    def status(self, rollout: Rollout, *, running: bool) -> None:
        """Say how far a rollout is; ``running``: whether anybody runs it."""

    def watch(self, rollout: Rollout, *, running: bool) -> None:
        """Show how far a rollout is that runs elsewhere; called again and again, until end()."""

    def listing(self, rollouts: Sequence[Rollout], running: Collection[str]) -> None:
        """List rollouts; ``running``: the ids of those that somebody runs."""

    def drift(self, found: FleetDrift) -> None:
        """Say what is live on each host, and who does not run what the fleet follows."""

    def say(self, what: str) -> None:
        """Say one thing."""


class Lines:
    """A line each transition, with its time: for logs."""

    _names_apps = False  # whether the rollout that is shown is of several applications
    _watched: Rollout | None = None

    def preflight(self, asking: Asking, options: Options) -> None:
        """Do nothing: ``preflight.progress`` says how far it is, if it takes a while."""

    def plan(self, rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> None:
        """Print it."""
        self.say(text.plan(rollout, changes, exceeded))

    def begin(self, rollout: Rollout, again: Callable[[str], str]) -> None:
        """Print its id: who has it can do everything else."""
        self._names_apps = rollout.is_of_several
        self.tell("rollout.started", id=rollout.id, who=rollout.who, status=again("status"))

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Print it."""
        told = {**(_of_host(host) if host else {}), **details}
        hidden = () if self._names_apps else ("app", "apps")
        shown = {name: _words(value) for name, value in told.items() if name not in hidden}
        what = "  ".join(f"{name}={text.one_line(words)}" for name, words in shown.items() if words)
        self.say(f"{timestamp()[:19]}Z  {event:<19} {what}".rstrip())

    async def ask(self, approved: asyncio.Event) -> bool | None:
        """Nobody can answer here: return True if it was approved already."""
        return True if approved.is_set() else None

    def end(self) -> None:
        """Do nothing: lines stay."""

    def ended(self, rollout: Rollout, code: Exit, again: Callable[[str], str]) -> None:
        """Print it."""
        self.say(text.ended(rollout, code, again))

    def status(self, rollout: Rollout, *, running: bool) -> None:
        """Print it."""
        self.say(text.status(rollout, running=running))

    def watch(self, rollout: Rollout, *, running: bool) -> None:
        """Print it if it has changed."""
        if rollout != self._watched:
            self.status(rollout, running=running)
        self._watched = rollout

    def listing(self, rollouts: Sequence[Rollout], running: Collection[str]) -> None:
        """Print a line each."""
        self.say(text.listing(rollouts, running))

    def drift(self, found: FleetDrift) -> None:
        """Print it."""
        self.say(text.drift(found))

    def say(self, what: str) -> None:
        """Print it, at once; where nobody listens any more, the rollout goes on unheard."""
        with suppress(OSError, ValueError):
            sys.stdout.write(what + "\n")
            sys.stdout.flush()


class Json(Lines):
    """An event a line, for programs."""

    def plan(self, rollout: Rollout, changes: Mapping[str, Any], exceeded: str) -> None:
        """Print the whole plan, its hosts too."""
        hosts = [host.to_json() for host in rollout.hosts.values()]
        waves = [[host.name for host in wave] for wave in rollout.waves]
        shown = changes if rollout.is_of_several else changes.get(rollout.apps, {})
        self.tell("rollout.planned", **{**rollout.to_json(), "waves": waves, "hosts": hosts}, changes=shown, exceeded=exceeded)

    def tell(self, event: str, host: Host | None = None, **details: object) -> None:
        """Print it."""
        self._print({"at": timestamp(), "event": event, **(_of_host(host) if host else {}), **details})

    def ended(self, rollout: Rollout, code: Exit, again: Callable[[str], str]) -> None:
        """Print it, with every host."""
        hosts = [_of_host(host) for host in rollout.hosts.values()]
        self.tell("rollout.ended", **{**rollout.to_json(), "hosts": hosts}, exit=int(code), resume=again("resume"))

    def status(self, rollout: Rollout, *, running: bool) -> None:
        """Print it, with every host."""
        self._print({**rollout.to_json(), "running": running, "hosts": [host.to_json() for host in rollout.hosts.values()]})

    def listing(self, rollouts: Sequence[Rollout], running: Collection[str]) -> None:
        """Print a list."""
        self._print([{**rollout.to_json(), "running": rollout.id in running} for rollout in rollouts])

    def drift(self, found: FleetDrift) -> None:
        """Print it, with every host."""
        self._print(found.to_json())

    def say(self, what: str) -> None:
        """Print it."""
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
