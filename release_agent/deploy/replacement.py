"""One service after the other: it is replaced and proved healthy, and only then the next one is touched."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from release_agent.config.sections import Restart, RestartKind
from release_agent.deploy.policy.proof import prove
from release_agent.deploy.restart import Restarter
from release_agent.errors import Unhealthy

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Service
    from release_agent.deploy.policy.order import Pids
    from release_agent.deploy.run import Run
    from release_agent.health import Look

_ONLY_START = Restart(RestartKind.NONE)


class Looking(Protocol):
    """Looks once at the services of a blueprint."""

    def __call__(self, blueprint: Blueprint, *, some_old: bool = False) -> Look:
        """``some_old``: processes of the release before are expected among them."""


class Replacement:
    """Puts the services onto the release that is live.

    ``touched``: the names of the services that were restarted or signalled so far.
    """

    def __init__(self, run: Run, blueprint: Blueprint, look: Looking) -> None:
        """``look``: look once at the services of a blueprint."""
        self.touched: set[str] = set()
        self._run = run
        self._blueprint = blueprint
        self._look = look
        context = run.context
        self._restarter = Restarter(context.services, context.clock, context.log, context.plugin)

    def replace(self, *, untouched: Collection[str] = (), ran: Pids | None = None, to_the_end: bool = False) -> None:
        """Replace and prove each service, then prove all of them together; raises Unhealthy.

        ``untouched``: the names of the services that are only started if they do not run. ``ran``: the processes that
        run this release already; those of a rolling service go on. ``to_the_end``: go on after a
        service that is not healthy; for a release that stays live whatever is found.
        """
        failure: Unhealthy | None = None
        for service in self._blueprint.services:
            try:
                if service.restart.kind is RestartKind.ROLLING and service.name not in untouched:
                    self._roll(service, (ran or {}).get(service.name, frozenset()))
                else:
                    self._through([replace(service, restart=_ONLY_START) if service.name in untouched else service])
            except Unhealthy as unhealthy:
                if not to_the_end:
                    raise
                failure = failure or unhealthy
        if failure:
            raise failure
        self._prove(self._blueprint)
        # Not if it fails: requests wait for the release that comes back, too. The plugin lets go when this run has ended.
        self._restarter.let_go()

    def _roll(self, service: Service, ran: Collection[int]) -> None:
        """Replace one process after the other, each when the one before is proved; the first failure leaves the others be."""
        self.touched.add(service.name)
        health = replace(self._blueprint.health, stable_for=0.0)
        alone = replace(self._blueprint, services=(service,), health=health)
        self._restarter.hold(service.name)
        for processes in self._restarter.steps(service.name, ran):
            with self._run.phase("restart"):
                self._restarter.replace(processes)
            with self._run.phase("health"):
                prove(lambda: self._look(alone, some_old=True), health, self._run.context.clock)

    def _through(self, services: Sequence[Service]) -> None:
        with self._run.phase("restart"):
            self.touched.update(service.name for service in services if service.restart != _ONLY_START)
            self._restarter.restart(services)
        # All services together have to stay healthy for `stable_for`, at the end.
        health = replace(self._blueprint.health, stable_for=0.0)
        self._prove(replace(self._blueprint, services=tuple(services), health=health))

    def _prove(self, blueprint: Blueprint) -> None:
        with self._run.phase("health"):
            prove(lambda: self._look(blueprint), blueprint.health, self._run.context.clock)
