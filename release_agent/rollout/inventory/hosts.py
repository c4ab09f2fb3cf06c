"""Read the hosts of a rollout from the command line or a fleet.toml, and filter them."""

from __future__ import annotations

import ipaddress
import re
from collections import Counter
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from release_agent.config import readers, schema, toml
from release_agent.config.load import describe
from release_agent.config.readers import SecretInFileError, WrongValueError
from release_agent.config.schema import Problem, section, sections, setting
from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory import order
from release_agent.rollout.model import InventoryHost
from release_agent.system.disk import read_regular
from release_agent.system.logs import LARGEST_SECRET

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

PORT = 9001  # the port in supervisord's documentation

_HOST_NAME = re.compile(r"[a-z0-9_]([a-z0-9_.-]*[a-z0-9_.])?")
_name = readers.matching(r"[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}", 'letters, digits, ".", "_", ":" and "-"')
_word = readers.matching(r"|[A-Za-z0-9][A-Za-z0-9_.:-]{0,254}", 'letters, digits, ".", "_", ":" and "-"')
_user = readers.matching(r"[^:\x00-\x1f\x7f]*", 'a user without ":" and control characters')  # as HTTP has it
_web = readers.url("http", "https")
LARGEST = 1 << 22  # bytes of a file with hosts
_SHOWN = 5  # names of hosts in a hint


@readers.takes(_web.json_schema)
def address(value: object) -> str:
    """Read ``http://host:port`` or https, a reader of the schema; the default port is 9001, also for https.

    Returns only scheme, host in small letters and port; refuses a path, which would be unused, and credentials.
    """
    message = "must be the address of a supervisord, such as http://10.0.0.11:9001"
    try:
        parts = urlsplit(_web(value))
        host, port = parts.hostname or "", parts.port
    except SecretInFileError:
        raise
    except ValueError as error:  # WrongValueError, and what urlsplit raises
        raise WrongValueError(message) from error
    bare = parts.path in ("", "/") and not parts.query and not parts.fragment and not parts.netloc.endswith(":")
    if not bare or port == 0 or not (_HOST_NAME.fullmatch(host) or _is_ipv6(host)):
        raise WrongValueError(message)
    return f"{parts.scheme}://{f'[{host}]' if ':' in host else host}:{port or PORT}"


def no_address(path: str, wrong: WrongValueError, value: str) -> Problem:
    """Make the problem of a value that is no address; the value is not repeated if it has credentials."""
    return Problem(path, str(wrong) if isinstance(wrong, SecretInFileError) else f"{wrong}, not {value!r}")


def _is_ipv6(host: str) -> bool:
    try:
        return not ipaddress.IPv6Address(host).scope_id  # an interface's name has a meaning on one machine only
    except ValueError:
        return False


@dataclass(frozen=True)
class Credentials:
    """``[fleet]``: the credentials for the hosts' RPC."""

    user: str = setting(_user, default="", doc="the user of the hosts' RPC")
    password_file: str = setting(
        readers.text, default="", doc="a file with the password; a relative path is relative to this file's directory"
    )


@dataclass(frozen=True)
class ListedHost:
    """``[[host]]``: one host."""

    name: str = setting(_name, doc="name in reports")
    url: str = setting(address, doc="address of its supervisor's RPC, such as http://10.0.0.11:9001")
    service: str = setting(_word, default="", doc="service that runs there; `--limit service=PATTERN`")
    zone: str = setting(_word, default="", doc="zone of the host; `--limit zone=PATTERN`")


@dataclass(frozen=True)
class ListedService:
    """``[service.NAME]``: a service of hosts."""

    requires: tuple[str, ...] = setting(
        readers.each(_name), default=(), doc="services whose hosts finish before those of this one start"
    )


