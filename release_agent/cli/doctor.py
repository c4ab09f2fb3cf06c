"""Look at the whole set-up and say how to mend each fault; nothing is changed by looking."""

from __future__ import annotations

import os
import shutil
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.config import blueprint
from release_agent.consul.client import ConsulError
from release_agent.deploy.deployment import Deployment
from release_agent.deploy.run import Run
from release_agent.errors import ReleaseError
from release_agent.journal.database import is_broken
from release_agent.journal.journal import StateDatabase
from release_agent.model import Request
from release_agent.services.programs import is_own
from release_agent.system import processes
from release_agent.text import plain

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from release_agent.config.sections import Service
    from release_agent.deploy.context import Context
    from release_agent.repository.source import GitSource
    from release_agent.services.supervisor import SupervisorServices
    from release_agent.wiring import Parts

OK, WARNING, FAULT = "ok", "warning", "fault"
# What a one-shot needs, as supervisor answers it and as its section says it.
_ONE_SHOT = {"autostart": (False, "false"), "startsecs": (0, "0"), "startretries": (0, "0"), "exitcodes": ([0], "0")}


@dataclass(frozen=True)
class Finding:
    """One thing looked at: ``level`` is ok, warning or fault; the hint says how to mend it."""

    check: str
    level: str
    message: str
    hint: str = ""

    def to_json(self) -> dict[str, str]:
        """``{"check", "level", "message", "hint"}``."""
        return asdict(self)


def examine(parts: Parts) -> list[Finding]:
    """Look at everything; what a broken part hides is looked at as far as it goes."""
    with parts.source() as source, _journal_or_none(parts) as journal:
        context = parts.context(parts.root(), journal, source)
        supervisor = parts.services()
        revision, services = _revision(context)
        return [
            *_root(parts),
            *_journal(parts, journal),
            *_repositories(source),
            *_signers(parts),
            revision,
            *_supervisor(context, supervisor, services),
            *_consul(parts, supervisor),
        ]


def _journal_or_none(parts: Parts) -> StateDatabase:
    """Return the journal, or an empty one if it cannot be read: that is a finding of its own."""
    try:
        return parts.journal()
    except ReleaseError:
        return StateDatabase(Path("/nonexistent/state.db"))


def _root(parts: Parts) -> Iterator[Finding]:
    root = parts.root()
    owned_hint = f"give {root.path} to the user the agent runs as"
    if not root.path.is_dir():
        if os.access(root.path.parent, os.W_OK):
            yield Finding("root", OK, f"{root.path} will be made by the first deployment")
        else:
            yield Finding("root", FAULT, f"{root.path} does not exist and cannot be made", f"make it; {owned_hint}")
        return
    places = [place for place in (root.path, root.directory(""), root.own, root.incoming) if place.exists()]
    closed = [place for place in places if not os.access(place, os.W_OK | os.X_OK)]
    foreign = [place for place in places if place.stat().st_dev != root.path.stat().st_dev or str(place) in _mounts(root.path)]
    for place in closed:
        yield Finding("root", FAULT, f"{place} is not writable", owned_hint)
    for place in foreign:
        yield Finding(
            "root",
            FAULT,
            f"{place} is on another mount than {root.path}",
            "mount [app] root as a whole: releases are moved by rename(2)",
        )
    if root.link.exists() and not root.link.is_symlink():
        yield Finding("root", FAULT, f"{root.link} is not a symlink", "move it away: the agent makes `current` itself")
    strangers = [place for place in _made(parts) if place.lstat().st_uid != root.path.stat().st_uid]
    for place in strangers:
        yield Finding(
            "root", FAULT, f"{place} does not belong to the owner of {root.path}", f"chown -R --reference={root.path} {place}"
        )
    if not closed and not foreign and not strangers:
        yield Finding("root", OK, f"{root.path} is writable and on one mount")


