"""Combine the container's configuration and each repository's ``release.toml`` into the blueprint of a release."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from release_agent.config import programs, readers, schema, toml
from release_agent.config.load import check_makes, check_services, check_shared, describe
from release_agent.config.order import check_circles, check_order
from release_agent.config.programs import ProgramFile
from release_agent.config.schema import Problem, section, sections, setting
from release_agent.config.sections import Config, HealthSettings, Hook, Hooks, Repository, Service, Shared
from release_agent.errors import Code, Refused

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    # Finds files in a place by a pattern; returns their texts by path.
    Find = Callable[[str, str], Mapping[str, str]]

FILE = "release.toml"
HOOK_STAGES = ("build", "before_publish", "after_publish", "after_deploy", "before_rollback", "after_failure")


@dataclass(frozen=True)
class ReleaseToml:
    """``release.toml`` at a repository's root: how its code is built and checked."""

    shared: Shared = section(Shared, doc="paths that outlive releases, relative to the repository's place")
    hooks: Hooks = section(Hooks, doc="commands, run in the repository's place")
    services: tuple[Service, ...] = sections(Service, key="service", doc="supervisor groups")
    health: HealthSettings = section(HealthSettings, doc="when the release is healthy")
    programs: str = setting(readers.inner_pattern, default="", doc="supervisor's sections of programs that come with the release")
    own: frozenset[str] = frozenset()


@dataclass(frozen=True)
class Blueprint:
    """Everything that building, restarting and proving a release needs; paths are within the release.

    ``files``: each ``release.toml`` by the name of its repository.
    """

    shared: Shared
    hooks: Hooks
    services: tuple[Service, ...]
    health: HealthSettings
    programs: tuple[ProgramFile, ...] = ()
    files: tuple[tuple[str, ReleaseToml], ...] = ()


def _none(_repository: str, _pattern: str) -> Mapping[str, str]:
    return {}


def combine(config: Config, files: Mapping[str, str], find: Find = _none) -> Blueprint:
    """Combine the container's sections, which win, with those of ``release.toml`` by repository name.

    ``find``: finds the files of programs in a repository, by its name. A program that no ``[[service]]`` names is a service
    with the defaults. Raises Refused (release-toml-invalid): the revision is at fault, not the container.
    """
    lone = len(config.repositories) == 1
    parsed = [(r.into, _parse(r.name, files[r.name], lone=lone)) for r in config.repositories if r.name in files]
    named = [r for r in config.repositories if r.name in files]
    brought = tuple(file for r, (_, toml) in zip(named, parsed, strict=True) for file in _programs(r, toml.programs, find))
    blueprint = Blueprint(
        programs=brought,
        shared=config.shared if "shared" in config.own else _shared(parsed),
        hooks=config.hooks if "hooks" in config.own else _hooks(parsed),
        services=config.services if "service" in config.own else _services(parsed),
        health=config.health if "health" in config.own else _health(config, parsed),
        files=tuple(sorted((r.name, toml) for r, (_, toml) in zip(named, parsed, strict=True))),
    )
    blueprint = replace(blueprint, services=(*blueprint.services, *programs.unnamed(brought, blueprint.services)))
    problems: list[Problem] = []
    check_services(blueprint.services, problems)
    check_order(blueprint.services, problems)
    check_shared(blueprint.shared, problems)
    _check_kept(blueprint.shared, [r.into for r in named], problems)
    check_makes(blueprint.hooks.build, blueprint.shared, problems)
    _refuse(f"the {FILE} files together", problems)
    return blueprint


def _programs(repository: Repository, pattern: str, find: Find) -> list[ProgramFile]:
    """Return the files of a repository that hold programs, by name; raises Refused if there is none."""
    if not pattern:
        return []
    found = find(repository.name, pattern)
    if not found:
        problem = Problem("programs", f'"{pattern}" names no file of the release')
        _refuse(f"{FILE} of repository {repository.name}", [problem])
    return [ProgramFile(readers.joined(repository.into, path), text) for path, text in sorted(found.items())]


def combine_from(
    config: Config,
    read: Callable[[str], str | None],
    into: Mapping[str, str] | None = None,
    find: Find = _none,
) -> Blueprint:
    """Combine the container's sections with each ``release.toml`` that ``read`` finds by its path in the release.

    ``find``: finds the files of programs in a place of the release, by their paths in that place.
    ``into``: the places of the repositories that the release was built of, by name, if its note has them.
    """
    if into:
        config = replace(config, repositories=tuple(Repository(name, "", place) for name, place in into.items()))
    texts = {repository.name: read(f"{repository.into}/{FILE}") for repository in config.repositories}
    places = {repository.name: repository.into for repository in config.repositories}
    known = {name: text for name, text in texts.items() if text is not None}
    return combine(config, known, lambda name, pattern: find(places[name], pattern))