@dataclass(frozen=True)
class FleetToml:
    """A whole fleet.toml except ``[service.NAME]``, whose names are free."""

    fleet: Credentials = section(Credentials, doc="credentials")
    hosts: tuple[ListedHost, ...] = sections(ListedHost, key="host", required=True, doc="one or more [[host]]")


@dataclass(frozen=True)
class Fleet:
    """The content of a fleet.toml; ``user`` and ``password_file`` (a path) are empty if they are missing."""

    targets: list[InventoryHost]
    user: str
    password_file: str


def from_arguments(hosts: Sequence[str]) -> list[InventoryHost]:
    """Make targets of ``10.0.0.11``, ``10.0.0.12:9001``, ``[::1]:9001``, ``::1``, ``api-1.example.org`` or an http(s) URL.

    The name of a target is the given one without its scheme; the default port is 9001. All have rank 0, in the given order.
    Raises Misconfigured (10) with every problem at once: no address, credentials (not repeated), a host given twice.
    """
    problems: list[Problem] = []
    targets: list[InventoryHost] = []
    for i, host in enumerate(hosts):
        named = host.partition("://")[2] or host
        given = host if "://" in host else f"http://[{host}]" if _is_ipv6(host) else f"http://{host}"
        try:
            targets.append(InventoryHost(name=named.removesuffix("/"), url=address(given)))
        except WrongValueError as wrong:
            problems.append(no_address(f"host[{i}]", wrong, host))
    _check_distinct(targets, problems)
    _refuse("the hosts given", problems, "write a host as an address or a name, with or without a port")
    return targets


def from_file(path: str | Path) -> Fleet:
    """Read a fleet.toml; raises Misconfigured (10) with every problem at once."""
    try:
        table = toml.parse(read_regular(Path(path), LARGEST).decode())
    except OSError as error:
        message = f"cannot read {path}: {error.strerror}"
        raise Misconfigured(Code.INVENTORY_INVALID, message, hint="write the file, or let this user read it") from error
    except (ValueError, RecursionError) as error:  # TOMLDecodeError, and other errors of the parser
        message = f"{path} is not TOML: {error}"
        raise Misconfigured(Code.INVENTORY_INVALID, message, hint="fix the line in the message") from error
    problems: list[Problem] = []
    described = table.pop("service", {})
    read = schema.read_table(FleetToml, table, "", problems)
    ranks = _ranks(described, {host.service for host in read.hosts if host.service}, problems)
    targets = [
        InventoryHost(host.name, host.url, host.service, host.zone, rank=ranks.get(host.service, 0)) for host in read.hosts
    ]
    _check_distinct(targets, problems)
    _refuse(
        str(path),
        problems,
        "it has [fleet] with user and password_file, [[host]] with name, url, service and zone, and [service.NAME] with requires",
    )
    file = read.fleet.password_file
    return Fleet(targets, read.fleet.user, str(Path(path).parent / file) if file else "")


def _ranks(described: object, services: Collection[str], problems: list[Problem]) -> dict[str, int]:
    """Return the rank of each service of hosts, by ``[service.NAME]``."""
    if not isinstance(described, dict):
        problems.append(Problem("service", "must be tables, [service.NAME]"))
        return {}
    requires: dict[str, tuple[str, ...]] = dict.fromkeys(services, ())
    for name, table in described.items():
        path = f"service.{name}"
        others = schema.read_table(ListedService, table, path, problems).requires
        unknown = [other for other in (name, *others) if other not in services]
        problems += [Problem(path, f'no [[host]] has the service "{other}"') for other in unknown]
        requires[name] = tuple(other for other in others if other in services)

    def circle(way: Sequence[str]) -> None:
        problems.append(Problem(f"service.{way[0]}.requires", f"is circular: {' -> '.join(way)}"))

    return order.ranks(requires, services, circle)


