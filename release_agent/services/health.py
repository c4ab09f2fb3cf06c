"""When a release is healthy: one look at everything, and the proof that takes many."""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from release_agent.model import Look, Process

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Probe

_HOPELESS = ("FATAL", "UNKNOWN")


class States(Protocol):
    """Supervisor, as far as health goes."""

    def processes(self) -> dict[str, list[Process]]:
        """Return every group's processes."""

    def reasons(self) -> dict[str, str]:
        """Return why processes do not run."""


class Probes(Protocol):
    """The probes, as far as health goes."""

    def run(self, probes: Sequence[Probe], directory: Path, environment: Mapping[str, str]) -> list[str | None]:
        """Return one answer a probe: None where it is well."""


class HealthExaminer:
    """Looks at supervisor's states first; only probes of services that run are asked."""

    def __init__(self, states: States, probes: Probes) -> None:
        """Keep whom to ask."""
        self._states = states
        self._probes = probes

    def look(self, blueprint: Blueprint, directory: Path, environment: Mapping[str, str]) -> Look:
        """Return what is wrong now. RUNNING is not ready: probes say so."""
        groups = self._states.processes()
        of_services = [(service.name, process) for service in blueprint.services for process in groups.get(service.name, [])]
        down = [(group, process) for group, process in of_services if process.state != "RUNNING"]
        wrong = {service.name: _unknown(service.name, groups) for service in blueprint.services}
        reasons = self._states.reasons() if down else {}
        for group, process in down:
            wrong[group].append(_state(group, process, reasons))
        asked = [(service.name, probe) for service in blueprint.services if not wrong[service.name] for probe in service.probes]
        answers = self._probes.run([probe for _, probe in asked], directory, environment)
        for (group, _), answer in zip(asked, answers, strict=True):
            wrong[group] += [answer] if answer else []
        return Look(
            problems=tuple(problem for problems in wrong.values() for problem in problems),
            hopeless=any(process.state in _HOPELESS for _, process in down),
            pids=frozenset(process.pid for _, process in of_services),
            services={name: not problems for name, problems in wrong.items()},
            failing=any(answers),
        )


def _unknown(group: str, groups: Mapping[str, list[Process]]) -> list[str]:
    return [] if group in groups else [f"{group}: supervisor does not know it"]


def _state(group: str, process: Process, reasons: Mapping[str, str]) -> str:
    why = reasons.get(f"{group}:{process.name}", "")
    name = group if group == process.name else f"{group}:{process.name}"
    return f"{name} is {process.state}" + (f" ({why})" if why else "")
