"""Parse the container's configuration and a release's programs with supervisor's own parser; change nothing that runs."""

from __future__ import annotations

import os
import re
from configparser import Error
from pathlib import PurePath
from typing import TYPE_CHECKING, Any

from supervisor.options import ServerOptions, UnhosedConfigParser, expand

from release_agent.config.schema import nearest
from release_agent.errors import Code, Failed

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

    from release_agent.config.schema import Problem
    from release_agent.plugin.programs.sections import Section

_PROGRAMS = ("program", "fcgi-program", "group", "eventlistener")
_MOST_TOLD = 10  # sections to check for wrong keys
_SOMEWHERE = {"program": {"command": "true"}, "fcgi-program": {"command": "true", "socket": "tcp://127.0.0.1:1"}}
_TOGETHER = ({"numprocs", "process_name"}, {"stopasgroup", "killasgroup"})


class _Options(ServerOptions):  # type: ignore[misc]
    """supervisord's options, read again; the running ones do not change."""

    parser: Any = None

    def process_groups_from_parser(self, parser: Any) -> Any:
        self.parser = parser
        return super().process_groups_from_parser(parser)

    def processes_from_section(self, parser: Any, section: str, group_name: str, klass: Any = None) -> Any:
        processes = super().processes_from_section(parser, section, group_name, klass)
        for process in processes:
            process.section = section  # supervisor itself keeps only the name of the group
        return processes


class _Asking(UnhosedConfigParser):  # type: ignore[misc]
    """A parser that notes the keys that supervisor reads; supervisor silently ignores every other key."""

    def __init__(self) -> None:
        super().__init__()
        self.asked: dict[str, set[str]] = {}

    def saneget(self, section: str, option: str, *arguments: Any, **named: Any) -> Any:
        self.asked.setdefault(section, set()).add(option)
        return super().saneget(section, option, *arguments, **named)


class ContainerConfiguration:
    """The current configuration files of a running supervisord; ``file``: the file of a release's programs."""

    def __init__(self, running: Any, file: str) -> None:
        """Read the files; raises Failed (service-refused) if supervisord could not read them."""
        self._options = _Options()
        self._options.here, self._options.configfile = running.here, running.configfile
        self._file = file
        try:
            self._options.read_config(running.configfile)
        except (ValueError, Error, OSError) as error:
            message = f"supervisord cannot read its own configuration again: {_words(error)!a}"
            raise Failed(Code.SERVICE_REFUSED, message, hint="fix the file; `supervisorctl reread` shows the problem") from error

    def includes(self) -> bool:
        """Return whether supervisord reads the file of the release's programs."""
        parser, base = self._options.parser, os.path.dirname(os.path.abspath(self._options.configfile))  # noqa: PTH100, PTH120 - as supervisor
        given = parser.get("include", "files") if parser.has_section("include") else ""
        patterns = expand(given, {"here": base, **self._options.environ_expansions}, "include.files").split()
        return any(PurePath(self._file).match(os.path.normpath(os.path.join(base, pattern))) for pattern in patterns)  # noqa: PTH118

    def names(self) -> set[str]:
        """Return the names of the container's own programs, groups and event listeners, without those of a release."""
        parser, own = self._options.parser, os.path.realpath(self._file)
        files = {head: os.path.realpath(file) for head, file in parser.section_to_file.items()}
        heads = [head.partition(":") for head in parser.sections() if files.get(head) != own]
        return {name.strip() for kind, _, name in heads if kind in _PROGRAMS}

    def groups(self, sections: Sequence[Section]) -> list[Any]:
        """Return supervisor's configuration of the groups that sections make; raises ValueError with supervisor's words.

        ``section`` of each process is the title of its section.
        """
        return self._parsed("".join(section.text() for section in sections))[0]

    def problems(self, sections: Sequence[Section]) -> list[Problem]:
        """Return the problems that supervisor's parser finds in each section, and its unknown keys."""
        found: list[Problem] = []
        for section in sections:
            if section.kind == "group":
                found += self._unknown(section, sections)
            elif len(found) < _MOST_TOLD:
                found += self._wrong(section)
        return found

    def _wrong(self, section: Section) -> list[Problem]:
        why = self._trouble(section, section.values)
        if not why:
            return self._unknown(section, [section])
        environment = {key: section.values[key] for key in ("environment",) if key in section.values}
        if environment and (of_it := self._trouble(section, environment)):
            return [section.problem("environment", _discreet(of_it, environment))]
        told = []
        for key in section.values:
            values = _with_its_like(key, section.values)
            if "%(ENV_" in section.values[key]:  # the section's own environment may set it
                values |= environment
            if of_it := self._trouble(section, values):
                told.append(section.problem(key, _discreet(of_it, values)))
        return told or [section.problem("", _discreet(why, section.values))]

    def _trouble(self, section: Section, values: Mapping[str, str]) -> str:
        """Return the problem of some values of a section, or an empty text."""
        try:
            self._parsed(section.text({**_SOMEWHERE[section.kind], **values} if values is not section.values else values))
        except ValueError as error:
            return str(error)
        return ""

    def _unknown(self, section: Section, together: Sequence[Section]) -> list[Problem]:
        try:
            _, asked = self._parsed("".join(each.text() for each in together))
        except ValueError as error:
            values = {(each.title, key): value for each in together for key, value in each.values.items()}
            return [section.problem("", _discreet(str(error), values))] if section.kind == "group" else []
        known = asked[section.title]
        strange = [key for key in section.values if key not in known]
        return [section.problem(key, f"is not a key of supervisor's{nearest(key, sorted(known))}") for key in strange]

    def _parsed(self, text: str) -> tuple[list[Any], dict[str, set[str]]]:
        parser = _Asking()
        parser.expansions = self._options.environ_expansions
        try:
            parser.read_string(text)
            return ServerOptions.process_groups_from_parser(self._options, parser), parser.asked
        except Exception as error:  # supervisor's parser raises any error for bad input
            raise ValueError(_words(error)) from error


def _with_its_like(key: str, values: Mapping[str, str]) -> dict[str, str]:
    """Return a key with the keys that it needs."""
    like: Collection[str] = next((keys for keys in _TOGETHER if key in keys), {key})
    if key.startswith("socket_"):
        like = {key, "socket"}
    return {each: values[each] for each in like if each in values}


def _discreet(why: str, values: Mapping[Any, str]) -> str:
    """Return supervisor's message about values, unless the message may show a variable of supervisord, possibly a secret."""
    as_given = (*(f"Format string {value!r}" for value in values.values()), "[group:")
    if why.startswith(as_given) or not any("%(ENV_" in value for value in values.values()):
        return why
    return "supervisor refuses its value after the expansion of variables"


def _words(error: Exception) -> str:
    """Return supervisor's message without the names of all variables and without the place, which the caller adds."""
    said = str(error) or type(error).__name__
    return re.sub(r" in section '[^']*' \(file: .*\)$", "", said.partition(" Available names")[0])[:500]