def _made(parts: Parts) -> list[Path]:
    """What the agent made, as far as its owner matters: releases and what belongs to them."""
    root = parts.root()
    places = [root.directory(""), root.own, root.database, root.incoming, root.own / "lock", root.own / "releases"]
    notes = (root.own / "releases").glob("*.json") if os.access(root.own, os.X_OK) else ()
    return [place for place in (*places, *root.directory("").glob("*"), *notes) if os.path.lexists(place)]


def _mounts(root: Path) -> set[str]:
    """Mount points inside the root: a bind mount of the same disk has the same device, and still no rename into it."""
    lines = Path("/proc/self/mountinfo").read_text(encoding="utf-8", errors="replace").splitlines()
    points = {line.split()[4] for line in lines}
    return {point for point in points if point.startswith(f"{os.path.realpath(root)}/")}


def _journal(parts: Parts, journal: StateDatabase) -> Iterator[Finding]:
    root = parts.root()
    hint = "release-agent doctor --repair rebuilds it from what lies on disk"
    if is_broken(root.database):
        yield Finding("journal", FAULT, f"{root.database} is broken", hint)
    elif journal.is_empty() and any(release.published_at for release in root.releases()):
        yield Finding("journal", FAULT, f"{root.database} is lost, though there are releases", hint)
    elif root.database.exists() and not os.access(root.database, os.R_OK):
        yield Finding("journal", FAULT, f"{root.database} cannot be read by this user", "run as the user the agent runs as")
    else:
        yield Finding("journal", OK, f"{root.database} is readable, or not made yet")


def _repositories(source: GitSource) -> Iterator[Finding]:
    if not shutil.which("git"):
        yield Finding("git", FAULT, "git is not installed", "install git 2.38 or newer")
        return
    for repository in source.repositories:
        try:
            count = len(repository.tags())
        except ReleaseError as error:
            yield _fault(f"repository {repository.name}", error)
        else:
            yield Finding(f"repository {repository.name}", OK, f"{repository.path} is readable, {count} tags")


def _signers(parts: Parts) -> Iterator[Finding]:
    revision = parts.config.revision
    if not revision.signed:
        return
    if not os.access(revision.allowed_signers, os.R_OK):
        yield Finding(
            "signers",
            FAULT,
            f"{revision.allowed_signers} is missing or unreadable",
            "list the signers' public keys there, as ssh-keygen(1) ALLOWED SIGNERS",
        )
    elif not shutil.which("ssh-keygen"):
        yield Finding("signers", FAULT, "ssh-keygen is not installed; git checks signatures with it", "install openssh-client")
    else:
        yield Finding("signers", OK, f"{revision.allowed_signers} is readable")


def _revision(context: Context) -> tuple[Finding, tuple[Service, ...]]:
    """Resolve what a bare deploy would take; returns its services too, or else those the container names."""
    try:
        target = Deployment(Run(context, Request("doctor"), journaled=False)).resolve()
        services = blueprint.combine(context.config, context.source.read(target.commits, blueprint.FILE)).services
    except ReleaseError as error:
        return _fault("revision", error), context.config.services
    return Finding("revision", OK, f"a bare deploy takes {target.revision}"), services


def _supervisor(context: Context, supervisor: SupervisorServices, services: tuple[Service, ...]) -> Iterator[Finding]:
    try:
        programs = supervisor.programs()
    except ReleaseError as error:
        yield _fault("supervisor", error)
        return
    yield Finding("supervisor", OK, "answers, and lets this user in")
    yield from _one_shot(context, programs)
    if not _own(programs, "boot"):
        message = "supervisor has no `boot` program: nothing starts the services when the container starts"
        yield Finding("program boot", WARNING, message, "include supervisor.d/boot.conf")
    for service in services:
        yield from _service(context, supervisor, service, [p for p in programs if p["group"] == service.name])


def _own(programs: list[dict[str, Any]], verb: str) -> list[dict[str, Any]]:
    return [program for program in programs if is_own(program, (verb,)) or program["name"] == verb]


