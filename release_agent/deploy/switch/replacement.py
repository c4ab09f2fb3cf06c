"""Replace the services level by level: each level is proved healthy before the next one changes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from release_agent.config import programs
from release_agent.config.sections import Restart, RestartKind
from release_agent.deploy.policy.order import levels
from release_agent.deploy.policy.proof import prove
from release_agent.deploy.switch.faults import Faults
from release_agent.deploy.switch.restart import Restarter
from release_agent.errors import Code, Failed, SupervisorGone, Unhealthy

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Service
    from release_agent.deploy.policy.order import Pids
    from release_agent.deploy.run import Run
    from release_agent.deploy.switch.traffic import Traffic
    from release_agent.health import Look, Process

_ONLY_START = Restart(RestartKind.NONE)


class Looking(Protocol):
    """Looks once at the services of a blueprint."""

    def __call__(self, blueprint: Blueprint, /, without: Collection[str] = ()) -> Look:
        """``without``: the full names of processes that do not count; they still run the old release."""


class Replacement:
    """The move of the services to the live release.

    ``touched``: the names of the services that were restarted or signalled so far.
    """

    def __init__(self, run: Run, blueprint: Blueprint, look: Looking, traffic: Traffic) -> None:
        """``look``: look once at the services of a blueprint."""
        self.touched: set[str] = set()
        self._run = run
        self._blueprint = blueprint
        self._look = look
        self._traffic = traffic
        context = run.context
        self._restarter = Restarter(context.services, context.clock, context.log, context.plugin)
        self._changed: set[str] = set()

    @property
    def changed(self) -> set[str]:
        """The names of the services whose programs still differ from the live release."""
        return self._changed

    def bring(self, *, forgiving: bool) -> None:
        """Give supervisor the programs of the live release; stop and remove groups that this release does not bring.

        A service gets a new or changed program later, at its own restart. ``forgiving``: only log failures; the proof
        finds the missing programs. Raises Unhealthy, Failed.
        """
        context = self._run.context
        try:
            change = context.programs.update(self._blueprint.programs)
            if change.others:
                context.log.warning("programs.foreign", groups=list(change.others))
            if change.added or change.changed or change.removed:
                now = {"added": list(change.added), "changed": list(change.changed), "removed": list(change.removed)}
                context.log.info("programs.updated", **now)
            services = {service.name for service in self._blueprint.services}
            self._changed = services.intersection(change.added + change.changed)
            at_once = [name for name in change.removed + change.changed + change.added if name not in self._changed]
            there = [group for group in at_once if group not in change.added]
            if there:
                self.stop([programs.service_of(group) for group in there])
            for group in at_once:
                self._renew(group)
        except SupervisorGone:
            raise
        except (Failed, Unhealthy) as failed:
            if not forgiving:
                raise
            context.log.warning("programs.failed", why=failed.message)
        self._restarter.renews(self._changed, self._renew)

    def _renew(self, group: str) -> None:
        """Give supervisor the live release's section of a stopped group; raises Unhealthy (restart-failed)."""
        try:
            self._run.context.programs.renew(group)
        except SupervisorGone:
            raise
        except Failed as failed:
            raise Unhealthy(Code.RESTART_FAILED, failed.message, hint=failed.hint, services=(group,)) from failed

    def replace(self, *, untouched: Collection[str] = (), ran: Pids | None = None, to_the_end: bool = False) -> None:
        """Replace and prove the services level by level, then prove all of them together; raises Unhealthy, Failed.

        ``untouched``: the names of the services to start only if they have stopped. ``ran``: the processes that
        already run this release, on the way back from a failed one; those of a service with ``rolling`` or ``none`` keep
        running. ``to_the_end``: continue after an unhealthy service or process, for a release that stays live in any case.
        """
        faults = Faults(to_the_end=to_the_end)
        for level in levels(self._blueprint.services):
            now = [self._due(service, untouched, back=ran is not None) for service in level]
            self._through(now, ran or {}, faults, to_the_end=to_the_end)
        faults.raise_first()
        self._prove(self._blueprint)
        # After a failure the sockets stay held, so that requests wait for the rollback. The plugin releases them after this run.
        self._restarter.let_go()

    def _due(self, service: Service, untouched: Collection[str], *, back: bool) -> Service:
        """Return a service with its way of restart: a new or changed program is restarted, whatever its ``restart`` says.

        ``back``: this is the way back from a failed release.
        """
        if service.name in self._changed:
            return replace(service, restart=Restart())
        if service.name in untouched:
            return _only_started(service)
        if back and service.restart.kind is RestartKind.NONE:
            # Some of its processes were started on the failed release, and nothing else would ever replace them.
            return replace(service, restart=Restart(RestartKind.ROLLING))
        return service

    def start(self) -> None:
        """Start stopped services in the same order, and prove all services; raises Unhealthy."""
        self.replace(untouched={service.name for service in self._blueprint.services}, to_the_end=True)

    def _through(self, level: Sequence[Service], ran: Pids, faults: Faults, *, to_the_end: bool) -> None:
        """Replace and prove the services of a level, the rolling ones last, because they take longest."""
        rolling = [service for service in level if service.restart.kind is RestartKind.ROLLING]
        together = [service for service in level if service not in rolling]
        if together:
            with faults:
                self._replace_together(together, to_the_end=to_the_end)
        for service in rolling:
            with faults:
                self._roll(service, ran.get(service.name, frozenset()), to_the_end=to_the_end)

    def _replace_together(self, services: Sequence[Service], *, to_the_end: bool) -> None:
        replaced = [service.name for service in services if service.restart.kind is RestartKind.RESTART]
        self._traffic.take_out(self._processes(replaced))
        self.touched.update(service.name for service in services if service.restart != _ONLY_START)
        faults = Faults(to_the_end=to_the_end)
        with faults, self._run.phase("restart"):
            self._restarter.restart(services)
        with faults:
            self._prove(self._alone(services))
        self._let_in(services, self._processes(replaced), faults)
        faults.raise_first()

    def _roll(self, service: Service, ran: Collection[int], *, to_the_end: bool) -> None:
        """Replace one process after the other, each after the proof of the previous one; the first failure ends it.

        Old processes do not count in the proof, because they may be the problem. ``to_the_end``: after a failure,
        replace the others anyway, and prove and let in all together.
        """
        self.touched.add(service.name)
        self._restarter.hold(service.name)
        steps = self._restarter.steps(service.name, ran)
        left = {process.full_name for processes in steps for process in processes}
        unproved: list[Process] = []
        faults = Faults(to_the_end=to_the_end)
        for processes in steps:
            left.difference_update(process.full_name for process in processes)
            unproved += processes
            with faults:
                self._replace_some(processes, all_but_some=len(self._processes([service.name])) > len(processes))
            if not (faults.found and left):
                with faults:
                    self._prove(self._alone([service]), left)
                    self._traffic.let_in(unproved)
                    unproved.clear()
        if unproved:
            self._let_in([service], unproved, faults)
            faults.raise_first()

    def _let_in(self, services: Sequence[Service], arrived: Sequence[Process], faults: Faults) -> None:
        """Let processes of the services into the traffic; if there are unhealthy ones, only the healthy ones."""
        if faults.found:
            processes = self._processes([service.name for service in services])
            down = {process.full_name for process in processes if not process.running}
            seen = self._look(self._alone(services), down)
            sick = down.union(process.full_name for look in seen.services.values() for process in look.sick)
            arrived = [process for process in arrived if process.full_name not in sick]
        self._traffic.let_in(arrived)

    def _replace_some(self, processes: Sequence[Process], *, all_but_some: bool) -> None:
        self._traffic.take_out(processes, all_but_some=all_but_some)
        with self._run.phase("restart"):
            self._restarter.replace(processes)

    def _processes(self, services: Collection[str]) -> list[Process]:
        groups = self._run.context.services.processes() if services else {}
        return [process for name in services for process in groups.get(name, ())]

    def _alone(self, services: Sequence[Service]) -> Blueprint:
        """Return a blueprint of only these services; `stable_for` counts for all together, at the end."""
        health = replace(self._blueprint.health, stable_for=0.0)
        return replace(self._blueprint, services=tuple(services), health=health)

    def stop(self, level: Sequence[Service]) -> None:
        """Stop services that this release does not have; raises Unhealthy, Failed."""
        self._traffic.take_out(self._processes([service.name for service in level]))
        with self._run.phase("restart"):
            self._restarter.stop(level)

    def _prove(self, blueprint: Blueprint, without: Collection[str] = ()) -> None:
        with self._run.phase("health"):
            prove(lambda: self._look(blueprint, without), blueprint.health, self._run.context.clock)


def _only_started(service: Service) -> Service:
    return replace(service, restart=_ONLY_START)
