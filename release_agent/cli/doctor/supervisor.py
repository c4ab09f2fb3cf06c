"""Checks of supervisor and of its services."""

from __future__ import annotations

import os
from pathlib import PurePath
from typing import TYPE_CHECKING

from release_agent.cli.doctor import shared
from release_agent.cli.doctor.finding import FAULT, OK, WARNING, Finding, fault
from release_agent.cli.doctor.programs import OwnPrograms
from release_agent.config.sections import RestartKind
from release_agent.deploy.check import outlooks
from release_agent.deploy.policy.requests import Loss
from release_agent.deploy.programs import Known
from release_agent.errors import ReleaseError
from release_agent.health import LEFT_STOPPED
from release_agent.services.programs import command_words
from release_agent.system.user import Identity, name_of, owner_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.cli.doctor.supervised import Program, Supervised
    from release_agent.config.blueprint import Blueprint
    from release_agent.config.sections import Service
    from release_agent.deploy.context import Context
    from release_agent.health import Process
    from release_agent.services.supervisor import SupervisorServices
    from release_agent.store.root import Root
    from release_agent.wiring import Parts

_EXPECT = 'give one of its probes expect = "{revision}"'


def examine(parts: Parts, context: Context, supervised: Supervised, blueprint: Blueprint, edit: str) -> Iterator[Finding]:
    """Check that supervisor answers, and check its programs; ``blueprint``: of a bare deploy.

    ``edit``: the edit that gives the program `deploy` the right user, if its user is wrong.
    """
    store, supervisor = parts.root(), parts.services()
    try:
        programs = supervisor.programs()
    except ReleaseError as error:
        programs = None
        let_root_in = supervised.programs is not None and isinstance(error.__cause__, PermissionError)
        yield fault("supervisor", error, (edit or _let_in(name_of(os.geteuid()))) if let_root_in else "")
    else:
        yield Finding("supervisor", OK, "answers this user")
    if supervised.programs is not None:
        own = OwnPrograms(supervised, store.path)
        yield from (*own.deploy(blueprint), *own.boot(), *own.monitor(parts.config, blueprint))
    if programs is not None:
        known, of_programs = _known(context, blueprint)
        yield from of_programs
        for service in blueprint.services:
            of_service = [program for program in programs if program["group"] == service.name]
            if of_service or service.name not in known.brought:
                yield from _service(store, supervisor, service, of_service)
        yield from shared.examine(store.shared, blueprint.shared, _identities(supervisor, blueprint, programs))
        if any(service.rehearsal for service in blueprint.services):
            yield _plugin(context)
        for told in outlooks(known, blueprint.services):
            can = {Loss.NO: "loses none", Loss.YES: "can lose some"}.get(told.loses_requests, "may lose some")
            message = f"{can}: {told.why}; {'rehearses' if told.rehearses else 'no rehearsal'}"
            yield Finding(f"requests {told.service}", WARNING if told.warns else OK, message, told.hint)
        for service in blueprint.services:
            yield from _old_code(context, service)


def _known(context: Context, blueprint: Blueprint) -> tuple[Known, list[Finding]]:
    """Return supervisor's view of the services, and the findings on the programs that come with the release."""
    if not blueprint.programs:
        return Known(context), []
    try:
        brought = {group.name: group for group in context.programs.check(blueprint.programs)}
    except ReleaseError as error:
        return Known(context), [fault("programs", error)]
    return Known(context, brought), [Finding("programs", OK, f"come with the release: {', '.join(brought)}")]


def _plugin(context: Context) -> Finding:
    try:
        context.plugin.require()
    except ReleaseError as error:
        return fault("plugin", error)
    return Finding("plugin", OK, "supervisord has loaded it, and it can rehearse")


def _old_code(context: Context, service: Service) -> Iterator[Finding]:
    """Find a service whose old code would stay unnoticed; a probe can ask such a service for its revision."""
    if service.restart.kind is RestartKind.NONE or any(probe.expect for probe in service.probes):
        return
    check, unseen = f"old code {service.name}", context.plugin.releases_in_use(service.name).get("", [])
    if unseen:
        pids = ", ".join(map(str, unseen))
        message = f"no permission to see whether its processes {pids} still run the code of an older release"
        yield Finding(check, WARNING, message, f"start the container with --cap-add SYS_PTRACE, or {_EXPECT}")
    elif service.restart.signal and context.plugin.socket_of(service.name) is None:
        message = f"without the plugin, old code that still runs stays unnoticed after {service.restart}"
        yield Finding(check, WARNING, message, f"add supervisor.d/plugin.conf and restart supervisord, or {_EXPECT}")


