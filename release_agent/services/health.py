"""Look once at every service: its processes in supervisor, and its probes."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Protocol

from release_agent.health import LEFT_STOPPED, Look, ServiceLook

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Probe
    from release_agent.health import Process


class States(Protocol):
    """Supervisor's states of processes."""

    def processes(self) -> dict[str, list[Process]]:
        """Return every group's processes."""


class Probes(Protocol):
    """The runner of probes."""

    def run(self, probes: Sequence[Probe], directory: Path, environment: Mapping[str, str]) -> list[str | None]:
        """Return one answer per probe: None if it passed."""


class HealthExaminer:
    """Looks at supervisor's states first; probes only the services whose processes all run."""

    def __init__(self, states: States, probes: Probes) -> None:
        """``states``: supervisor. ``probes``: the runner of probes."""
        self._states = states
        self._probes = probes

    def probe(self, probes: Sequence[Probe], directory: Path, environment: Mapping[str, str]) -> list[str]:
        """Run probes once; returns the problems."""
        return [answer for answer in self._probes.run(probes, directory, environment) if answer]

    def look(self, blueprint: Blueprint, directory: Path, environment: Mapping[str, str], without: Collection[str] = ()) -> Look:
        """Look once at every service. RUNNING does not mean ready; only probes show that.

        ``without``: the full names of processes to ignore; neither their states count, nor the probes that run for each process.
        """
        groups = {
            service: [process for process in processes if process.full_name not in without]
            for service, processes in self._states.processes().items()
        }
        looks = {service.name: _at_processes(service.name, groups) for service in blueprint.services}
        asked = [
            (service.name, about, probe)
            for service in blueprint.services
            if looks[service.name].well
            for given in service.probes
            for about, probe in _asked(given, looks[service.name].processes)
        ]
        answers = self._probes.run([probe for _, _, probe in asked], directory, environment)
        for (name, about, _), answer in zip(asked, answers, strict=True):
            if answer:
                seen = looks[name]
                looks[name] = replace(seen, problems=(*seen.problems, answer), failing=True, about=(*seen.about, *about))
        return Look(looks)


def _asked(probe: Probe, processes: tuple[Process, ...]) -> list[tuple[tuple[Process, ...], Probe]]:
    """Return the probes to run with their processes; a probe with ``{process_num}`` or ``{process_name}`` runs for each one."""
    if probe.of_each_process:
        return [((process,), probe.of_process(process.name)) for process in processes]
    return [(processes, probe)]


def _at_processes(service: str, groups: Mapping[str, Sequence[Process]]) -> ServiceLook:
    if service not in groups:
        return ServiceLook((), (f"{service}: supervisor does not know it",))
    processes = tuple(groups[service])
    down = tuple(process for process in processes if not process.running)
    return ServiceLook(processes, tuple(map(_problem, down)), about=down)


def _problem(process: Process) -> str:
    name = process.short_name
    why = f"{LEFT_STOPPED}; start it: supervisorctl start {name}" if process.left_stopped else process.why
    return f"{name} is {process.state}" + (f" ({why})" if why else "")
