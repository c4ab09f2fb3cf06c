"""``release-agent.toml`` as frozen dataclasses; they are the schema (docs/reference/configuration.md)."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import StrEnum
from signal import Signals

from release_agent.config import readers
from release_agent.config.readers import WrongValueError
from release_agent.config.schema import optional_section, section, sections, setting
from release_agent.health import process_number

DEFAULT_HOOK_TIMEOUT = 600.0
DEFAULT_PREFIX = "release-agent"  # prefix of the keys in Consul
DEFAULT_PROBE_TIMEOUT = 2.0

# A DNS label: it becomes <name>.service.consul.
app_name = readers.matching(r"[A-Za-z0-9]([A-Za-z0-9-]{0,61}[A-Za-z0-9])?", "letters, digits and hyphens: it becomes a DNS name")
_word = environment_name = readers.matching(r"[A-Za-z0-9]([A-Za-z0-9_.-]{0,62})", 'letters, digits, ".", "_" and "-"')
host_name = readers.matching(r"|[A-Za-z0-9]([A-Za-z0-9_.-]{0,252})", 'a host name, or "" for the machine\'s own')
_key = readers.matching(r"[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*", 'a key in Consul without "/" at its ends, such as "release-agent"')
_group = readers.matching(r"[^\s:,;\[\]]+", "the name of a supervisor group")
_branch = readers.matching(r"[^\s~^:?*\[\\\x00-\x1f-][^\s~^:?*\[\\\x00-\x1f]*", 'a branch, such as "main" or "origin/main"')
PROCESS_PLACEHOLDERS = ("{process_num}", "{process_name}")
RELEASE_PLACEHOLDERS = ("{revision}", "{commit}", "{release}")
_FORBIDDEN_SIGNALS = {"KILL", "STOP"}
_SERVER_ERRORS_END = 599


class RestartKind(StrEnum):
    """The ways in which a service changes to a new release."""

    RESTART = "restart"
    ROLLING = "rolling"
    SIGNAL = "signal"
    NONE = "none"


@dataclass(frozen=True)
class Restart:
    """How a service changes to a new release; ``signal`` is set for the kind of that name."""

    kind: RestartKind = RestartKind.RESTART
    signal: Signals | None = None

    def __str__(self) -> str:
        """Return the way as the file has it: ``restart``, ``signal:HUP`` or ``none``."""
        return f"{self.kind}:{self.signal.name.removeprefix('SIG')}" if self.signal else str(self.kind)


_RESTARTS = (RestartKind.RESTART, RestartKind.ROLLING, RestartKind.NONE)
_SIGNALS = sorted({name.removeprefix("SIG") for name in Signals.__members__} - _FORBIDDEN_SIGNALS)


@readers.takes({"enum": [*map(str, _RESTARTS), *(f"{RestartKind.SIGNAL}:{name}" for name in _SIGNALS)]}, str)
def _restart(value: object) -> Restart:
    if value in _RESTARTS:
        return Restart(RestartKind(str(value)))
    kind, _, name = str(value).partition(":")
    if kind == RestartKind.SIGNAL and name in _SIGNALS:
        return Restart(RestartKind.SIGNAL, Signals[f"SIG{name}"])
    message = 'must be "restart", "signal:HUP" (or another signal), "rolling" or "none"'
    raise WrongValueError(message)


@dataclass(frozen=True)
class App:
    """``[app]``: the app of this container and the root of its releases."""

    name: str = setting(app_name, doc="the service's name in Consul")
    environment: str = setting(environment_name, doc='"production", "staging", "dev" …')
    root: str = setting(readers.absolute_path, doc="the directory of `current`, `releases` and `shared`")
    host: str = setting(host_name, default="", doc="this container's name; default: RELEASE_AGENT_HOST, or the hostname")
    rpc_url: str = setting(readers.url("http", "https"), default="", doc="address at which others reach this supervisor's RPC")
    address: str = setting(readers.text, default="", doc="address of the service in Consul; default: the container's own")
    port: int = setting(readers.port, default=0, doc="port of the service in Consul; 0: none")
    keep: int = setting(
        readers.whole(1, 1000), default=5, doc="number of healthy releases to keep; current and previous always stay"
    )


@dataclass(frozen=True)
class Repository:
    """``[[repository]]``: one git repository, mounted read-only."""

    name: str = setting(_word, doc="name in releases and reports")
    path: str = setting(readers.absolute_path, doc="mount point of a checkout or a bare repository")
    into: str = setting(readers.inner_path, default="", doc="place in the release; required if there are several repositories")
    subdirectory: str = setting(
        readers.inner_path,
        default="",
        doc="the only directory of it that goes into a release; default: all of it",
        optional_in_code=True,
    )


@dataclass(frozen=True)
class Revision:
    """``[revision]``: the revision of a deployment that names none."""

    follow: str = setting(readers.one_of("tag", "branch", "pin", "rollout"), default="tag", doc="tag, branch, pin or rollout")
    pattern: str = setting(readers.required_text, default="v*", doc="tags that count as versions, as a shell pattern")
    prereleases: bool = setting(readers.boolean, default=False, doc="true: a pre-release such as v1.4.0-rc.2 counts")
    branch: str = setting(_branch, default="main", doc='the branch; a remote\'s branch is written "origin/main"')
    signed: bool = setting(readers.boolean, default=False, doc="true: deploy only tags signed by an allowed signer")
    allowed_signers: str = setting(
        readers.absolute_path, default="/etc/release-agent/allowed_signers", doc="the signers, in ssh-keygen's format"
    )
    revoked_signers: str = setting(
        readers.optional_absolute_path, default="", doc="revoked keys, in ssh-keygen's format; empty: none"
    )
    poll: float | None = setting(
        readers.optional_duration, default=None, doc="interval at which the monitor looks for a new revision; empty: never"
    )


@dataclass(frozen=True)
class Shared:
    """``[shared]``: paths that outlive a release, linked into each."""

    directories: tuple[str, ...] = setting(readers.inner_paths, default=(), doc="directories under `<root>/shared`")
    files: tuple[str, ...] = setting(readers.inner_paths, default=(), doc="files under `<root>/shared`")


@dataclass(frozen=True)
class Hook:
    """One command of ``[hooks]``; ``cwd`` is a path within the release."""

    run: str = setting(readers.required_text, doc="a command for `/bin/sh -euc`")
    timeout: float = setting(
        readers.positive_duration, default=DEFAULT_HOOK_TIMEOUT, doc="longest time of the command and its process group"
    )
    umask: int | None = setting(
        readers.optional_umask,
        default=None,
        doc='mode bits that its files do not get, such as "002"; empty: the agent\'s own umask',
    )
    cwd: str = "."


@dataclass(frozen=True)
class BuildHook(Hook):
    """One command of ``[[hooks.build]]``; its outputs may be cached for the next release with the same inputs."""

    cache: tuple[str, ...] = setting(
        readers.inner_paths, default=(), doc="its inputs: files and directories; needs `makes`", optional_in_code=True
    )
    makes: tuple[str, ...] = setting(
        readers.inner_paths, default=(), doc="its outputs, restored if it ran with the same inputs before", optional_in_code=True
    )


@dataclass(frozen=True)
class Hooks:
    """``[hooks]``: commands run in the release directory."""

    build: tuple[BuildHook, ...] = sections(BuildHook, doc="make the release: compile, install dependencies")
    before_publish: tuple[Hook, ...] = sections(Hook, doc="last step before the swap")
    after_publish: tuple[Hook, ...] = sections(Hook, doc="between the swap and the restart")
    after_deploy: tuple[Hook, ...] = sections(Hook, doc="after the release is proved healthy; a failure still rolls back")
    before_rollback: tuple[Hook, ...] = sections(Hook, doc="in the failed release, before a rollback changes anything")
    after_failure: tuple[Hook, ...] = sections(
        Hook, doc="notify about a run that failed after it had started to change something"
    )


@dataclass(frozen=True)
class Probe:
    """One of ``http``, ``tcp`` and ``exec``; ``cwd`` is a path within the release.

    ``commit``: the commit of its repository in the release that is probed, for ``expect``.
    """

    http: str = setting(
        readers.templated(readers.url("http", "https"), *PROCESS_PLACEHOLDERS),
        default="",
        doc="a URL that must answer with `status`",
    )
    status: int = setting(readers.whole(100, _SERVER_ERRORS_END), default=200, doc="the status `http` must answer with")
    tcp: str = setting(
        readers.templated(readers.endpoint, *PROCESS_PLACEHOLDERS), default="", doc='"host:port" that must accept a connection'
    )
    command: str = setting(readers.text, default="", key="exec", doc="a command that must exit with 0")
    timeout: float = setting(readers.positive_duration, default=DEFAULT_PROBE_TIMEOUT, doc="longest time of one try")
    cwd: str = "."
    expect: str = setting(readers.text, default="", doc="text that the answer to `http` must contain", optional_in_code=True)
    commit: str = ""

    @property
    def of_each_process(self) -> bool:
        """Return whether the agent runs the probe for each process of the service."""
        return any(placeholder in self.http + self.tcp + self.command for placeholder in PROCESS_PLACEHOLDERS)

    @property
    def names_release(self) -> bool:
        """Return whether only a process of the release can give the expected answer."""
        return any(placeholder in self.expect for placeholder in RELEASE_PLACEHOLDERS)

    def of_process(self, name: str) -> Probe:
        """Return the probe with the values of one process."""
        told = {key: getattr(self, key) for key in ("http", "tcp", "command")}
        for placeholder, value in zip(PROCESS_PLACEHOLDERS, (process_number(name), name), strict=True):
            told = {key: text.replace(placeholder, value) for key, text in told.items()}
        return replace(self, **told)


@dataclass(frozen=True)
class RehearsalProbe:
    """A probe of ``[service.rehearsal]``, for the copy."""

    http: str = setting(readers.templated(readers.url("http", "https"), "{port}"), default="", doc="a URL with `{port}` in it")
    status: int = setting(readers.whole(100, _SERVER_ERRORS_END), default=200, doc="the status `http` must answer with")
    tcp: str = setting(readers.templated(readers.endpoint, "{port}"), default="", doc='"127.0.0.1:{port}"')
    command: str = setting(readers.text, default="", key="exec", doc="a command that must exit with 0")
    timeout: float = setting(readers.positive_duration, default=DEFAULT_PROBE_TIMEOUT, doc="longest time of one try")
    cwd: str = "."
    expect: str = setting(readers.text, default="", doc="text that the answer to `http` must contain", optional_in_code=True)


@dataclass(frozen=True)
class Rehearsal:
    """``[service.rehearsal]``: a copy of one process is proved on the new release before anything live changes."""

    environment: tuple[tuple[str, str], ...] = setting(
        readers.environment, default=(), doc="variables that make the copy listen elsewhere: `{port}`, `{socket}`"
    )
    command: str = setting(readers.text, default="", doc="command of the copy; empty: the service's own")
    program: str = setting(readers.text, default="", doc="program of the group to copy; empty: the first")
    deadline: float = setting(readers.positive_duration, default=30.0, doc="all probes must pass within this time")
    probes: tuple[RehearsalProbe, ...] = sections(
        RehearsalProbe, key="probe", doc="default: the service's own `http` and `tcp` probes, at `{port}`"
    )

    def means(self, process: str) -> bool:
        """Return whether a process of the group, by its name, is of the program that is copied: ``web``, ``web_01``."""
        return not self.program or re.fullmatch(re.escape(self.program) + r"([-_.]?\d+)?", process) is not None


@dataclass(frozen=True)
class Service:
    """``[[service]]``: a supervisor group that runs from ``current``. ``cwd``: the path within the release for its commands."""

    name: str = setting(_group, doc="the supervisor group")
    restart: Restart = setting(_restart, default=Restart(), doc='"restart", "rolling", "signal:HUP" or "none"')
    probes: tuple[Probe, ...] = sections(Probe, key="probe", doc="checks of the service, besides supervisor's own state")
    rehearsal: Rehearsal | None = optional_section(Rehearsal, doc="with this section, prove a copy first")
    after: tuple[str, ...] | None = setting(
        readers.each(_group), default=None, doc="services that must be healthy before this one starts; default: the one before it"
    )
    drain: float = setting(readers.duration, default=0.0, doc="time between `before_stop` and the stop", optional_in_code=True)
    before_stop: str = setting(
        readers.text,
        default="",
        doc="command for each process before it stops, in the old release",
        optional_in_code=True,
    )
    after_start: str = setting(
        readers.text, default="", doc="command for each process that was started and is healthy", optional_in_code=True
    )
    cwd: str = "."


@dataclass(frozen=True)
class HealthSettings:
    """``[health]``: when a release counts as healthy."""

    deadline: float = setting(readers.positive_duration, default=60.0, doc="all probes must pass within this time")
    stable_for: float = setting(readers.duration, default=3.0, doc="all probes must then pass for this long")
    watch: float | None = setting(
        readers.optional_duration,
        default=None,
        doc="time after a deployment in which the monitor still rolls it back; empty: none",
    )


@dataclass(frozen=True)
class MonitorSettings:
    """``[monitor]``: when the monitor ends the container."""

    exit_when: str = setting(
        readers.one_of("never", "fatal"), default="never", doc='"fatal": when supervisor has given up a service'
    )
    exit_after: float = setting(readers.positive_duration, default=30.0, doc="time that a service must be FATAL before that")


@dataclass(frozen=True)
class Supervisor:
    """``[supervisor]``: the address of its RPC."""

    url: str = setting(readers.url("unix", "http"), default="", doc="default: SUPERVISOR_SERVER_URL")


@dataclass(frozen=True)
class Consul:
    """``[consul]``: address, token and TLS come from the standard CONSUL_* variables."""

    enabled: bool = setting(readers.boolean, default=True, doc="false: report nothing")
    prefix: str = setting(_key, default=DEFAULT_PREFIX, doc="prefix of the keys in Consul's KV store")
    ttl: float = setting(readers.positive_duration, default=30.0, doc="time to live of the health check that `monitor` renews")
    deregister_after: float = setting(
        readers.positive_duration, default=600.0, doc="Consul removes the service of a container that is silent for this long"
    )


@dataclass(frozen=True)
class ReleaseSettings:
    """``[release]``: how the agent makes releases."""

    share: str = setting(
        readers.one_of("auto", "reflink", "hardlink", "copy"),
        default="auto",
        doc="how unchanged files are shared between releases",
    )
    cache_size: int = setting(readers.size, default=2 << 30, doc="largest size of the cached outputs of build hooks")


@dataclass(frozen=True)
class Metrics:
    """``[metrics]``: the address of the monitor's metrics for Prometheus."""

    listen: str = setting(readers.endpoint, default="", doc='"host:port" of the metrics that `monitor` serves; empty: none')


