"""Answer the reading commands as JSON, without the lock and without changes."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from release_agent.deploy.environment import Occasion
from release_agent.deploy.look import look
from release_agent.deploy.policy.line import before, replaced_by
from release_agent.errors import Code, Refused, ReleaseError
from release_agent.health import Health, HealthState
from release_agent.model import Release, Stage, State

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from release_agent.config.sections import Config, Service
    from release_agent.deploy.context import Context
    from release_agent.deploy.ports import Store
    from release_agent.health import Process
    from release_agent.journal.journal import StateDatabase

_UNPROVED = (Stage.PUBLISHING, Stage.REVERTING)


def of_release(release: Release | None) -> dict[str, Any] | None:
    """Return the part of ``status --json`` that is about one release."""
    if release is None:
        return None
    return {
        "release": release.name,
        "number": release.number,
        "revision": release.revision,
        "commits": release.commits,
        "signers": release.signers,
        "deployed_at": release.published_at,
        "by": release.by,
    }


def of_services(services: Sequence[Service], processes_of: Callable[[str], list[Process]]) -> list[dict[str, Any]]:
    """Return the part of ``status --json`` that is about the services."""
    return [
        {"name": service.name, "processes": [process.to_json() for process in processes_of(service.name)]} for service in services
    ]


def of_deployment(journal: StateDatabase, holder: dict[str, Any] | None) -> dict[str, Any] | None:
    """Return the part of ``status --json`` that is about the run that holds the lock."""
    if holder is None:
        return None
    running = journal.running()
    phase = running[1] if running and running[0] == holder["id"] else None
    return {"id": holder["id"], "phase": phase}


def body(config: Config, store: Store, journal: StateDatabase, live: Release | None, found: dict[str, Any]) -> dict[str, Any]:
    """Return ``status --json``, with ``found``: its services, its health and its deployment."""
    previous, frozen = None, journal.frozen()
    if live:
        previous = before(journal.line(), store.get, live.name, replaced_by(live, journal.unfinished()))
    return {
        "app": config.app.name,
        "environment": config.app.environment,
        "current": of_release(live),
        "previous": of_release(previous),
        **found,
        "frozen": frozen.to_json() if frozen else None,
        "failure": None if live else _newest_failure(journal),
    }


def _newest_failure(journal: StateDatabase) -> dict[str, Any] | None:
    """Return the failure of the newest run, for ``status --json``; None without one."""
    newest = next(iter(journal.history(1)), None)
    if newest is None or not newest["error"]:
        return None
    return {"id": newest["id"], "revision": newest["revision"], "code": newest["error"]["code"]}


def status(
    context: Context,
    journal: StateDatabase,
    holder: dict[str, Any] | None,
    processes: Callable[[], dict[str, list[Process]]],
) -> tuple[dict[str, Any], Health]:
    """Look at the release, its services and the journal once; returns ``status --json``, and the health with all problems."""
    live = context.store.current()
    services, health = _look(context, live, processes)
    if _is_unproved(journal, holder):
        health = Health(HealthState.WARNING, health.problems)
    found = {
        "services": services,
        "health": str(health.state),
        "health_why": health.why,
        "deployment": of_deployment(journal, holder),
    }
    return body(context.config, context.store, journal, live, found), health


def _is_unproved(journal: StateDatabase, holder: dict[str, Any] | None) -> bool:
    """Return whether a run has published and has no outcome: it still runs, or it was killed and awaits recovery."""
    stages = [journal.stage_of(holder["id"])] if holder else [left.stage for left in journal.unfinished()]
    return any(stage in _UNPROVED for stage in stages)


def _look(
    context: Context, live: Release | None, processes: Callable[[], dict[str, list[Process]]]
) -> tuple[list[dict[str, Any]], Health]:
    if live is None:
        return [], Health.of("no release is live")
    services: list[dict[str, Any]] = []
    try:
        blueprint = context.blueprint(live)
        groups = processes()
        services = of_services(blueprint.services, lambda name: groups.get(name, []))
        problems = look(context, live, blueprint, Occasion("status")).problems
    except ReleaseError as error:
        problems = (error.message,)
    if live.state is State.FAILED:
        problems = (*problems, f"{live.name} failed when it was deployed")
    return services, Health.of(*problems)


def releases(context: Context) -> list[dict[str, Any]]:
    """Return the kept releases, newest first, as ``releases --json`` prints them."""
    live = context.store.current()
    return [{**(of_release(release) or {}), **_of_kept(release, live)} for release in reversed(context.store.releases())]


def _of_kept(release: Release, live: Release | None) -> dict[str, Any]:
    is_live = bool(live and live.name == release.name)
    return {"state": str(release.state), "current": is_live, "protected": release.protected}


def drift(context: Context, release: Release) -> list[dict[str, Any]]:
    """Compare a release with its commits, file by file: ``[{"path", "change", "shared_with"}]``.

    ``shared_with``: the other releases that have the same file by hard link, and so changed as well.

    Links to shared paths and unchanged files of build hooks are not drift.
    """
    _require_same_parts(release, context.config)
    there = context.source.drift(release.commits, context.store.directory(release.name), release.into)
    changes = {path: _change(digest) for path, digest in there.items() if release.built.get(path) != digest}
    # Files that the build made and that are now missing.
    changes |= {path: "missing" for path in release.built if path not in there}
    return [
        {"path": path, "change": change, "shared_with": context.store.sharers(release.name, path)}
        for path, change in sorted(changes.items())
    ]


def _require_same_parts(release: Release, config: Config) -> None:
    """Raise Refused if the release and the configuration have different parts of a repository that both have."""
    for name in release.commits.keys() & {repository.name for repository in config.repositories}:
        has, takes = (parts.get(name, "all") for parts in (release.parts, config.parts))
        if has != takes:
            raise Refused(
                Code.REPOSITORY_INCOMPLETE,
                f"{release.name} has {has} of repository {name}, and the configuration takes {takes}",
                hint="deploy the revision again",
            )


def _change(digest: str) -> str:
    return digest.split(" ", maxsplit=1)[0] if digest.startswith(("added", "missing")) else "changed"
