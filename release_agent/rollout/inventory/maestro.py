"""The hosts of a maestro-ng file: its instances, in the order in which its services require each other."""

from __future__ import annotations

import difflib
import ipaddress
import os
import re
import reprlib
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any

from release_agent.config.schema import Problem
from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory import order
from release_agent.rollout.inventory.maestro_problems import refusal
from release_agent.rollout.inventory.maestro_template import render
from release_agent.rollout.inventory.maestro_yaml import load
from release_agent.rollout.model import InventoryHost

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Iterator, Mapping, Sequence

PORT = 9001
NAMES = ("supervisor", "rpc")  # names for the port of supervisord's RPC, whatever its number

_PACKAGES = {"jinja2": "Jinja2", "yaml": "PyYAML"}
# Schema 1, maestro's default, differs only in `volumes`, which are not read here. maestro takes the last one for 2.
_SCHEMAS = (1, 2, {"version": 2})
_HOST = re.compile(r"[A-Za-z0-9_]([A-Za-z0-9_.-]*[A-Za-z0-9_.])?")
_INSTANCE = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*")
_SIDE = re.compile(r"([0-9]{1,5})(?:-([0-9]{1,5}))?(?:/(tcp|udp))?")
_HIGHEST_PORT = 65535
_SPEC = 'a port such as 9001 or "9001/tcp", a mapping in quotes, "9001:19001", or {exposed: 9001, external: 19001}'
# Aliases make a few lines of YAML a value that fills the memory: messages show only its start.
_SHOWN = reprlib.Repr()
_SHOWN.maxlevel, _SHOWN.maxstring = 2, 200

_Table = dict[str, Any]
_Mapped = tuple[range, range, str]  # the ports in the container, those of the host, the protocol


def read(
    path: str | Path, services: Sequence[str], port: int = PORT, environ: Mapping[str, str] = os.environ
) -> list[InventoryHost]:
    """Return the instances of ``services`` (empty: of all that do not say ``omit: true``), those of a lower rank first.

    A target has the names of its instance and its service. Its URL has the ship's ``ip`` and the host's port for
    supervisord's RPC: the port named ``supervisor`` or ``rpc``, or the one that exposes ``port``, or ``port`` itself.
    Its rank, from 0, is above the ranks of all services that its service requires, directly or through services not chosen.
    ``environ``: ``env`` of the file's template. Raises Misconfigured (10) with every problem at once.
    """
    require_packages()
    source = Path(path)
    problems: list[Problem] = []
    targets = _Environment(load(source, render(source, environ), problems), problems).targets(services, port)
    if problems:
        raise refusal(source, problems)
    return targets


def require_packages(find: Callable[[str], object] = find_spec) -> None:
    """Raise Misconfigured unless the packages of the extra `fleet` for these files are installed; ``find`` looks for one."""
    missing = [name for module, name in _PACKAGES.items() if not find(module)]
    if missing:
        message = f"maestro-ng files need {' and '.join(missing)}, not installed in {sys.prefix}"
        hint = "install the agent with its extra: pip install '.[fleet]' in a checkout"
        raise Misconfigured(Code.PACKAGES_MISSING, message, hint=hint)