def password(path: str | Path) -> str:
    """Return the content of a password file without one newline at its end; raises Misconfigured (10) without the password."""
    try:
        held = read_regular(Path(path), LARGEST_SECRET).decode()
    except OSError as error:
        wrong = f"cannot read the password file {path}: {error.strerror}"
    except UnicodeDecodeError:  # drop the error, which contains the password
        wrong = f"the password file {path} is not UTF-8"
    else:
        held = held.removesuffix("\n").removesuffix("\r")
        if held:
            return held
        wrong = f"the password file {path} is empty"
    raise Misconfigured(Code.INVENTORY_INVALID, wrong, hint="write only the password into the file, and let this user read it")


def pairs(given: Sequence[str]) -> dict[str, str]:
    """Read ``KEY=VALUE``, each with a key of its own; raises Misconfigured (10) with every problem at once."""
    read: dict[str, str] = {}
    problems: list[Problem] = []
    for i, pair in enumerate(given):
        key, sign, value = pair.partition("=")
        if not key or not sign:
            problems.append(Problem(f"pair[{i}]", f"must be KEY=VALUE, not {pair!r}"))
        elif read.setdefault(key, value) != value:
            problems.append(Problem(f"pair[{i}]", f'"{key}" is {read[key]!r} already, and cannot also be {value!r}'))
    _refuse("the pairs given", problems, "write each as KEY=VALUE, for example region=eu")
    return read


def select(targets: Sequence[InventoryHost], limit: Sequence[str], exclude: Sequence[str]) -> list[InventoryHost]:
    """Return the targets that ``limit`` selects (all if it is empty) without those of ``exclude``, in order.

    Each text is one or more shell patterns, with commas between: of names, ``service=PATTERN`` or ``zone=PATTERN``.
    Raises Misconfigured (10) for a pattern without a match, also for an empty one. So a typing error deploys
    neither to all hosts nor to none. With Code.FLEET_EMPTY if no host is left.
    """
    if not targets:
        raise Misconfigured(Code.FLEET_EMPTY, "there is no host in the inventory", hint="name hosts, or another inventory")
    options = {"--limit": _patterns(limit), "--exclude": _patterns(exclude)}
    problems = [
        Problem(option, f'"{pattern}" matches no host')
        for option, patterns in options.items()
        for pattern in patterns
        if not any(_matches(target, pattern) for target in targets)
    ]
    names = ", ".join(target.name for target in targets[:_SHOWN]) + (", …" if len(targets) > _SHOWN else "")
    _refuse("the choice of hosts", problems, f'the inventory has {names}; select by name, "service=…" or "zone=…"')
    wanted, unwanted = options.values()
    left = [
        target
        for target in targets
        if (not limit or any(_matches(target, pattern) for pattern in wanted))
        and not any(_matches(target, pattern) for pattern in unwanted)
    ]
    if not left:
        message = f"none of {len(targets)} hosts is left to deploy to"
        raise Misconfigured(Code.FLEET_EMPTY, message, hint="change --limit or --exclude: together they leave no host")
    return left


def _patterns(given: Sequence[str]) -> list[str]:
    return [pattern.strip() for several in given for pattern in several.split(",")]


def _matches(target: InventoryHost, pattern: str) -> bool:
    kind, sign, of_kind = pattern.partition("=")
    if sign and kind in ("service", "zone"):
        value = target.service if kind == "service" else target.zone
        return value != "" and fnmatchcase(value, of_kind)
    return target.name == pattern or fnmatchcase(target.name, pattern)  # a name may have brackets: [::1]:9001


def _check_distinct(targets: Sequence[InventoryHost], problems: list[Problem]) -> None:
    for key in ("name", "url"):
        uses = Counter(getattr(target, key) for target in targets)
        twice = sorted(value for value, count in uses.items() if value and count > 1)
        problems += [Problem(f"host.{key}", f'"{value}" is used twice') for value in twice]


def _refuse(source: str, problems: list[Problem], hint: str) -> None:
    if problems:
        raise Misconfigured(Code.INVENTORY_INVALID, describe(source, problems), hint=hint)