def fingerprint(config: Config, contents: Mapping[str, str], blueprint: Blueprint) -> str:
    """Return the digest (64 hex digits) of what makes two releases the same: commits, their places, build hooks, shared paths.

    ``contents``: the commits; for a repository of which a release has only a part, the identity of that part.
    """
    what = {
        "repositories": sorted([r.name, r.into, contents[r.name]] for r in config.repositories),
        "build": [_identity(hook) for hook in blueprint.hooks.build],
        "shared": [sorted(blueprint.shared.directories), sorted(blueprint.shared.files)],
    }
    return hashlib.sha256(json.dumps(what, sort_keys=True).encode()).hexdigest()


def _identity(hook: Hook) -> list[str | int]:
    # Without an umask the digest stays as in older versions, so that a kept release needs no new build.
    return [hook.run, hook.cwd, *([] if hook.umask is None else [hook.umask])]


def _parse(name: str, text: str, *, lone: bool) -> ReleaseToml:
    """Read one file; ``lone``: no other repository has services, so ``after`` can name only services of this file."""
    source = f"{FILE} of repository {name}"
    try:
        text.encode()  # bytes that are not UTF-8 are surrogates here
        table = toml.parse(text)
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; RecursionError from deep nesting
        raise Refused(
            Code.RELEASE_TOML_INVALID, f"{source} is not TOML: {error}", hint="fix the file in the repository and tag again"
        ) from error
    problems: list[Problem] = []
    parsed = parse(table, problems, lone=lone)
    _refuse(source, problems)
    return parsed


def parse(table: dict[str, object], problems: list[Problem], *, lone: bool) -> ReleaseToml:
    """Make a ReleaseToml of a TOML document; adds every problem to the list. ``lone``: it has all services."""
    parsed = schema.read_table(ReleaseToml, table, "", problems)
    check_services(parsed.services, problems)
    if lone and not parsed.programs:  # they also make services
        check_order(parsed.services, problems)
    else:
        check_circles(parsed.services, problems)
    check_shared(parsed.shared, problems)
    _check_kept(parsed.shared, ["."], problems)
    check_makes(parsed.hooks.build, parsed.shared, problems)
    return replace(parsed, own=frozenset(table))


def _check_kept(shared: Shared, places: Sequence[str], problems: list[Problem]) -> None:
    """Add the shared paths that would replace a ``release.toml``, which must be that of the commit."""
    kept = [readers.joined(place, FILE) for place in places]
    overlapping = readers.overlapping([*kept, *shared.directories, *shared.files])
    problems += [Problem("shared", f'"{b}" would replace {a}') for a, b in overlapping if a in kept]


def _refuse(source: str, problems: list[Problem]) -> None:
    if problems:
        raise Refused(Code.RELEASE_TOML_INVALID, describe(source, problems), hint="fix the file in the repository and tag again")


_Parsed = list[tuple[str, ReleaseToml]]


def _shared(parsed: _Parsed) -> Shared:
    return Shared(
        directories=tuple(readers.joined(into, path) for into, toml in parsed for path in toml.shared.directories),
        files=tuple(readers.joined(into, path) for into, toml in parsed for path in toml.shared.files),
    )


def _hooks(parsed: _Parsed) -> Hooks:
    def of(stage: str) -> tuple[Any, ...]:
        return tuple(replace(hook, cwd=into) for into, toml in parsed for hook in getattr(toml.hooks, stage))

    return Hooks(**{stage: of(stage) for stage in HOOK_STAGES})


def _services(parsed: _Parsed) -> tuple[Service, ...]:
    return tuple(_placed(service, into) for into, toml in parsed for service in toml.services)


def _placed(service: Service, into: str) -> Service:
    """Let a service's commands run in the place of their repository."""
    rehearsal = service.rehearsal
    if rehearsal:
        rehearsal = replace(rehearsal, probes=tuple(replace(probe, cwd=into) for probe in rehearsal.probes))
    return replace(service, probes=tuple(replace(probe, cwd=into) for probe in service.probes), rehearsal=rehearsal, cwd=into)


def _health(config: Config, parsed: _Parsed) -> HealthSettings:
    # With several repositories, the longest deadline and the longest proof count.
    stated = [toml.health for _, toml in parsed if "health" in toml.own] or [config.health]
    watched = [health.watch for health in stated if health.watch is not None]
    return HealthSettings(
        deadline=max(health.deadline for health in stated),
        stable_for=max(health.stable_for for health in stated),
        watch=max(watched, default=None),
    )
