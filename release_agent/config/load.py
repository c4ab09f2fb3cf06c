"""Read ``release-agent.toml``, and collect every problem in it."""

from __future__ import annotations

import os
import socket
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.config import readers, schema, toml
from release_agent.config.order import check_order
from release_agent.config.readers import WrongValueError
from release_agent.config.schema import Problem
from release_agent.config.sections import BuildHook, Config, Probe, RehearsalProbe, Repository, Service, Shared, host_name
from release_agent.errors import Code, Misconfigured
from release_agent.system.disk import read_regular
from release_agent.system.user import who_may_read
from release_agent.variables import DEFAULT_CONFIG, OF_ONE_RELEASE, Variable

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

LARGEST = 1 << 20  # bytes of a configuration


def chosen_path(path: str | None, environ: Mapping[str, str] = os.environ) -> str:
    """Return the path of the configuration: ``--config``, RELEASE_AGENT_CONFIG or the default place."""
    return path or environ.get(Variable.RELEASE_AGENT_CONFIG) or DEFAULT_CONFIG


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration of ``--config``, RELEASE_AGENT_CONFIG or the default place.

    Raises Misconfigured with every problem at once.
    """
    chosen = chosen_path(path, environ)
    try:
        table = toml.parse(read_regular(Path(chosen), LARGEST).decode())
    except OSError as error:
        raise Misconfigured(
            Code.MISCONFIGURED,
            f"cannot read {chosen}: {error.strerror}",
            hint=(isinstance(error, PermissionError) and who_may_read(Path(chosen)))
            or "let `release-agent init` write it (docs/reference/configuration.md), let this user read it, or name another with "
            f"--config or {Variable.RELEASE_AGENT_CONFIG}",
        ) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError; RecursionError from deep nesting
        raise Misconfigured(Code.MISCONFIGURED, f"{chosen} is not TOML: {error}", hint="fix the line in the message") from error
    problems: list[Problem] = []
    config = parse(table, problems, environ)
    if problems:
        raise Misconfigured(
            Code.MISCONFIGURED,
            describe(chosen, problems),
            hint="docs/reference/configuration.md lists every key; nothing was changed",
        )
    return config


def describe(source: str, problems: list[Problem]) -> str:
    """Return all problems of a file as one message, each on its own line."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n".join([f"{count} in {source}:", *(f"  {problem}" for problem in problems)])


def parse(table: dict[str, object], problems: list[Problem], environ: Mapping[str, str] = os.environ) -> Config:
    """Make a Config of a TOML document; adds every problem to the list."""
    config = schema.read_table(Config, table, "", problems)
    _check_places(config.repositories, problems)
    check_services(config.services, problems)
    check_order(config.services, problems)
    check_shared(config.shared, problems)
    check_makes(config.hooks.build, config.shared, problems)
    if config.revision.signed and config.revision.follow == "branch":
        problems.append(Problem("revision.signed", 'must be false with follow = "branch": only tags are signed'))
    if config.revision.follow == "rollout" and not config.consul.enabled:
        problems.append(
            Problem("revision.follow", 'must not be "rollout" with [consul] enabled = false: Consul has the rollouts')
        )
    host = config.app.host or environ.get(Variable.RELEASE_AGENT_HOST) or socket.gethostname()
    try:
        host_name(host)
    except WrongValueError as wrong:
        problems.append(Problem("app.host", f"{wrong}, not {host!r} of {Variable.RELEASE_AGENT_HOST} or the hostname"))
    # A single repository is the whole release.
    repositories = tuple(
        replace(one, into=one.into or ".", subdirectory="" if one.subdirectory == "." else one.subdirectory)
        for one in config.repositories
    )
    return replace(config, app=replace(config.app, host=host), repositories=repositories, own=frozenset(table))


def _check_places(repositories: tuple[Repository, ...], problems: list[Problem]) -> None:
    several = len(repositories) > 1
    for i, repository in enumerate(repositories):
        if several and not repository.into:
            problems.append(Problem(f"repository[{i}].into", "is required if there are several repositories"))
    for a, b in readers.overlapping([repository.into for repository in repositories if repository.into]):
        problems.append(Problem("repository.into", f'"{a}" and "{b}" overlap; each needs a place of its own'))
    _check_names("repository.name", [repository.name for repository in repositories], problems)


def _check_names(path: str, names: list[str], problems: list[Problem]) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    problems += [Problem(path, f'"{name}" is used twice') for name in twice]


def check_services(services: tuple[Service, ...], problems: list[Problem]) -> None:
    """Add the problems of the services: names that are used twice, and probes without exactly one kind."""
    _check_names("service.name", [service.name for service in services], problems)
    for i, service in enumerate(services):
        check_probes(f"service[{i}].probe", service.probes, problems)
        if service.rehearsal:
            check_probes(f"service[{i}].rehearsal.probe", service.rehearsal.probes, problems)


def check_probes(path: str, probes: Sequence[Probe | RehearsalProbe], problems: list[Problem]) -> None:
    """Add the problems of probes: without exactly one kind, or with `expect` and without `http`."""
    for i, probe in enumerate(probes):
        if sum(map(bool, (probe.http, probe.tcp, probe.command))) != 1:
            problems.append(Problem(f"{path}[{i}]", "must have exactly one of http, tcp and exec"))
        elif probe.expect and not probe.http:
            problems.append(Problem(f"{path}[{i}].expect", "needs http: only its answer is read"))


def check_shared(shared: Shared, problems: list[Problem]) -> None:
    """Add the shared paths that are both a file and a directory, or one inside another."""
    for a, b in readers.overlapping([*shared.directories, *shared.files]):
        problems.append(Problem("shared", f'"{a}" and "{b}" overlap'))


def check_makes(hooks: Sequence[BuildHook], shared: Shared, problems: list[Problem]) -> None:
    """Add the problems of cached hooks: `cache` without `makes`, or outputs that overlap with other paths."""
    for i, hook in enumerate(hooks):
        path = f"hooks.build[{i}]"
        if bool(hook.cache) != bool(hook.makes):
            problems.append(Problem(path, "must have both cache and makes, or neither"))
        both = [(a, b) for a, b in readers.overlapping([*hook.cache, *hook.makes])]
        problems += [Problem(f"{path}.makes", f'"{a}" and "{b}" overlap') for a, b in both]
        named = [name for name in OF_ONE_RELEASE if hook.makes and name in hook.run]
        problems += [
            Problem(f"{path}.run", f"must not use {name} with makes: its value differs for each release") for name in named
        ]
    made = [readers.joined(hook.cwd, path) for hook in hooks for path in hook.makes]
    overlapping = readers.overlapping([*made, *shared.directories, *shared.files])
    problems += [Problem("hooks.build.makes", f'"{a}" and "{b}" overlap') for a, b in overlapping if a in made]
