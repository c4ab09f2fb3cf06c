"""Checks of the agent's own programs in supervisor: `deploy`, `boot` and `monitor`."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.cli.doctor.owner import wrong_user
from release_agent.config.sections import RestartKind
from release_agent.deploy.policy.order import levels
from release_agent.services.sections import Sections, UnknownSectionsError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from release_agent.cli.doctor.supervised import Program, Supervised
    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Config, Service

# The settings of a one-shot: supervisor's values, and the text in the program's section.
_ONE_SHOT = {"autostart": (False, "false"), "startsecs": (0, "0"), "startretries": (0, "0"), "exitcodes": ([0], "0")}


@dataclass(frozen=True)
class OwnPrograms:
    """The agent's own programs."""

    supervised: Supervised
    root: Path

    def deploy(self, blueprint: Blueprint) -> Iterator[Finding]:
        """Check the program `deploy`; ``blueprint``: of a bare deploy."""
        found = self.supervised.own("deploy")
        if not found:
            yield Finding("program deploy", FAULT, "supervisor has no `deploy` program", "include supervisor.d/deploy.conf")
            return
        check, program = f"program {found[0]['name']}", found[0]
        wrong = {key: shown for key, (right, shown) in _ONE_SHOT.items() if program[key] != right}
        findings = [
            Finding(check, FAULT, f"{key} is {program[key]}; a one-shot needs {shown}", f"set {key}={shown} in its section")
            for key, shown in wrong.items()
        ]
        findings += [*self._given_up(check, program), *self._restarted(check, program), *self._of_another_user(check, program)]
        worst = self._worst_rollback(blueprint)
        if program["stopwaitsecs"] <= worst:
            message = f"stopwaitsecs is {program['stopwaitsecs']}; a rollback may take {worst:g} s"
            hint = f"set stopwaitsecs above {worst:g} in its section, or supervisor kills a rollback before its end"
            findings.append(Finding(check, WARNING, message, hint))
        yield from findings or [Finding(check, OK, "runs once per request, and supervisor never restarts it")]

    def boot(self) -> Iterator[Finding]:
        """Check the program `boot`."""
        found = self.supervised.own("boot")
        if not found:
            message = "supervisor has no `boot` program: nothing starts the services when the container starts"
            yield Finding("program boot", WARNING, message, "include supervisor.d/boot.conf")
            return
        check, program = f"program {found[0]['name']}", found[0]
        findings = [*self._given_up(check, program), *self._restarted(check, program), *self._of_another_user(check, program)]
        if not program["autostart"]:
            message = "autostart is false: nothing starts the services when the container starts"
            findings.append(Finding(check, WARNING, message, "set autostart=true in its section"))
        yield from findings or [Finding(check, OK, "runs once, when the container starts")]

    def monitor(self, config: Config, blueprint: Blueprint) -> Iterator[Finding]:
        """Check the program `monitor`, and what does not work without it; ``blueprint``: of a bare deploy."""
        found = self.supervised.own("monitor")
        if found:
            faults = [*self._given_up("monitor", found[0]), *self._of_another_user("monitor", found[0])]
            yield from faults or [Finding("monitor", OK, f"supervisor has it, as {found[0]['name']}")]
        elif config.consul.enabled:
            yield Finding(
                "monitor",
                WARNING,
                "supervisor has no `monitor` program: the health check lives 24 h and only deployments renew it",
                "include supervisor.d/monitor.conf; without it deploy at least once a day, or health in Consul expires",
            )
        elif config.revision.poll or blueprint.health.watch or config.metrics.listen or config.monitor.exit_when != "never":
            message = "supervisor has no `monitor` program: [revision] poll, [health] watch, [metrics], [monitor] have no effect"
            yield Finding("monitor", WARNING, message, "include supervisor.d/monitor.conf")
        else:
            yield Finding("monitor", OK, "supervisor has no `monitor` program, and nothing in the configuration needs one")

    def _given_up(self, check: str, program: Program) -> Iterator[Finding]:
        """Find a program that supervisor could not start."""
        process = self.supervised.process_of(program)
        if process and process.hopeless:
            hint = f"check its log and supervisord's, fix the cause, and run `supervisorctl start {process.short_name}`"
            yield Finding(check, FAULT, f"is {process.state}: {process.why}", hint)

    def _restarted(self, check: str, program: Program) -> Iterator[Finding]:
        """Find a program that supervisor restarts; supervisor's RPC does not show that setting."""
        value, unknown = "", self.supervised.sections if isinstance(self.supervised.sections, str) else ""
        try:
            value = self.supervised.sections.autorestart(program) if isinstance(self.supervised.sections, Sections) else ""
        except UnknownSectionsError as error:
            unknown = str(error)
        if unknown:
            message = f"cannot tell whether supervisor restarts it: {unknown}"
            yield Finding(check, WARNING, message, "set autorestart=false in its section")
        elif value != "false":
            message = f"autorestart is {value}: supervisor would run it again after each end"
            yield Finding(check, FAULT, message, "set autorestart=false in its section")

    def _of_another_user(self, check: str, program: Program) -> Iterator[Finding]:
        """Find a program whose user is neither the root user nor the owner of the root directory."""
        wrong = wrong_user(self.supervised, program, self.root)
        if wrong:
            yield Finding(check, FAULT, wrong.message, wrong.edit)

    def _worst_rollback(self, blueprint: Blueprint) -> float:
        """Return the longest time of a rollback in seconds, until the previous release is proved healthy.

        At the end, all services together get the deadline once more.
        """
        health = blueprint.health
        replacing = sum(self._worst_replacement(level, health.deadline) for level in levels(blueprint.services))
        return replacing + health.deadline + health.stable_for

    def _worst_replacement(self, level: Sequence[Service], deadline: float) -> float:
        """Return the time to drain, to stop and to become healthy; each process of a rolling service gets that time."""
        together = [service for service in level if service.restart.kind is not RestartKind.ROLLING]
        rolling = [service for service in level if service not in together]
        each = [len(self._patience(service)) * (self._time_to_stop(service) + deadline) for service in rolling]
        return sum(each) + (max(map(self._time_to_stop, together)) + deadline if together else 0.0)

    def _time_to_stop(self, service: Service) -> float:
        if service.restart.kind not in (RestartKind.RESTART, RestartKind.ROLLING):
            return 0.0
        return service.drain + max(self._patience(service), default=0.0)

    def _patience(self, service: Service) -> list[float]:
        """Return ``stopwaitsecs`` of each process of a service."""
        return [float(one["stopwaitsecs"]) for one in self.supervised.programs or () if one["group"] == service.name]
