"""Check, write, add, renew and remove the programs that releases bring to one supervisord."""

from __future__ import annotations

import os
import stat
from dataclasses import dataclass, field
from pathlib import Path
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

from supervisor.rpcinterface import SupervisorNamespaceRPCInterface
from supervisor.xmlrpc import RPCError

from release_agent.config import programs
from release_agent.config.load import describe
from release_agent.config.programs import LARGEST, ProgramFile
from release_agent.errors import Code, Failed
from release_agent.plugin.programs import rules, sections
from release_agent.plugin.programs.parse import ContainerConfiguration
from release_agent.plugin.rehearsal import candidates
from release_agent.services.programs import smallest
from release_agent.system.disk import read_regular

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.config.schema import Problem
    from release_agent.plugin.programs.sections import Section

_HEAD = "; Written by release-agent: the programs of the live release. Change them in its repository.\n"
_WHAT = "the programs of the release"
_PUBLIC = 0o644
_LARGEST_FILE = 16 * LARGEST  # as it is written


@dataclass(frozen=True)
class ProgramsPlace:
    """The settings of the plugin's section: the file for a release's programs, and the users for them."""

    file: str
    users: tuple[str, ...]

    @classmethod
    def of(cls, settings: dict[str, str]) -> ProgramsPlace:
        """Read ``programs`` and ``program_users`` of ``[rpcinterface:release]``."""
        users = tuple(user.strip() for user in settings.get("program_users", "").split(",") if user.strip())
        return cls(os.path.normpath(settings["programs"]) if settings.get("programs") else "", users)


@dataclass(frozen=True)
class Checked:
    """Checked programs: the text for supervisord, supervisor's configuration of each group, and the problems."""

    text: str = ""
    groups: Sequence[Any] = ()
    problems: Sequence[Problem] = ()


@dataclass
class BroughtPrograms:
    """The programs of releases in one supervisord. ``known``: the names of their groups, also of those to remove."""

    known: set[str] = field(default_factory=set)

    def check(self, supervisord: Any, place: ProgramsPlace, files: Sequence[ProgramFile], current: str) -> Checked:
        """Check files for supervisord; raises Failed (service-refused) if it takes no programs from releases."""
        if not files:
            return Checked()
        container = self._container(supervisord, place)
        taken = {*container.names(), *rules.OWN_NAMES} | (supervisord.process_groups.keys() - self._mine(place))
        found, problems = sections.read(files, current, taken)
        problems = problems or container.problems(found)
        if problems:
            return Checked(problems=problems)
        groups, sockets = container.groups(found), _sockets(supervisord, self._mine(place))
        if problems := rules.of_all(groups):
            return Checked(problems=problems)
        sections_by_title, names = {section.title: section for section in found}, [group.name for group in groups]
        for group in groups:
            # Check each process as supervisor makes it: any value may contain the name of its group and its number.
            for process in group.process_configs:
                problems += rules.of_process(sections_by_title[process.section], process, place.users)
            maker = _maker(found, group.name)
            problems += rules.of_group(maker, group, sockets)
            problems += [maker.problem("", "is the name of two groups")] if names.count(group.name) > 1 else []
        return Checked(_HEAD + "".join(section.text() for section in found), groups, list(dict.fromkeys(problems)))

    def update(self, supervisord: Any, place: ProgramsPlace, files: Sequence[ProgramFile], current: str) -> dict[str, list[str]]:
        """Make supervisord read these programs.

        Returns the names of groups. The caller renews ``added``, ``changed`` and ``removed``; ``others`` are groups of the
        container that differ from its configuration. Raises Failed.
        """
        before = self._mine(place)
        if not files and not (before and place.file):
            return {"added": [], "changed": [], "removed": [], "others": []}
        checked = self._right(supervisord, place, files, current)
        wanted = {group.name for group in checked.groups}
        self.known |= before | wanted
        _write(Path(place.file), checked.text or _HEAD)
        added, changed, removed = _reread(supervisord)
        others = {*added, *changed, *removed} - self.known
        self.known &= wanted.union(supervisord.process_groups)
        return {
            "added": sorted(wanted.intersection(added)),
            "changed": sorted(wanted.intersection(changed)),
            "removed": sorted(self.known.intersection(removed)),
            "others": sorted(others),
        }

    def renew(self, supervisord: Any, place: ProgramsPlace, name: str) -> None:
        """Remove a stopped group, if it exists, and add it again if the file has it; raises Failed."""
        if name not in self._mine(place):
            message = f"group {name} did not come with a release"
            raise Failed(Code.SERVICE_REFUSED, message, hint=f"run `supervisorctl update {name}`")
        if name in supervisord.process_groups:
            try:
                SupervisorNamespaceRPCInterface(supervisord).removeProcessGroup(name)
            except RPCError as refused:
                message = f"group {name} could not be removed: {refused.text}"
                raise Failed(Code.SERVICE_REFUSED, message, hint=f"run `supervisorctl stop {name}:*`") from refused
        if any(config.name == name for config in supervisord.options.process_group_configs):
            self._add(supervisord, name)
        else:
            self.known.discard(name)

    def group(self, supervisord: Any, place: ProgramsPlace, files: Sequence[ProgramFile], current: str, name: str) -> Any:
        """Return a stand-in for a group that a release brings, for a rehearsal; None if it brings none. Raises Failed."""
        if name not in programs.groups(files):
            return None
        checked = self._right(supervisord, place, files, current)
        found = next(group for group in checked.groups if group.name == name)
        environment = supervisord.options.configroot.supervisord.environment or {}
        for process in (found, *found.process_configs):
            process.options = supervisord.options  # the options that started a process reap it
        for process in found.process_configs:
            process.environment = {**environment, **process.environment}
        return as_group(found)

    def _right(self, supervisord: Any, place: ProgramsPlace, files: Sequence[ProgramFile], current: str) -> Checked:
        checked = self.check(supervisord, place, files, current)
        if checked.problems:
            message = describe(_WHAT, list(checked.problems))
            raise Failed(Code.PROGRAMS_INVALID, message, hint="fix the programs in the repository")
        return checked

    def _container(self, supervisord: Any, place: ProgramsPlace) -> ContainerConfiguration:
        if not place.file:
            message = "supervisord takes no programs from releases: [rpcinterface:release] has no `programs`"
            raise Failed(Code.SERVICE_REFUSED, message, hint="set `programs` as in supervisor.d/plugin.conf")
        container = ContainerConfiguration(supervisord.options, place.file)
        if not container.includes():
            message = f"supervisord would not read {place.file}: [include] does not name it"
            raise Failed(Code.SERVICE_REFUSED, message, hint=f"add {place.file} to `files` in [include]")
        _require_private(Path(place.file).parent)
        return container

    def _mine(self, place: ProgramsPlace) -> set[str]:
        """Return the groups of releases: the known ones, and those of the file at supervisord's start."""
        if not place.file:
            return set(self.known)
        try:
            text = read_regular(Path(place.file), _LARGEST_FILE, follow=False).decode(errors="replace")
        except OSError:
            return set(self.known)
        return self.known.union(programs.groups([ProgramFile(place.file, text)]))

    def _add(self, supervisord: Any, name: str) -> None:
        try:
            SupervisorNamespaceRPCInterface(supervisord).addProcessGroup(name)
        except (RPCError, ValueError) as error:  # ValueError: supervisord could not make its socket
            why = error.text if isinstance(error, RPCError) else error
            message = f"group {name} could not be added: {why}"
            raise Failed(Code.SERVICE_REFUSED, message, hint="check supervisord's log") from error