@dataclass(frozen=True)
class Config:
    """The whole file."""

    app: App = section(App, doc="the app of this container")
    repositories: tuple[Repository, ...] = sections(Repository, key="repository", required=True, doc="one or more [[repository]]")
    revision: Revision = section(Revision, doc="the revision of a bare deploy")
    shared: Shared = section(Shared, doc="paths that outlive releases")
    hooks: Hooks = section(Hooks, doc="commands")
    release: ReleaseSettings = section(ReleaseSettings, doc="how the agent makes releases")
    services: tuple[Service, ...] = sections(Service, key="service", doc="supervisor groups")
    health: HealthSettings = section(HealthSettings, doc="when a release is healthy")
    monitor: MonitorSettings = section(MonitorSettings, doc="when the monitor ends the container")
    supervisor: Supervisor = section(Supervisor, doc="supervisor's RPC")
    consul: Consul = section(Consul, doc="reports")
    metrics: Metrics = section(Metrics, doc="for Prometheus")
    # Sections that are in the file; they take precedence over a repository's release.toml.
    own: frozenset[str] = frozenset()

    @property
    def parts(self) -> dict[str, str]:
        """The directories of repositories of which a release has only one directory, by the repository's name."""
        return {repository.name: repository.subdirectory for repository in self.repositories if repository.subdirectory}
