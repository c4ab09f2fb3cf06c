"""Every environment variable that the agent reads, sets or withholds; other modules take the names from here."""

from __future__ import annotations

from enum import Enum, StrEnum, auto
from typing import Self

DEFAULT_CONFIG = "/etc/release-agent.toml"  # if RELEASE_AGENT_CONFIG is not set


class Exposure(Enum):
    """Who may see a variable."""

    OPEN = auto()
    URL = auto()  # all; hooks and exec probes get the URL without its user and password
    WITHHELD = auto()  # all except hooks and exec probes
    SECRET = auto()  # as WITHHELD; logs, records and reports have "[secret]" instead of the value
    SECRET_FILE = auto()  # as SECRET, for the content of the file that it names


class Variable(StrEnum):
    """The name of a variable, with its reader, its meaning and its exposure.

    The reader is a module of this package, or another program, such as Consul's own tools.
    """

    reader: str
    meaning: str
    exposure: Exposure

    def __new__(cls, name: str, reader: str, meaning: str, exposure: Exposure = Exposure.OPEN) -> Self:
        """Make a member, which is its name as a string."""
        member = str.__new__(cls, name)
        member._value_ = name
        member.reader, member.meaning, member.exposure = reader, meaning, exposure
        return member

    # The agent's own
    RELEASE_AGENT_CONFIG = "RELEASE_AGENT_CONFIG", "config.load", "path of the configuration, if --config is not given"
    RELEASE_AGENT_HOST = "RELEASE_AGENT_HOST", "config.load", "name of this host, if [app] host is not set"
    RELEASE_AGENT_REQUEST = (
        "RELEASE_AGENT_REQUEST",
        "request",
        "request of supervisor's plugin to the program it starts, as JSON",
        Exposure.WITHHELD,
    )

    # Set by supervisord for its programs, or by the caller
    SUPERVISOR_SERVER_URL = (
        "SUPERVISOR_SERVER_URL",
        "services.rpc",
        "URL of supervisord's RPC, if [supervisor] url is not set",
        Exposure.URL,
    )
    SUPERVISOR_USERNAME = "SUPERVISOR_USERNAME", "services.rpc", "user of supervisord's RPC", Exposure.WITHHELD
    SUPERVISOR_PASSWORD = "SUPERVISOR_PASSWORD", "services.rpc", "password of supervisord's RPC", Exposure.SECRET
    SUPERVISOR_GROUP_NAME = "SUPERVISOR_GROUP_NAME", "plugin.answers", "the service that supervisord started a process for"
    SUDO_USER = "SUDO_USER", "cli.call", "the person who typed a command through sudo, if --by is not given"
    SUPERVISOR_PROCESS_NAME = "SUPERVISOR_PROCESS_NAME", "cli.call", "set by supervisord; the run's trigger is then supervisor"

    # As HashiCorp's own tools have them
    CONSUL_HTTP_ADDR = (
        "CONSUL_HTTP_ADDR",
        "consul.connection",
        "address of the Consul agent; if it is set, rollouts are recorded in Consul",
        Exposure.URL,
    )
    CONSUL_HTTP_SSL = "CONSUL_HTTP_SSL", "consul.connection", "whether to use TLS"
    CONSUL_HTTP_SSL_VERIFY = "CONSUL_HTTP_SSL_VERIFY", "consul.connection", "whether to check the server's certificate"
    CONSUL_CACERT = "CONSUL_CACERT", "consul.connection", "file of the trusted authorities"
    CONSUL_CAPATH = "CONSUL_CAPATH", "consul.connection", "directory of the trusted authorities"
    CONSUL_CLIENT_CERT = "CONSUL_CLIENT_CERT", "consul.connection", "file of the client's certificate"
    CONSUL_CLIENT_KEY = "CONSUL_CLIENT_KEY", "consul.connection", "file of the client's key"
    CONSUL_TLS_SERVER_NAME = "CONSUL_TLS_SERVER_NAME", "consul.connection", "name in the server's certificate"
    CONSUL_HTTP_TOKEN = "CONSUL_HTTP_TOKEN", "consul.connection", "token for each call", Exposure.SECRET
    CONSUL_HTTP_TOKEN_FILE = "CONSUL_HTTP_TOKEN_FILE", "consul.connection", "file of the token", Exposure.SECRET_FILE
    CONSUL_HTTP_AUTH = "CONSUL_HTTP_AUTH", "consul", "user and password of Consul's own tools", Exposure.WITHHELD

    # As OpenSSL has it
    SSL_CERT_FILE = "SSL_CERT_FILE", "services.probes", "file of the authorities that https probes trust"

    # rich also reads them.
    NO_COLOR = "NO_COLOR", "system.terminal", "if it is not empty, nothing is coloured"  # https://no-color.org
    TERM = "TERM", "system.terminal", "kind of the terminal; if it is dumb or not set, nothing is coloured"
    XDG_STATE_HOME = "XDG_STATE_HOME", "rollout.record.file", "directory of the records of rollouts without Consul"

    # Set by the agent for hooks and exec probes
    RELEASE_ACTION = "RELEASE_ACTION", "hooks", "deploy, rollback or recover"
    RELEASE_ID = "RELEASE_ID", "hooks", "id of the run"
    RELEASE_BY = "RELEASE_BY", "hooks", "the person who requested the run, empty if unknown"
    RELEASE_APP = "RELEASE_APP", "hooks", "[app] name"
    RELEASE_ENVIRONMENT = "RELEASE_ENVIRONMENT", "hooks", "[app] environment"
    RELEASE_HOST = "RELEASE_HOST", "hooks", "name of this host"
    RELEASE_NAME = "RELEASE_NAME", "hooks", "name of the release"
    RELEASE_NUMBER = "RELEASE_NUMBER", "hooks", "number of the release"
    RELEASE_REVISION = "RELEASE_REVISION", "hooks", "revision of the release"
    RELEASE_COMMIT = (
        "RELEASE_COMMIT",
        "hooks",
        "commit of the hook's own repository; RELEASE_COMMIT_NAME: that of repository NAME",
    )
    RELEASE_PREVIOUS = "RELEASE_PREVIOUS", "hooks", "name of the release that was live before the run"
    RELEASE_ROOT = "RELEASE_ROOT", "hooks", "[app] root"
    RELEASE_SHARED = "RELEASE_SHARED", "hooks", "directory of the shared paths"
    RELEASE_DIRECTORY = "RELEASE_DIRECTORY", "hooks", "directory of the release's files now"
    RELEASE_PATH = "RELEASE_PATH", "hooks", "directory of the release's files once it is live"

    # Set by the plugin
    RELEASE_REHEARSAL = "RELEASE_REHEARSAL", "plugin.rehearsal", "1 in the copy of a process that is rehearsed"

    # Set also for the commands of a service
    RELEASE_SERVICE = "RELEASE_SERVICE", "deploy.switch.traffic", "name of the service"
    RELEASE_PROCESS = "RELEASE_PROCESS", "deploy.switch.traffic", "name of the process in its group"
    RELEASE_PROCESS_NUM = "RELEASE_PROCESS_NUM", "deploy.switch.traffic", "digits at the end of the process's name"

    # Set also for before_rollback and after_failure
    RELEASE_TARGET = "RELEASE_TARGET", "deploy.switch.leaving", "name of the release that a rollback goes to"
    RELEASE_OUTCOME = "RELEASE_OUTCOME", "deploy.run", "outcome of the run"
    RELEASE_ERROR_CODE = "RELEASE_ERROR_CODE", "deploy.run", "code of the error"
    RELEASE_ERROR = "RELEASE_ERROR", "deploy.run", "message of the error"

    # Set for the command of `rollout start --gate`
    ROLLOUT_ID = "ROLLOUT_ID", "rollout.checkpoint", "id of the rollout"
    ROLLOUT_WAVE = "ROLLOUT_WAVE", "rollout.checkpoint", "number of the finished wave, from 1"
    ROLLOUT_HOSTS = "ROLLOUT_HOSTS", "rollout.checkpoint", "names of the hosts of that wave, separated by spaces"
    ROLLOUT_REVISION = "ROLLOUT_REVISION", "rollout.checkpoint", "revision of the rollout"


WITHHELD = frozenset(variable for variable in Variable if variable.exposure not in (Exposure.OPEN, Exposure.URL))
URLS = frozenset(variable for variable in Variable if variable.exposure is Exposure.URL)
# These differ for each release, so the output of a command that reads one of them is not reusable.
OF_ONE_RELEASE = (
    Variable.RELEASE_DIRECTORY,
    Variable.RELEASE_PATH,
    Variable.RELEASE_NAME,
    Variable.RELEASE_NUMBER,
    Variable.RELEASE_ID,
)
