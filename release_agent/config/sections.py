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
DEFAULT_PREFIX = "release-agent"  # of the keys in Consul
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
    """The ways in which a service gets onto a new release."""

    RESTART = "restart"
    ROLLING = "rolling"
    SIGNAL = "signal"
    NONE = "none"


@dataclass(frozen=True)
class Restart:
    """How a service gets onto a new release; ``signal`` belongs to the kind of that name."""

    kind: RestartKind = RestartKind.RESTART
    signal: Signals | None = None

    def __str__(self) -> str:
        """Return it as the file has it: ``restart``, ``signal:HUP`` or ``none``."""
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
    """``[app]``: what runs here and where its releases live."""

    name: str = setting(app_name, doc="the service's name in Consul")
    environment: str = setting(environment_name, doc='"production", "staging", "dev" …')
    root: str = setting(readers.absolute_path, doc="the directory of `current`, `releases` and `shared`")
    host: str = setting(host_name, default="", doc="this container's name; default RELEASE_AGENT_HOST, else the hostname")
    rpc_url: str = setting(readers.url("http", "https"), default="", doc="where others reach this supervisor's RPC")
    address: str = setting(readers.text, default="", doc="what Consul hands to others; default: the container's own")
    port: int = setting(readers.port, default=0, doc="likewise; 0: none")
    keep: int = setting(readers.whole(1, 1000), default=5, doc="healthy releases kept; current and previous never go")


@dataclass(frozen=True)
class Repository:
    """``[[repository]]``: one git repository, mounted read-only."""

    name: str = setting(_word, doc="its name in releases and reports")
    path: str = setting(readers.absolute_path, doc="where it is mounted: a checkout or a bare repository")
    into: str = setting(readers.inner_path, default="", doc="where in the release; required where there are several")
    subdirectory: str = setting(
        readers.inner_path, default="", doc="the directory of it that a release has; default: all of it", optional_in_code=True
    )


