"""Read tags as versions, and order them as versions instead of as text."""

from __future__ import annotations

import re
from fnmatch import fnmatchcase
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterable

# Semantic Versioning 2.0.0, as loosely as tags are written: any number of
# numbers, "rc1" and "-rc.1". 18 digits bound what int() has to read.
_VERSION = re.compile(
    r"v?(?P<numbers>[0-9]{1,18}(?:\.[0-9]{1,18})*)"
    r"(?:-(?P<dashed>[0-9A-Za-z-]+(?:\.[0-9A-Za-z-]+)*)|[._]?(?P<joined>[A-Za-z][0-9A-Za-z]*(?:\.[0-9A-Za-z]+)*))?"
    r"(?:\+(?P<build>[0-9A-Za-z.-]+))?"
)
_BEGUN = re.compile(r"(?:^|(?<=[^0-9A-Za-z]))(?:v|v?[0-9][0-9.]*(?:-[0-9A-Za-z.]+)?)$")
_PIECES = re.compile(r"[0-9]{1,18}|[^0-9]+")

Key = tuple[object, ...]


def key(tag: str, prefix: str = "") -> Key | None:
    """Return the sort key of a tag, or None if it is not a version.

    ``prefix`` is the text before the version, such as ``api-``.
    """
    found = _VERSION.fullmatch(tag.removeprefix(prefix)) or _VERSION.fullmatch(tag)
    if not found:
        return None
    numbers = [int(number) for number in found["numbers"].split(".")]
    while numbers and numbers[-1] == 0:  # 1.2 is 1.2.0
        numbers.pop()
    pre = found["dashed"] or found["joined"]
    # A release comes after all its pre-releases; the text orders equal versions, to be deterministic.
    return (tuple(numbers), pre is None, tuple(_identifier(part) for part in (pre or "").split(".")), tag)


def is_prerelease(sort_key: Key) -> bool:
    """Return whether the version is a pre-release, such as v1.4.0-rc.2."""
    return not sort_key[1]


def _identifier(part: str) -> Key:
    if part.isdigit():  # numbers come before words (semver 11.4.3)
        return (0, int(part[:18]))
    # rc10 after rc9, though semver would compare the text
    return (1, *((0, int(p), "") if p.isdigit() else (1, 0, p) for p in _PIECES.findall(part)))


def matching(tags: Iterable[str], pattern: str, *, prereleases: bool) -> tuple[list[str], int]:
    """Return the version tags, highest first, and the number of tags that match ``pattern`` and are not versions."""
    prefix = _prefix(pattern)
    keyed = {tag: key(tag, prefix) for tag in set(tags) if fnmatchcase(tag, pattern)}
    versions = {tag: found for tag, found in keyed.items() if found is not None}
    wanted = [tag for tag, found in versions.items() if prereleases or not is_prerelease(found)]
    return sorted(wanted, key=lambda tag: versions[tag], reverse=True), len(keyed) - len(versions)


def is_lower(tag: str, live: str, pattern: str) -> bool:
    """Return whether a tag is a lower version than the live tag that ``pattern`` matches; False if either is not a version."""
    new, old = (key(name, _prefix(pattern)) for name in (tag, live))
    # Without the tags' own text: v1.2 and v1.2.0 are the same version.
    return new is not None and old is not None and fnmatchcase(live, pattern) and new[:-1] < old[:-1]


def _prefix(pattern: str) -> str:
    """Return the text before the version; a pattern such as "v1.4*" includes a part of the version."""
    return _BEGUN.sub("", re.split(r"[*?\[]", pattern, maxsplit=1)[0])