class _Environment:
    """The content of a file; adds its problems to ``problems``."""

    def __init__(self, root: _Table, problems: list[Problem]) -> None:
        self._problems = problems
        schema = self._mapping(root.get("__maestro"), "__maestro").get("schema", 1)
        if schema not in _SCHEMAS or isinstance(schema, bool):
            self._add("__maestro.schema", f"must be 1 or 2, not {_SHOWN.repr(schema)}")
        ships, services = self._needed(root, "ships", ""), self._needed(root, "services", "")
        self._ships = {name: self._ip(ship, f"ships.{name}") for name, ship in ships.items()}
        self._services = {name: self._mapping(service, f"services.{name}") for name, service in services.items()}
        self._requires = {name: list(self._required(name, service)) for name, service in self._services.items()}

    def targets(self, names: Sequence[str], port: int) -> list[InventoryHost]:
        """Return the instances of these services, or of all."""
        for name in names:
            if name not in self._services:
                self._add("the services asked for", _unknown(name, self._services))
        chosen = [name for name, of in self._services.items() if (name in names if names else not of.get("omit"))]
        ranks = order.ranks(self._requires, chosen, self._add_circle)
        found = [target for name in chosen for target in self._instances(name, ranks[name], port)]
        self._check_distinct(found)
        return sorted(found, key=lambda target: target.rank)

    def _instances(self, service: str, rank: int, port: int) -> Iterator[InventoryHost]:
        table, at = self._services[service], f"services.{service}"
        common = self._ports(table, at)
        for name, described in self._needed(table, "instances", f"{at}.").items():
            path = f"{at}.instances.{name}"
            if not _INSTANCE.fullmatch(name):
                self._add(path, 'must be a container\'s name, of letters, digits, "_", "." and "-"')
            instance = self._mapping(described, path)
            ship = instance.get("ship")
            if not isinstance(ship, str):
                self._add(
                    f"{path}.ship", "is missing" if ship is None else f"must be the name of a ship, not {_SHOWN.repr(ship)}"
                )
            elif ship not in self._ships:
                self._add(f"{path}.ship", _unknown(ship, self._ships))
            number = self._outside({**common, **self._ports(instance, path)}, port, path)
            host = self._ships.get(ship, "") if isinstance(ship, str) else ""
            if host and number:
                yield InventoryHost(name, f"http://{host}:{number}", service, rank=rank)

    def _ip(self, ship: object, path: str) -> str:
        """Return the host of an URL: maestro also uses ``ip`` for ports; ``endpoint`` is for the Docker daemon."""
        ip = self._mapping(ship, path).get("ip")
        if isinstance(ip, str) and _HOST.fullmatch(ip):
            return ip
        try:
            if isinstance(ip, str) and not ipaddress.IPv6Address(ip).scope_id:
                return f"[{ip}]"
        except ValueError:
            pass
        self._add(
            f"{path}.ip", "is missing" if ip is None else f"must be an address or the name of a host, not {_SHOWN.repr(ip)}"
        )
        return ""

    def _required(self, name: str, service: _Table) -> Iterator[str]:
        path, listed = f"services.{name}.requires", service.get("requires") or []
        if not isinstance(listed, list):
            self._add(path, "must be a list of services")
            return
        for i, other in enumerate(listed):
            if isinstance(other, str) and other in self._services:
                yield other
            else:
                self._add(f"{path}[{i}]", _unknown(other if isinstance(other, str) else _SHOWN.repr(other), self._services))

    def _add_circle(self, way: Sequence[str]) -> None:
        self._add(f"services.{way[0]}.requires", f"is circular: {' -> '.join(way)}")

    def _ports(self, table: _Table, path: str) -> dict[str, _Mapped]:
        ports: dict[str, _Mapped] = {}
        for name, spec in self._mapping(table.get("ports"), f"{path}.ports").items():
            sides: Sequence[object] = spec.split(":") if isinstance(spec, str) else [spec]
            if isinstance(spec, dict):
                outer = spec.get("external")
                # A list: the bound address, and the port. maestro uses the ship's ip anyway.
                sides = [spec.get("exposed"), outer[-1] if isinstance(outer, list) and outer else outer]
            inside, outside = _side(sides[0]), _side(sides[-1])
            if inside and outside and inside[1] == outside[1] and len(sides) <= 2:  # noqa: PLR2004 - in and out
                ports[name] = (inside[0], outside[0], inside[1])
            else:
                self._add(f"{path}.ports.{name}", f"must be {_SPEC}, not {_SHOWN.repr(spec)}")
        return ports

    def _outside(self, ports: Mapping[str, _Mapped], port: int, path: str) -> int | None:
        """Return the host's port of supervisord's RPC."""
        named = [name for name in NAMES if name in ports]
        exposing = [name for name, (inside, _, protocol) in ports.items() if port in inside and protocol == "tcp"]
        if not named + exposing:
            return port
        name = (named + exposing)[0]
        inside, outside, protocol = ports[name]
        if protocol != "tcp":
            self._add(f"{path}.ports", f'"{name}" is a UDP port, and supervisord\'s RPC uses TCP')
            return None
        if len(outside) == 1:
            return outside[0]
        if len(inside) == len(outside) and port in inside:
            return outside[inside.index(port)]
        why = f'"{name}" may be any port from {outside[0]} to {outside[-1]}'
        self._add(f"{path}.ports", f"{why}; give supervisord's RPC a port of its own")
        return None

    def _check_distinct(self, targets: Sequence[InventoryHost]) -> None:
        names: dict[str, InventoryHost] = {}
        for target in targets:
            path = f"services.{target.service}.instances.{target.name}"
            namesake = names.setdefault(target.name, target)
            if namesake is not target:
                self._add(path, f"is an instance of {namesake.service} already")

    def _needed(self, table: _Table, key: str, path: str) -> _Table:
        if table.get(key) is None:
            self._add(f"{path}{key}", "is missing")
        return self._mapping(table.get(key), f"{path}{key}")

    def _mapping(self, value: object, path: str) -> _Table:
        """Return a mapping with string keys; a key without a value is an empty mapping."""
        if not isinstance(value, dict | None):
            self._add(path, "must be a mapping")
            return {}
        for key in value or {}:
            if not isinstance(key, str):
                self._add(f"{path}.{key}", "must be a string: put it in quotes")
        return {key: under for key, under in (value or {}).items() if isinstance(key, str)}

    def _add(self, path: str, text: str) -> None:
        self._problems.append(Problem(path, text))


def _side(value: object) -> tuple[range, str] | None:
    found = _SIDE.fullmatch(str(value) if isinstance(value, int | str) else "")
    if not found or not 0 < int(found[1]) <= int(found[2] or found[1]) <= _HIGHEST_PORT:
        return None
    return range(int(found[1]), int(found[2] or found[1]) + 1), found[3] or "tcp"


def _unknown(name: str, known: Collection[str]) -> str:
    close = difflib.get_close_matches(name, known, n=1)
    return f'there is no "{name}"' + (f'; did you mean "{close[0]}"?' if close else "")