@dataclass(frozen=True)
class Revision:
    """``[revision]``: which revision a deployment takes if it names none."""

    follow: str = setting(readers.one_of("tag", "branch", "pin", "rollout"), default="tag", doc="tag, branch, pin or rollout")
    pattern: str = setting(readers.required_text, default="v*", doc="tags that count as versions, as a shell pattern")
    prereleases: bool = setting(readers.boolean, default=False, doc="true: v1.4.0-rc.2 counts")
    branch: str = setting(_branch, default="main", doc='the branch; a remote\'s branch is written "origin/main"')
    signed: bool = setting(readers.boolean, default=False, doc="true: only a tag signed by an allowed signer passes")
    allowed_signers: str = setting(
        readers.absolute_path, default="/etc/release-agent/allowed_signers", doc="the signers, in ssh-keygen's format"
    )
    revoked_signers: str = setting(
        readers.optional_absolute_path, default="", doc="keys that no longer count, in ssh-keygen's format; empty: none"
    )
    poll: float | None = setting(
        readers.optional_duration, default=None, doc="how often the monitor looks for something new; empty: never"
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
    timeout: float = setting(readers.positive_duration, default=DEFAULT_HOOK_TIMEOUT, doc="for its whole process group")
    umask: int | None = setting(
        readers.optional_umask, default=None, doc='what its files are not for, such as "002"; empty: as the agent\'s own'
    )
    cwd: str = "."


@dataclass(frozen=True)
class BuildHook(Hook):
    """One command of ``[[hooks.build]]``; what it makes may be kept for the next release with the same inputs."""

    cache: tuple[str, ...] = setting(
        readers.inner_paths, default=(), doc="its inputs: files and directories; needs `makes`", optional_in_code=True
    )
    makes: tuple[str, ...] = setting(
        readers.inner_paths, default=(), doc="its outputs, put in if it ran with the same inputs before", optional_in_code=True
    )


@dataclass(frozen=True)
class Hooks:
    """``[hooks]``: commands run in the release directory."""

    build: tuple[BuildHook, ...] = sections(BuildHook, doc="make the release: compile, install dependencies")
    before_publish: tuple[Hook, ...] = sections(Hook, doc="the last step that leaves the live release untouched")
    after_publish: tuple[Hook, ...] = sections(Hook, doc="between the swap and the restart")
    after_deploy: tuple[Hook, ...] = sections(Hook, doc="once proved healthy; a failure still rolls back")
    before_rollback: tuple[Hook, ...] = sections(Hook, doc="in the release that is left, before a rollback changes anything")
    after_failure: tuple[Hook, ...] = sections(Hook, doc="tell of a run that failed after it had begun to change something")


@dataclass(frozen=True)
class Probe:
    """One of ``http``, ``tcp`` and ``exec``; ``cwd`` is a path within the release."""

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
    timeout: float = setting(readers.positive_duration, default=DEFAULT_PROBE_TIMEOUT, doc="for one try")
    cwd: str = "."
    expect: str = setting(readers.text, default="", doc="what the answer to `http` must contain", optional_in_code=True)

    @property
    def of_each_process(self) -> bool:
        """Whether it is asked of each process of the service."""
        return any(placeholder in self.http + self.tcp + self.command for placeholder in PROCESS_PLACEHOLDERS)

    @property
    def names_release(self) -> bool:
        """Whether only a process that runs the release can give the answer."""
        return any(placeholder in self.expect for placeholder in RELEASE_PLACEHOLDERS)

    def of_process(self, name: str) -> Probe:
        """Return it as it is asked of one process."""
        told = {key: getattr(self, key) for key in ("http", "tcp", "command")}
        for placeholder, value in zip(PROCESS_PLACEHOLDERS, (process_number(name), name), strict=True):
            told = {key: text.replace(placeholder, value) for key, text in told.items()}
        return replace(self, **told)


@dataclass(frozen=True)
class RehearsalProbe:
    """A probe of ``[service.rehearsal]``, asked of the copy."""

    http: str = setting(readers.templated(readers.url("http", "https"), "{port}"), default="", doc="a URL with `{port}` in it")
    status: int = setting(readers.whole(100, _SERVER_ERRORS_END), default=200, doc="the status `http` must answer with")
    tcp: str = setting(readers.templated(readers.endpoint, "{port}"), default="", doc='"127.0.0.1:{port}"')
    command: str = setting(readers.text, default="", key="exec", doc="a command that must exit with 0")
    timeout: float = setting(readers.positive_duration, default=DEFAULT_PROBE_TIMEOUT, doc="for one try")
    cwd: str = "."
    expect: str = setting(readers.text, default="", doc="what the answer to `http` must contain", optional_in_code=True)


@dataclass(frozen=True)
class Rehearsal:
    """``[service.rehearsal]``: a copy of one process is proved on the new release before anything live changes."""

    environment: tuple[tuple[str, str], ...] = setting(
        readers.environment, default=(), doc="tells the copy to listen elsewhere: `{port}`, `{socket}`"
    )
    command: str = setting(readers.text, default="", doc="of the copy; empty: the service's own")
    program: str = setting(readers.text, default="", doc="which program of the group is copied; empty: the first")
    deadline: float = setting(readers.positive_duration, default=30.0, doc="all probes must pass before this")
    probes: tuple[RehearsalProbe, ...] = sections(
        RehearsalProbe, key="probe", doc="default: the service's own `http` and `tcp` probes, asked at `{port}`"
    )

    def means(self, process: str) -> bool:
        """Return whether a process of the group, by its name, is of the program that is copied: ``web``, ``web_01``."""
        return not self.program or re.fullmatch(re.escape(self.program) + r"([-_.]?\d+)?", process) is not None


@dataclass(frozen=True)
class Service:
    """``[[service]]``: a supervisor group that runs from ``current``; its commands run in ``cwd``, a path within the release."""

    name: str = setting(_group, doc="the supervisor group")
    restart: Restart = setting(_restart, default=Restart(), doc='"restart", "rolling", "signal:HUP" or "none"')
    probes: tuple[Probe, ...] = sections(Probe, key="probe", doc="what must be well besides supervisor's own state")
    rehearsal: Rehearsal | None = optional_section(Rehearsal, doc="prove a copy first, if there is this section")
    after: tuple[str, ...] | None = setting(
        readers.each(_group), default=None, doc="services that are through before this one begins; default: the one before it"
    )
    drain: float = setting(
        readers.duration, default=0.0, doc="wait this long between `before_stop` and the stop", optional_in_code=True
    )
    before_stop: str = setting(
        readers.text,
        default="",
        doc="run for each process before it is stopped, in the release that is left",
        optional_in_code=True,
    )
    after_start: str = setting(
        readers.text, default="", doc="run for each process that was started and is healthy", optional_in_code=True
    )
    cwd: str = "."


@dataclass(frozen=True)
class HealthSettings:
    """``[health]``: when a release counts as healthy."""

    deadline: float = setting(readers.positive_duration, default=60.0, doc="all probes must pass before this")
    stable_for: float = setting(readers.duration, default=3.0, doc="and go on passing this long")
    watch: float | None = setting(
        readers.optional_duration, default=None, doc="how long after a deployment the monitor still takes it back; empty: not"
    )


@dataclass(frozen=True)
class MonitorSettings:
    """``[monitor]``: when the monitor ends the container."""

    exit_when: str = setting(readers.one_of("never", "fatal"), default="never", doc='"fatal": when a service is beyond help')
    exit_after: float = setting(readers.positive_duration, default=30.0, doc="how long a service must be FATAL before that")


@dataclass(frozen=True)
class Supervisor:
    """``[supervisor]``: the address of its RPC."""

    url: str = setting(readers.url("unix", "http"), default="", doc="default: SUPERVISOR_SERVER_URL")


@dataclass(frozen=True)
class Consul:
    """``[consul]``: address, token and TLS come from the standard CONSUL_* variables."""

    enabled: bool = setting(readers.boolean, default=True, doc="false: nothing is reported")
    prefix: str = setting(_key, default=DEFAULT_PREFIX, doc="of the keys in KV")
    ttl: float = setting(readers.positive_duration, default=30.0, doc="of the health check that `monitor` keeps alive")
    deregister_after: float = setting(
        readers.positive_duration, default=600.0, doc="a container gone this long leaves the catalog"
    )


@dataclass(frozen=True)
class ReleaseSettings:
    """``[release]``: how releases are made."""

    share: str = setting(
        readers.one_of("auto", "reflink", "hardlink", "copy"),
        default="auto",
        doc="how unchanged files are shared between releases",
    )
    cache_size: int = setting(readers.size, default=2 << 30, doc="of what build hooks made, kept for the next release")


@dataclass(frozen=True)
class Metrics:
    """``[metrics]``: where the monitor serves Prometheus."""

    listen: str = setting(readers.endpoint, default="", doc='"host:port" that `monitor` serves them on; empty: not')


@dataclass(frozen=True)
class Config:
    """The whole file."""

    app: App = section(App, doc="what runs here")
    repositories: tuple[Repository, ...] = sections(Repository, key="repository", required=True, doc="one or more [[repository]]")
    revision: Revision = section(Revision, doc="what a bare deploy takes")
    shared: Shared = section(Shared, doc="what outlives releases")
    hooks: Hooks = section(Hooks, doc="commands")
    release: ReleaseSettings = section(ReleaseSettings, doc="how releases are made")
    services: tuple[Service, ...] = sections(Service, key="service", doc="supervisor groups")
    health: HealthSettings = section(HealthSettings, doc="when a release is healthy")
    monitor: MonitorSettings = section(MonitorSettings, doc="when the monitor ends the container")
    supervisor: Supervisor = section(Supervisor, doc="supervisor's RPC")
    consul: Consul = section(Consul, doc="reports")
    metrics: Metrics = section(Metrics, doc="for Prometheus")
    # Sections that the file itself has: they win over a repository's release.toml.
    own: frozenset[str] = frozenset()

    @property
    def parts(self) -> dict[str, str]:
        """The directories of repositories of which a release has one only, by the repository's name."""
        return {repository.name: repository.subdirectory for repository in self.repositories if repository.subdirectory}
