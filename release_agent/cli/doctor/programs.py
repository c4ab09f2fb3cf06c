"""Checks of the agent's own programs in supervisor: `deploy`, `boot` and `monitor`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding
from release_agent.cli.doctor.user import user_of
from release_agent.services.programs import own
from release_agent.system.user import name_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Config
    from release_agent.services.supervisor import SupervisorServices

    Program = dict[str, Any]

# The settings of a one-shot: supervisor's values, and the text in the program's section.
_ONE_SHOT = {"autostart": (False, "false"), "startsecs": (0, "0"), "startretries": (0, "0"), "exitcodes": ([0], "0")}


def deploy(supervisor: SupervisorServices, programs: Sequence[Program], blueprint: Blueprint, root: Path) -> Iterator[Finding]:
    """Check the program `deploy`; ``blueprint`` is that of a bare deploy."""
    found = own(programs, "deploy")
    if not found:
        yield Finding("program deploy", FAULT, "supervisor has no `deploy` program", "include supervisor.d/deploy.conf")
        return
    check, program = f"program {found[0]['name']}", found[0]
    wrong = {key: shown for key, (right, shown) in _ONE_SHOT.items() if program[key] != right}
    faults = [
        Finding(check, FAULT, f"{key} is {program[key]}; a one-shot needs {shown}", f"set {key}={shown} in its section")
        for key, shown in wrong.items()
    ]
    faults += _of_another_user(check, supervisor, program, root)
    patience = blueprint.health.deadline + blueprint.health.stable_for
    if program["stopwaitsecs"] <= patience:
        message = f"stopwaitsecs is {program['stopwaitsecs']}; proving a rollback alone may take {patience:g} s"
        yield Finding(check, WARNING, message, "set stopwaitsecs above the worst rollback, or supervisor kills it half way")
    yield from faults or [Finding(check, OK, "runs once, as asked, and is never run again automatically")]


def boot(supervisor: SupervisorServices, programs: Sequence[Program], root: Path) -> Iterator[Finding]:
    """Check the program `boot`."""
    found = own(programs, "boot")
    if not found:
        message = "supervisor has no `boot` program: nothing starts the services when the container starts"
        yield Finding("program boot", WARNING, message, "include supervisor.d/boot.conf")
        return
    check, program = f"program {found[0]['name']}", found[0]
    faults = list(_of_another_user(check, supervisor, program, root))
    if not program["autostart"]:
        message = "autostart is false: nothing starts the services when the container starts"
        faults.append(Finding(check, WARNING, message, "set autostart=true in its section"))
    yield from faults or [Finding(check, OK, "runs when the container starts")]


def monitor(supervisor: SupervisorServices, programs: Sequence[Program], config: Config, root: Path) -> Iterator[Finding]:
    """Check the program `monitor`, and what is missing without it."""
    found = list(own(programs, "monitor"))
    if found:
        faults = list(_of_another_user("monitor", supervisor, found[0], root))
        yield from faults or [Finding("monitor", OK, f"supervisor has it, as {found[0]['name']}")]
    elif config.consul.enabled:
        yield Finding(
            "monitor",
            WARNING,
            "supervisor has no `monitor` program: the health check lives 24 h and only deployments renew it",
            "include supervisor.d/monitor.conf; without it deploy at least once a day, or health in Consul expires",
        )
    elif config.revision.poll or config.health.watch or config.metrics.listen:
        message = "supervisor has no `monitor` program: [revision] poll, [health] watch and [metrics] have no effect"
        yield Finding("monitor", WARNING, message, "include supervisor.d/monitor.conf")
    else:
        yield Finding("monitor", OK, "supervisor has no `monitor` program, and nothing in the configuration needs one")


def _of_another_user(check: str, supervisor: SupervisorServices, program: Program, root: Path) -> Iterator[Finding]:
    """Find a user that is neither root, who becomes the owner of the root directory, nor that owner."""
    user, owner = user_of(program, supervisor), owner_of(root)
    if user and owner is not None and user != owner:
        message = f"runs as {name_of(user)}, and {root} belongs to {name_of(owner)}"
        hint = f"chown -R {name_of(user)} {root}" + (f", or set user={name_of(owner)} in its section" if owner else "")
        yield Finding(check, FAULT, message, hint)
