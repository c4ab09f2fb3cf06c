"""Checks of supervisor, of the agent's own programs in it, and of the services."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding, fault
from release_agent.errors import ReleaseError
from release_agent.services.programs import is_own
from release_agent.system import processes

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.config.sections import HealthSettings, Service
    from release_agent.deploy.context import Context
    from release_agent.services.supervisor import SupervisorServices

    Program = dict[str, Any]

# The settings of a one-shot: supervisor's values, and the text in the program's section.
_ONE_SHOT = {"autostart": (False, "false"), "startsecs": (0, "0"), "startretries": (0, "0"), "exitcodes": ([0], "0")}


def examine(context: Context, supervisor: SupervisorServices, services: Sequence[Service]) -> Iterator[Finding]:
    """Check that supervisor answers, and its programs."""
    try:
        programs = supervisor.programs()
    except ReleaseError as error:
        yield fault("supervisor", error)
        return
    yield Finding("supervisor", OK, "answers, and lets this user in")
    yield from _deploy(context.config.health, programs)
    if not _own(programs, "boot"):
        message = "supervisor has no `boot` program: nothing starts the services when the container starts"
        yield Finding("program boot", WARNING, message, "include supervisor.d/boot.conf")
    for service in services:
        yield from _service(context, supervisor, service, [p for p in programs if p["group"] == service.name])


def _own(programs: Sequence[Program], verb: str) -> list[Program]:
    return [program for program in programs if is_own(program, (verb,)) or program["name"] == verb]


def _deploy(health: HealthSettings, programs: Sequence[Program]) -> Iterator[Finding]:
    found = _own(programs, "deploy")
    if not found:
        yield Finding("program deploy", FAULT, "supervisor has no `deploy` program", "include supervisor.d/deploy.conf")
        return
    check, program = f"program {found[0]['name']}", found[0]
    wrong = {key: shown for key, (right, shown) in _ONE_SHOT.items() if program[key] != right}
    for key, shown in wrong.items():
        message = f"{key} is {program[key]}; a one-shot needs {shown}"
        yield Finding(check, FAULT, message, f"set {key}={shown} in its section")
    patience = health.deadline + health.stable_for
    if program["stopwaitsecs"] <= patience:
        message = f"stopwaitsecs is {program['stopwaitsecs']}; proving a rollback alone may take {patience:g} s"
        yield Finding(check, WARNING, message, "set stopwaitsecs above the worst rollback, or supervisor kills it half way")
    if not wrong:
        yield Finding(check, OK, "runs once, as asked, and is never run again automatically")


def _service(
    context: Context, supervisor: SupervisorServices, service: Service, programs: Sequence[Program]
) -> Iterator[Finding]:
    check = f"service {service.name}"
    try:
        supervisor.check([service])
    except ReleaseError as error:
        yield fault(check, error)
        return
    faults = list(_settings(check, programs))
    user = _user(supervisor, service.name, programs)
    root = Path(context.config.app.root)
    # A root that does not exist yet will be made by the user who runs the agent.
    if user == (root.stat().st_uid if root.exists() else os.geteuid()):
        message = f"runs as user {user}, who owns the releases: it could change them"
        faults.append(Finding(check, FAULT, message, "give it a user= of its own"))
    yield from faults or [Finding(check, OK, "known to supervisor")]


def _settings(check: str, programs: Sequence[Program]) -> Iterator[Finding]:
    if any(program["startsecs"] < 1 for program in programs):
        yield Finding(check, FAULT, "startsecs is 0: RUNNING means nothing then", "set startsecs=1 or more in its section")
    if any(program["autostart"] for program in programs):
        message = "autostart is true: it starts before there is a release"
        yield Finding(check, WARNING, message, "set autostart=false; `boot` starts it")


def _user(supervisor: SupervisorServices, service: str, programs: Sequence[Program]) -> int | None:
    running = [process.pid for process in supervisor.processes().get(service, []) if process.pid]
    if running:
        return processes.owner(running[0])
    named = next((program["uid"] for program in programs if isinstance(program["uid"], int)), None)
    return named if named is not None else processes.owner(supervisor.supervisor_pid())