def told(groups: Sequence[Any], current: str) -> list[dict[str, Any]]:
    """Return the facts that a deployment needs about groups before supervisord has these groups."""
    found = []
    for group in groups:
        each = candidates(as_group(group), current)
        about = [{"name": process.name, "command": process.command} for process in group.process_configs]
        socket = str(group.socket_config.url) if hasattr(group, "socket_config") else ""
        processes = [vars(candidate) for candidate in each]
        found.append({"group": group.name, "processes": processes, "socket": socket, "smallest": smallest(about)})
    return found


def as_group(config: Any) -> Any:
    """Return a stand-in for a group that supervisord does not have, because a real one would bind its socket."""
    return SimpleNamespace(config=config, processes={process.name: _Unmade(process) for process in config.process_configs})


@dataclass(frozen=True)
class _Unmade:
    """A process that exists only as configuration."""

    config: Any

    def __lt__(self, other: _Unmade) -> bool:
        """Order by priority, as supervisor does."""
        return bool(self.config < other.config)


def _sockets(supervisord: Any, names: set[str]) -> set[str]:
    """Return the sockets that supervisord has for some groups."""
    managers = [getattr(supervisord.process_groups.get(name), "socket_manager", None) for name in names]
    return {str(manager.config().url) for manager in managers if manager}


def _maker(found: Sequence[Section], group: str) -> Section:
    """Return the section that makes a group."""
    (kind, *_) = [kind for kind in ("group", *programs.KINDS) if any(each.title == f"{kind}:{group}" for each in found)]
    return next(section for section in found if section.title == f"{kind}:{group}")


def _reread(supervisord: Any) -> list[list[str]]:
    try:
        (change,) = SupervisorNamespaceRPCInterface(supervisord).reloadConfig()
    except RPCError as refused:
        message = f"supervisord could not read its configuration again: {refused.text}"
        raise Failed(Code.SERVICE_REFUSED, message, hint="fix the file; `supervisorctl reread` shows the problem") from refused
    return list(change)


def _require_private(directory: Path) -> None:
    """Make a missing directory of the programs; raises Failed if others may write to it, or supervisord may not."""
    try:
        directory.mkdir(mode=0o755, exist_ok=True)
        there = directory.lstat()
    except OSError as error:
        message = f"cannot make {directory} for the programs of releases: {error.strerror}"
        raise Failed(Code.SERVICE_REFUSED, message, hint="mount a tmpfs on /run, or name another place in `programs`") from error
    own = stat.S_ISDIR(there.st_mode) and there.st_uid == os.geteuid() and not there.st_mode & (stat.S_IWGRP | stat.S_IWOTH)
    if not own or not os.access(directory, os.W_OK):
        message = f"{directory} must be a directory that only supervisord's user may write to"
        raise Failed(Code.SERVICE_REFUSED, message, hint=f"chmod go-w {directory}, or name another place in `programs`")


def _write(file: Path, text: str) -> None:
    """Replace the file atomically; raises Failed. Only supervisord's user may write in its directory: see _require_private()."""
    fresh = file.with_name(f"{file.name}.new")
    try:
        fresh.unlink(missing_ok=True)
        with fresh.open("x") as written:  # in supervisord's encoding
            os.fchmod(written.fileno(), _PUBLIC)
            written.write(text)
            written.flush()
            os.fsync(written.fileno())
        fresh.replace(file)
    except (OSError, UnicodeEncodeError) as error:
        message = f"could not write {file}: {error.strerror if isinstance(error, OSError) else error}"
        raise Failed(Code.SERVICE_REFUSED, message, hint=f"check the permissions and the free space of {file.parent}") from error
