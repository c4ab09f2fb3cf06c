"""The answers of the reading commands as JSON; takes no lock and changes nothing."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from release_agent.deploy.line import previous_of
from release_agent.deploy.run import Run
from release_agent.errors import ReleaseError
from release_agent.model import Release, Request, State

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.config.blueprint import Blueprint
    from release_agent.deploy.context import Context
    from release_agent.health import Look, Process
    from release_agent.journal.journal import StateDatabase

_UNPROVED = ("publishing", "reverting")


@dataclass(frozen=True)
class Status:
    """The body of ``status --json``, and the problems behind its health."""

    body: dict[str, Any]
    problems: tuple[str, ...]


def of_release(release: Release | None) -> dict[str, Any] | None:
    """Return the part of ``status --json`` that is about one release."""
    if release is None:
        return None
    return {
        "release": release.name,
        "number": release.number,
        "revision": release.revision,
        "commits": release.commits,
        "deployed_at": release.published_at,
    }


def status(
    context: Context,
    journal: StateDatabase,
    running: dict[str, Any] | None,
    processes: Callable[[], dict[str, list[Process]]],
) -> Status:
    """Look once at the live release, its services, its probes and the running deployment."""
    live = context.store.current()
    services: list[dict[str, Any]] = []
    deployment = _deployment(journal, running)
    problems: tuple[str, ...] = ("no release is live",)
    if live:
        try:
            blueprint = context.blueprint(live)
            groups = processes()
            services = _services(blueprint, groups)
            problems = _look(context, live, blueprint).problems
        except ReleaseError as error:
            problems = (error.message,)
        if live.state is State.FAILED:
            problems = (*problems, f"{live.name} failed when it was deployed")
    unproved = deployment is not None and journal.stage_of(deployment["id"]) in _UNPROVED
    body = {
        "app": context.config.app.name,
        "environment": context.config.app.environment,
        "current": of_release(live),
        "previous": of_release(previous_of(live, journal, context.store) if live else None),
        "services": services,
        "health": "warning" if unproved else "critical" if problems else "passing",
        "deployment": deployment,
    }
    return Status(body, problems)


def _look(context: Context, live: Release, blueprint: Blueprint) -> Look:
    run = Run(context, Request("status", revision=live.revision), journaled=False)
    directory = context.store.directory(live.name)
    return context.examiner.look(blueprint, directory, run.environment(live, directory))


def _services(blueprint: Blueprint, groups: dict[str, list[Process]]) -> list[dict[str, Any]]:
    return [
        {"name": service.name, "processes": [process.to_json() for process in groups.get(service.name, [])]}
        for service in blueprint.services
    ]


def _deployment(journal: StateDatabase, running: dict[str, Any] | None) -> dict[str, Any] | None:
    if running is None:
        return None
    known = journal.running()
    phase = known[1] if known and known[0] == running["id"] else None
    return {"id": running["id"], "phase": phase}


def releases(context: Context) -> list[dict[str, Any]]:
    """Return the kept releases, newest first, as ``releases --json`` prints them."""
    live = context.store.current()
    return [
        {**(of_release(release) or {}), "state": str(release.state), "current": bool(live and live.name == release.name)}
        for release in reversed(context.store.releases())
    ]


def drift(context: Context, release: Release) -> list[dict[str, str]]:
    """Compare a release with its commits, file by file: ``[{"path", "change"}]``.

    The files that shared links and build hooks made when it was built are not drift.
    """
    there = context.source.drift(release.commits, context.store.directory(release.name))
    changes = {path: _change(digest) for path, digest in there.items() if release.built.get(path) != digest}
    # Files that were made when it was built and are missing now.
    changes |= {path: "missing" for path in release.built if path not in there}
    return [{"path": path, "change": change} for path, change in sorted(changes.items())]


def _change(digest: str) -> str:
    return digest.split(" ", maxsplit=1)[0] if digest.startswith(("added", "missing")) else "changed"