def _one_shot(context: Context, programs: list[dict[str, Any]]) -> Iterator[Finding]:
    found = _own(programs, "deploy")
    if not found:
        yield Finding("program deploy", FAULT, "supervisor has no `deploy` program", "include supervisor.d/deploy.conf")
        return
    program = found[0]
    wrong = {key: shown for key, (right, shown) in _ONE_SHOT.items() if program[key] != right}
    for key, shown in wrong.items():
        message = f"{key} is {program[key]}; a one-shot needs {shown}"
        yield Finding(f"program {program['name']}", FAULT, message, f"set {key}={shown} in its section")
    health = context.config.health
    patience = health.deadline + health.stable_for
    if program["stopwaitsecs"] <= patience:
        yield Finding(
            f"program {program['name']}",
            WARNING,
            f"stopwaitsecs is {program['stopwaitsecs']}; proving a rollback alone may take {patience:g} s",
            "set stopwaitsecs above the worst rollback, or supervisor kills it half way",
        )
    if not wrong:
        yield Finding(f"program {program['name']}", OK, "runs once, as asked, and is never run again by itself")


def _service(
    context: Context, supervisor: SupervisorServices, service: Service, programs: list[dict[str, Any]]
) -> Iterator[Finding]:
    check = f"service {service.name}"
    try:
        supervisor.check([service])
    except ReleaseError as error:
        yield _fault(check, error)
        return
    faults = list(_service_faults(check, programs))
    user = _user(supervisor, service.name, programs)
    root = Path(context.config.app.root)
    # What is not there yet will be made by whoever runs the agent.
    if user == (root.stat().st_uid if root.exists() else os.geteuid()):
        faults.append(
            Finding(
                check, FAULT, f"runs as user {user}, who owns the releases: it could change them", "give it a user= of its own"
            )
        )
    yield from faults or [Finding(check, OK, "known to supervisor")]


def _service_faults(check: str, programs: list[dict[str, Any]]) -> Iterator[Finding]:
    if any(program["startsecs"] < 1 for program in programs):
        yield Finding(check, FAULT, "startsecs is 0: RUNNING means nothing then", "set startsecs=1 or more in its section")
    if any(program["autostart"] for program in programs):
        yield Finding(
            check, WARNING, "autostart is true: it starts before there is a release", "set autostart=false; `boot` starts it"
        )


def _user(supervisor: SupervisorServices, group: str, programs: list[dict[str, Any]]) -> int | None:
    running = [process.pid for process in supervisor.processes().get(group, []) if process.pid]
    if running:
        return processes.owner(running[0])
    named = next((program["uid"] for program in programs if isinstance(program["uid"], int)), None)
    return named if named is not None else processes.owner(supervisor.supervisor_pid())


def _consul(parts: Parts, supervisor: SupervisorServices) -> Iterator[Finding]:
    if not parts.config.consul.enabled:
        return
    try:
        parts.consul().reachable()
    except ConsulError as error:
        yield Finding("consul", FAULT, str(error), "start a Consul agent, mend CONSUL_HTTP_ADDR, or set [consul] enabled = false")
    else:
        yield Finding("consul", OK, "answers and has a leader")
    try:
        watched = bool([p for p in supervisor.programs() if is_own(p, ("monitor",))])
    except ReleaseError:
        return
    if not watched:
        yield Finding(
            "monitor",
            WARNING,
            "supervisor has no `monitor` program: the health check lives 24 h and only deployments renew it",
            "include supervisor.d/monitor.conf; without it deploy at least once a day, or health in Consul expires",
        )


def _fault(check: str, error: ReleaseError) -> Finding:
    return Finding(check, FAULT, error.message, error.hint)


def findings(found: Sequence[Finding]) -> str:
    """What doctor saw, a line each and how to mend it."""
    lines = []
    for finding in found:
        lines.append(f"{finding.level:<8}{finding.check}: {plain(finding.message)}")
        if finding.hint:
            lines.append(f"        -> {plain(finding.hint)}")
    faults = sum(finding.level == "fault" for finding in found)
    lines.append(f"{faults} fault{'' if faults == 1 else 's'}" if faults else "no faults")
    return "\n".join(lines)
