"""Translate the .gitattributes and .gitignore files above a part of a repository into rules for that part.

git reads these files in a working tree. The working tree of a release is only the part. So the rules of the files above
go into core.attributesFile and core.excludesFile, which have the lowest rank for git. The files above have the same
rank in a checkout of the whole repository.
"""

from __future__ import annotations

import codecs
import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    # The text of one file, and the names of the directories from its own one to the part.
    Said = tuple[str, Sequence[str]]

_MACRO, _ANY = "[attr]", "**"
_CLASSES = {"alpha": "a-zA-Z", "digit": "0-9", "alnum": "a-zA-Z0-9", "upper": "A-Z", "lower": "a-z", "xdigit": "0-9a-fA-F"}


def attributes(files: Iterable[Said]) -> str:
    """Return the lines of ``.gitattributes`` files, the topmost first, that apply to the part, with patterns relative to it."""
    return "".join(f"{line}\n" for number, (text, way) in enumerate(files) for line in _attributes(text, way, top=number == 0))


def excludes(files: Iterable[Said]) -> str:
    """Return the lines of ``.gitignore`` files that apply to the part, in the same form."""
    return "".join(f"{line}\n" for text, way in files for line in _excludes(text, way))


def _attributes(text: str, way: Sequence[str], *, top: bool) -> Iterable[str]:
    for line in (line.lstrip(" \t\r") for line in text.split("\n")):
        if line.startswith(_MACRO):
            yield from [line] if top else []  # git reads macros only from the topmost directory
            continue
        pattern, what = _divided(line)
        if pattern and what and not pattern.startswith(("#", "!")) and not pattern.endswith("/"):
            yield from (f"{_quoted(below)} {what}" for below in _below(pattern, way) if below != "/")


def _excludes(text: str, way: Sequence[str]) -> Iterable[str]:
    for line in text.split("\n"):
        keeps = "!" if line.startswith("!") else ""
        pattern = line.removeprefix("!").rstrip("\r")
        if not pattern or line.startswith("#"):
            continue
        of_directories = "/" if pattern.endswith("/") else ""
        body = pattern.removesuffix("/")
        is_above = "/" not in body and any(_matches(body, name) for name in way)
        found = ["/"] if is_above else list(_below(body, way))
        # "/": the part itself, or a directory above it
        yield from (f"{keeps}/*" if below == "/" else f"{keeps}{below}{of_directories}" for below in found)


def _divided(line: str) -> tuple[str, str]:
    """Return the pattern of a line and the attributes behind it; a pattern may be quoted as in C."""
    quoted = re.match(r'"((?:[^"\\]|\\.)*)"', line)
    if quoted:
        plain = codecs.escape_decode(quoted[1].encode("utf-8", "surrogateescape"))[0]
        return plain.decode("utf-8", "surrogateescape"), line[quoted.end() :].strip()
    pattern, _, what = line.replace("\t", " ").partition(" ")
    return pattern, what.strip()


def _quoted(pattern: str) -> str:
    escaped = pattern.replace("\\", "\\\\").replace('"', '\\"').replace("\n", "\\n")
    return f'"{escaped}"'


def _below(pattern: str, way: Sequence[str]) -> Iterable[str]:
    """Return patterns for the part with the same matches as one from above; "/" for the part itself."""
    if "/" not in pattern:
        return [pattern]  # a name, at any depth
    found = {tuple(pattern.removeprefix("/").split("/"))}
    for name in way:
        found = {rest for steps in found for rest in _after(steps, name)}
    return sorted(f"/{'/'.join(steps)}" for steps in found)


def _after(steps: tuple[str, ...], name: str) -> set[tuple[str, ...]]:
    """Return the rest of a pattern, by its steps, after a directory that it leads through."""
    if not steps:
        return set()
    if steps[0] == _ANY:
        return {steps, *_after(steps[1:], name)}
    return {steps[1:]} if _matches(steps[0], name) else set()


def _matches(step: str, name: str) -> bool:
    """Return whether one step of a pattern matches a name, as in git's wildmatch."""
    expression, place = "", 0
    while place < len(step):
        letter = step[place]
        place += 1
        if letter == "*":
            expression += ".*"
        elif letter == "?":
            expression += "."
        elif letter == "\\" and place < len(step):
            expression += re.escape(step[place])
            place += 1
        elif letter == "[":
            found = re.compile(r"([!^]?)(\]?(?:\[:\w+:\]|\\.|[^\]])*)\]", re.DOTALL).match(step, place)
            if not found:
                return False
            expression += f"[{'^' if found[1] else ''}{_listed(found[2])}]"
            place = found.end()
        else:
            expression += re.escape(letter)
    try:
        return re.fullmatch(expression, name, re.DOTALL) is not None
    except re.error:  # a range that ends before its start
        return False


def _listed(letters: str) -> str:
    """Return the letters of a bracket for Python's expressions; ranges stay."""
    found = re.findall(r"\[:(\w+):\]|\\(.)|(.)", letters, re.DOTALL)
    return "".join(
        _CLASSES.get(named, "") if named else re.escape(escaped) if escaped else plain if plain == "-" else re.escape(plain)
        for named, escaped, plain in found
    )
