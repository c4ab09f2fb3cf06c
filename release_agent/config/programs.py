"""Read supervisor's sections of programs that come with a release, only to find the services.

Supervisor's own parser checks them, inside supervisord (release_agent.plugin.programs).
"""

from __future__ import annotations

from configparser import Error, RawConfigParser
from dataclasses import dataclass
from typing import TYPE_CHECKING

from release_agent.config.sections import Restart, Service

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LARGEST = 64 << 10  # characters of a file, and of all files together: supervisord does nothing else while it reads them
MOST_FILES = 64
KINDS = ("program", "fcgi-program", "group")
YES, NO = ("true", "yes", "on", "1"), ("false", "no", "off", "0")  # supervisor's words


@dataclass(frozen=True)
class ProgramFile:
    """One file with supervisor's sections: its path in the release, and its text."""

    path: str
    text: str


def parser() -> RawConfigParser:
    """Make a parser that reads a file as supervisor does, but refuses a duplicate section or key."""
    return RawConfigParser(inline_comment_prefixes=(";", "#"), default_section="")


def groups(files: Sequence[ProgramFile]) -> dict[str, bool]:
    """Return the supervisor groups that files make, in their order, each with its `autostart`.

    An unreadable file makes no groups.
    """
    read = [(kind, name, values) for file in files for kind, name, values in _sections(file.text)]
    members = {name: members_of(values.get("programs", "")) for kind, name, values in read if kind == "group"}
    starts = {name: values.get("autostart", "true").lower() not in NO for kind, name, values in read if kind != "group"}
    inside = {member for group in members.values() for member in group}
    return {
        name: any(starts.get(member, False) for member in members[name]) if kind == "group" else starts[name]
        for kind, name, _ in read
        if kind == "group" or name not in inside
    }


def unnamed(files: Sequence[ProgramFile], services: Sequence[Service]) -> list[Service]:
    """Return a service with the defaults for each group that is started and that no service names."""
    named = {service.name for service in services}
    return [service_of(group) for group, starts in groups(files).items() if starts and group not in named]


def service_of(group: str) -> Service:
    """Return a service with the defaults."""
    return Service(name=group, restart=Restart(), probes=())


def members_of(value: str) -> list[str]:
    """Return the names in `programs` of a group."""
    return [name.strip() for name in value.split(",")]


def _sections(text: str) -> Iterator[tuple[str, str, dict[str, str]]]:
    read = parser()
    try:
        read.read_string(text)
    except Error:
        return
    for section in read.sections():
        kind, _, name = section.partition(":")
        if kind in KINDS:
            yield kind, name.strip(), dict(read.items(section))