def _let_in(user: str) -> str:
    return f"set chmod=0770 and chown=root:GROUP in [unix_http_server], with a group of {user}"


def _service(store: Root, supervisor: SupervisorServices, service: Service, programs: Sequence[Program]) -> Iterator[Finding]:
    check = f"service {service.name}"
    try:
        supervisor.check([service])
    except ReleaseError as error:
        yield fault(check, error)
        return
    processes = supervisor.processes().get(service.name, [])
    faults = [*_settings(check, programs), *_environment(check, store, programs), *_left_stopped(check, store, processes)]
    identity, releases_of = _identity(supervisor, processes, programs), owner_of(store.path)
    # A missing root will belong to the user of the agent.
    if identity and identity.user == (os.geteuid() if releases_of is None else releases_of):
        message = f"runs as user {identity.user}, who owns the releases and could change them"
        faults.append(Finding(check, FAULT, message, "set another user= in its section"))
    yield from faults or [Finding(check, OK, "known to supervisor")]


def _settings(check: str, programs: Sequence[Program]) -> Iterator[Finding]:
    if any(program["startsecs"] < 1 for program in programs):
        yield Finding(check, FAULT, "startsecs is 0: then RUNNING proves nothing", "set startsecs=1 or more in its section")
    if any(program["autostart"] for program in programs):
        message = "autostart is true: it starts even before the first release"
        yield Finding(check, WARNING, message, "set autostart=false; `boot` starts it")
    if any(map(_says_nothing_again, programs)):
        message = "the agent cannot read its log: a failed deployment cannot show its last output"
        yield Finding(check, WARNING, message, "set stdout_events_enabled=true and stderr_events_enabled=true in its section")


def _environment(check: str, store: Root, programs: Sequence[Program]) -> Iterator[Finding]:
    """Find a Python that finds its packages at each import through the link to the live release."""
    for program in programs:
        executable = PurePath(next(iter(command_words(program)), ""))
        if executable.is_relative_to(store.link) and executable.name.startswith("python"):
            message = f"{executable} imports packages of the new release between the swap and its restart"
            hint = f"set directory={store.link} and command=env {executable.relative_to(store.link)} …"
            yield Finding(check, WARNING, message, hint)


def _says_nothing_again(program: Program) -> bool:
    """Return whether a program logs to the container's log, and the plugin gets no copy."""
    channel = "stdout" if program.get("redirect_stderr") else "stderr"
    file, heard = str(program.get(f"{channel}_logfile", "")), program.get(f"{channel}_events_enabled")
    return file.startswith("/dev/") and file != "/dev/null" and not heard


def _left_stopped(check: str, store: Root, processes: Sequence[Process]) -> Iterator[Finding]:
    """Find the processes that stopped when their section changed; a run in progress starts its services on its own."""
    if not store.link.is_symlink() or store.holder():
        return
    for process in processes:
        if process.left_stopped:
            hint = f"supervisorctl start {process.short_name}; after `supervisorctl update` every changed section needs it"
            yield Finding(check, FAULT, f"{process.short_name} is STOPPED: {LEFT_STOPPED}", hint)


def _identities(supervisor: SupervisorServices, blueprint: Blueprint, programs: Sequence[Program]) -> dict[str, Identity]:
    """Return the known users of the services, now or at their start."""
    processes, found = supervisor.processes(), {}
    for service in blueprint.services:
        of_service = [program for program in programs if program["group"] == service.name]
        identity = _identity(supervisor, processes.get(service.name, []), of_service) if of_service else None
        if identity:
            found[service.name] = identity
    return found


def _identity(supervisor: SupervisorServices, processes: Sequence[Process], programs: Sequence[Program]) -> Identity | None:
    """Return the user of a service, now or at its start; None if unknown."""
    running = [process.pid for process in processes if process.pid]
    if running:
        return Identity.of_process(running[0])
    named = next((program["uid"] for program in programs if isinstance(program["uid"], int)), None)
    return Identity.of_process(supervisor.supervisor_pid()) if named is None else Identity.of_user(named)
