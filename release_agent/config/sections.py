"""``release-agent.toml`` as frozen dataclasses; they are the schema (docs/configuration.md)."""

from __future__ import annotations

import os
import signal
import socket
import tomllib
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.config import schema
from release_agent.config.schema import Problem, WrongValueError, section, sections, setting
from release_agent.errors import Code, Misconfigured

if TYPE_CHECKING:
    from collections.abc import Mapping

DEFAULT_PATH = "/etc/release-agent.toml"
PATH_VARIABLE = "RELEASE_AGENT_CONFIG"
HOST_VARIABLE = "RELEASE_AGENT_HOST"
DEFAULT_HOOK_TIMEOUT = 600.0
DEFAULT_PROBE_TIMEOUT = 2.0

# A name that is a DNS label: it becomes <name>.service.consul.
_dns_label = schema.matching(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", "letters, digits and hyphens: it becomes a DNS name")
_word = schema.matching(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})", 'letters, digits, ".", "_" and "-"')
_host = schema.matching(r"|[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})", 'a host name, or "" for the machine\'s own')
_key = schema.matching(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", 'a key in Consul without "/" at its ends, such as "release-agent"')
_group = schema.matching(r"[^\s:,;\[\]]+", "the name of a supervisor group")
_branch = schema.matching(r"[^\s~^:?*\[\\\x00-\x1f-][^\s~^:?*\[\\\x00-\x1f]*", 'a branch, such as "main" or "origin/main"')
_FORBIDDEN_SIGNALS = {"KILL", "STOP"}
_SERVER_ERRORS_END = 599


def _restart(value: object) -> str:
    if value == "rolling":
        message = 'must be "restart", "signal:HUP" or "none": "rolling" is not built yet'
        raise WrongValueError(message)
    if value in ("restart", "none"):
        return str(value)
    kind, _, name = str(value).partition(":")
    if kind == "signal" and name not in _FORBIDDEN_SIGNALS and f"SIG{name}" in signal.Signals.__members__:
        return str(value)
    message = 'must be "restart", "signal:HUP" (or another signal), or "none"'
    raise WrongValueError(message)


@dataclass(frozen=True)
class App:
    """``[app]``: what runs here and where its releases live."""

    name: str = setting(_dns_label, doc="the service's name in Consul")
    environment: str = setting(_word, doc='"production", "staging", "dev" …')
    root: str = setting(schema.absolute_path, doc="the directory of `current`, `releases` and `shared`")
    host: str = setting(_host, default="", doc="this container's name; default RELEASE_AGENT_HOST, else the hostname")
    rpc_url: str = setting(schema.url("http", "https"), default="", doc="where others reach this supervisor's RPC")
    address: str = setting(schema.text, default="", doc="what Consul hands to others; default: the container's own")
    port: int = setting(schema.port, default=0, doc="likewise; 0: none")
    keep: int = setting(schema.whole(1, 1000), default=5, doc="healthy releases kept; current and previous never go")


@dataclass(frozen=True)
class Repository:
    """``[[repository]]``: one git repository, mounted read-only."""

    name: str = setting(_word, doc="its name in releases and reports")
    path: str = setting(schema.absolute_path, doc="where it is mounted: a checkout or a bare repository")
    into: str = setting(schema.inner_path, default="", doc="where in the release; required where there are several")


@dataclass(frozen=True)
class Revision:
    """``[revision]``: what a deployment that names no revision takes."""

    follow: str = setting(schema.one_of("tag", "branch", "pin", "rollout"), default="tag", doc="tag, branch, pin or rollout")
    pattern: str = setting(schema.required_text, default="v*", doc="tags that count as versions, as a shell pattern")
    prereleases: bool = setting(schema.boolean, default=False, doc="true: v1.4.0-rc.2 counts")
    branch: str = setting(_branch, default="main", doc='the branch; a remote\'s branch is written "origin/main"')
    signed: bool = setting(schema.boolean, default=False, doc="true: only a tag signed by an allowed signer passes")
    allowed_signers: str = setting(
        schema.absolute_path, default="/etc/release-agent/allowed_signers", doc="the signers, in ssh-keygen's format"
    )
    poll: float | None = setting(
        schema.optional_duration, default=None, doc="how often the monitor looks for something new; empty: never"
    )


@dataclass(frozen=True)
class Shared:
    """``[shared]``: what outlives a release, linked into each."""

    directories: tuple[str, ...] = setting(schema.inner_paths, default=(), doc="directories under `<root>/shared`")
    files: tuple[str, ...] = setting(schema.inner_paths, default=(), doc="files under `<root>/shared`")


@dataclass(frozen=True)
class Hook:
    """One command of ``[hooks]``; ``cwd`` is a path within the release."""

    run: str = setting(schema.required_text, doc="a command for `/bin/sh -euc`")
    timeout: float = setting(schema.positive_duration, default=DEFAULT_HOOK_TIMEOUT, doc="for its whole process group")
    cwd: str = "."


@dataclass(frozen=True)
class Hooks:
    """``[hooks]``: commands run in the release directory."""

    build: tuple[Hook, ...] = sections(Hook, doc="make the release: compile, install dependencies")
    before_publish: tuple[Hook, ...] = sections(Hook, doc="the last step that leaves the live release untouched")
    after_publish: tuple[Hook, ...] = sections(Hook, doc="between the swap and the restart")
    after_deploy: tuple[Hook, ...] = sections(Hook, doc="once proved healthy; a failure still rolls back")


@dataclass(frozen=True)
class Probe:
    """One of ``http``, ``tcp`` and ``exec``; ``cwd`` is a path within the release."""

    http: str = setting(schema.url("http", "https"), default="", doc="a URL that must answer with `status`")
    status: int = setting(schema.whole(100, _SERVER_ERRORS_END), default=200, doc="the status `http` must answer with")
    tcp: str = setting(schema.endpoint, default="", doc='"host:port" that must accept a connection')
    command: str = setting(schema.text, default="", key="exec", doc="a command that must exit with 0")
    timeout: float = setting(schema.positive_duration, default=DEFAULT_PROBE_TIMEOUT, doc="for one try")
    cwd: str = "."


@dataclass(frozen=True)
class Service:
    """``[[service]]``: a supervisor group that runs from ``current``."""

    name: str = setting(_group, doc="the supervisor group")
    restart: str = setting(_restart, default="restart", doc='"restart", "signal:HUP" or "none"')
    probes: tuple[Probe, ...] = sections(Probe, key="probe", doc="what must be well besides supervisor's own state")


@dataclass(frozen=True)
class Health:
    """``[health]``: when a release counts as healthy."""

    deadline: float = setting(schema.positive_duration, default=60.0, doc="all probes must pass before this")
    stable_for: float = setting(schema.duration, default=3.0, doc="and go on passing this long")
    watch: float | None = setting(
        schema.optional_duration, default=None, doc="how long after a deployment the monitor still takes it back; empty: not"
    )


@dataclass(frozen=True)
class Supervisor:
    """``[supervisor]``: where its RPC listens."""

    url: str = setting(schema.url("unix", "http"), default="", doc="default: SUPERVISOR_SERVER_URL")


@dataclass(frozen=True)
class Consul:
    """``[consul]``: address, token and TLS come from the standard CONSUL_* variables."""

    enabled: bool = setting(schema.boolean, default=True, doc="false: nothing is reported")
    prefix: str = setting(_key, default="release-agent", doc="of the keys in KV")
    ttl: float = setting(schema.positive_duration, default=30.0, doc="of the health check that `monitor` keeps alive")
    deregister_after: float = setting(
        schema.positive_duration, default=600.0, doc="a container gone this long leaves the catalog"
    )


@dataclass(frozen=True)
class Metrics:
    """``[metrics]``: what the monitor serves for Prometheus."""

    listen: str = setting(schema.endpoint, default="", doc='"host:port" that `monitor` serves them on; empty: not')


@dataclass(frozen=True)
class Config:
    """The whole file."""

    app: App = section(App, doc="what runs here")
    repositories: tuple[Repository, ...] = sections(Repository, key="repository", required=True, doc="one or more [[repository]]")
    revision: Revision = section(Revision, doc="what a bare deploy takes")
    shared: Shared = section(Shared, doc="what outlives releases")
    hooks: Hooks = section(Hooks, doc="commands")
    services: tuple[Service, ...] = sections(Service, key="service", doc="supervisor groups")
    health: Health = section(Health, doc="when a release is healthy")
    supervisor: Supervisor = section(Supervisor, doc="supervisor's RPC")
    consul: Consul = section(Consul, doc="reports")
    metrics: Metrics = section(Metrics, doc="for Prometheus")
    # Sections that the file itself holds: they win over a repository's release.toml.
    own: frozenset[str] = frozenset()


def load(path: str | None, environ: Mapping[str, str] = os.environ) -> Config:
    """Read the configuration of ``--config``, RELEASE_AGENT_CONFIG or the default place.

    Raises Misconfigured with every problem at once.
    """
    chosen = path or environ.get(PATH_VARIABLE) or DEFAULT_PATH
    try:
        table = tomllib.loads(Path(chosen).read_text(encoding="utf-8"))
    except OSError as error:
        raise Misconfigured(
            Code.MISCONFIGURED,
            f"cannot read {chosen}: {error.strerror}",
            hint=f"write it (docs/configuration.md), let this user read it, or name another with --config or {PATH_VARIABLE}",
        ) from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and what it runs into
        raise Misconfigured(Code.MISCONFIGURED, f"{chosen} is not TOML: {error}", hint="mend the line it names") from error
    problems: list[Problem] = []
    config = parse(table, problems, environ)
    if problems:
        raise Misconfigured(
            Code.MISCONFIGURED, describe(chosen, problems), hint="docs/configuration.md lists every key; nothing was changed"
        )
    return config


def describe(source: str, problems: list[Problem]) -> str:
    """All problems of a file as one message, a line each."""
    count = f"{len(problems)} problem{'s' if len(problems) > 1 else ''}"
    return "\n".join([f"{count} in {source}:", *(f"  {problem}" for problem in problems)])


def parse(table: dict[str, object], problems: list[Problem], environ: Mapping[str, str] = os.environ) -> Config:
    """Make a Config of a TOML document; problems are added to the list."""
    config = schema.read_table(Config, table, "", problems)
    _check_places(config.repositories, problems)
    check_services(config.services, problems)
    check_shared(config.shared, problems)
    if config.revision.signed and config.revision.follow == "branch":
        problems.append(Problem("revision.signed", 'must be false with follow = "branch": only tags are signed'))
    if config.revision.follow == "rollout" and not config.consul.enabled:
        problems.append(Problem("revision.follow", 'must not be "rollout" with [consul] enabled = false: it has the rollouts'))
    host = config.app.host or environ.get(HOST_VARIABLE) or socket.gethostname()
    try:
        _host(host)
    except WrongValueError as wrong:
        problems.append(Problem("app.host", f"{wrong}, not {host!r} of {HOST_VARIABLE} or the hostname"))
    # A lone repository fills the release.
    repositories = tuple(replace(repository, into=repository.into or ".") for repository in config.repositories)
    return replace(config, app=replace(config.app, host=host), repositories=repositories, own=frozenset(table))


def _check_places(repositories: tuple[Repository, ...], problems: list[Problem]) -> None:
    several = len(repositories) > 1
    for i, repository in enumerate(repositories):
        if several and not repository.into:
            problems.append(Problem(f"repository[{i}].into", "is required where there are several repositories"))
    for a, b in schema.overlapping([repository.into for repository in repositories if repository.into]):
        problems.append(Problem("repository.into", f'"{a}" and "{b}" overlap; each needs a place of its own'))
    _check_names("repository.name", [repository.name for repository in repositories], problems)


def _check_names(path: str, names: list[str], problems: list[Problem]) -> None:
    twice = sorted({name for name in names if name and names.count(name) > 1})
    problems += [Problem(path, f'"{name}" is used twice') for name in twice]


def check_services(services: tuple[Service, ...], problems: list[Problem]) -> None:
    """Add what is wrong with services as a whole: names used twice, probes of no or several kinds."""
    _check_names("service.name", [service.name for service in services], problems)
    for i, service in enumerate(services):
        for j, probe in enumerate(service.probes):
            if sum(map(bool, (probe.http, probe.tcp, probe.command))) != 1:
                problems.append(Problem(f"service[{i}].probe[{j}]", "must have exactly one of http, tcp and exec"))


def check_shared(shared: Shared, problems: list[Problem]) -> None:
    """Add the shared paths that are both a file and a directory, or one within the other."""
    for a, b in schema.overlapping([*shared.directories, *shared.files]):
        problems.append(Problem("shared", f'"{a}" and "{b}" overlap'))
