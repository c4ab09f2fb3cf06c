"""Readers of single values: each returns the value of a key, or raises WrongValueError.

Each also has a JSON Schema of its values. A reader never accepts a value that its schema refuses.
"""

from __future__ import annotations

import os
import posixpath
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")
JsonSchema = dict[str, object]


_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UMASK = re.compile("0?0[0-7]{2}")
_VARIABLE = re.compile("[A-Za-z_][A-Za-z0-9_]*")
_SIZE = re.compile(r"([0-9]+(?:\.[0-9]+)?) ?(KiB|MiB|GiB|TiB)")
_BYTES = {"KiB": 1 << 10, "MiB": 1 << 20, "GiB": 1 << 30, "TiB": 1 << 40}
_LARGEST_SIZE = 1 << 60
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
# Time-outs, and paths below a configured path, must stay within the limits of the kernel and Python.
_LONGEST_DURATION = 365 * _UNITS["d"]
_LONGEST_PATH, _LONGEST_NAME = 1000, 255  # bytes
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_PRINTED = r"[^\x00-\x1f\x7f]"
_HIGHEST_PORT = 65535


class WrongValueError(ValueError):
    """A value is wrong; the text of the error describes a right one."""


class SecretInFileError(WrongValueError):
    """A wrong value that the message must not repeat."""


@dataclass(frozen=True)
class Reader(Generic[T]):
    """A reader of one value, with the JSON Schema of its values; ``write`` returns the text in the file."""

    read: Callable[[object], T]
    json_schema: JsonSchema
    write: Callable[[Any], object]

    def __call__(self, value: object) -> T:
        """Return the meaning of the value; raises WrongValueError."""
        return self.read(value)


def _as_it_is(value: object) -> object:
    return list(value) if isinstance(value, tuple) else value


def takes(json_schema: JsonSchema, write: Callable[[Any], object] = _as_it_is) -> Callable[[Callable[[object], T]], Reader[T]]:
    """Make a reader of a function (a decorator)."""
    return lambda read: Reader(read, json_schema, write)


def _string(pattern: str) -> JsonSchema:
    """Return the schema of strings that match a pattern whole."""
    return {"type": "string", "pattern": f"^(?:{pattern})$"}


def _or_empty(schema: JsonSchema) -> JsonSchema:
    return {"anyOf": [{"const": ""}, schema]}


def _written_duration(seconds: float) -> str:
    unit, length = next((unit, length) for unit, length in reversed(_UNITS.items()) if seconds % length == 0 or unit == "ms")
    return f"{seconds / length:g}{unit}" if seconds else "0s"


def _written_size(size: int) -> str:
    unit, length = next((unit, length) for unit, length in reversed(_BYTES.items()) if size % length == 0 or unit == "KiB")
    return f"{size / length:g} {unit}"


@takes({"type": "boolean"})
def boolean(value: object) -> bool:
    """Return ``true`` or ``false``."""
    if not isinstance(value, bool):
        message = "must be true or false"
        raise WrongValueError(message)
    return value


@takes(_string(f"{_PRINTED}*"))
def text(value: object) -> str:
    """Return a string without control characters; may be empty."""
    if not isinstance(value, str) or _CONTROL.search(value):
        message = "must be a string without control characters"
        raise WrongValueError(message)
    return value


@takes(_string(rf"{_PRINTED}*[^\s\x00-\x1f\x7f]{_PRINTED}*"))
def required_text(value: object) -> str:
    """Return a string of at least one character."""
    if not text(value).strip():
        message = "must not be empty"
        raise WrongValueError(message)
    return text(value)


def matching(pattern: str, what: str) -> Reader[str]:
    """Make a reader of strings that match ``pattern`` whole."""

    @takes(_string(pattern))
    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            message = f"must be {what}"
            raise WrongValueError(message)
        return value

    return read


def one_of(*choices: str) -> Reader[str]:
    """Make a reader of one word of several."""

    @takes({"enum": list(choices)})
    def read(value: object) -> str:
        if value not in choices:
            message = "must be " + " or ".join(f'"{c}"' for c in choices)
            raise WrongValueError(message)
        return str(value)

    return read


def whole(low: int, high: int) -> Reader[int]:
    """Make a reader of whole numbers within ``low`` and ``high``, both included."""

    @takes({"type": "integer", "minimum": low, "maximum": high})
    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            message = f"must be a whole number from {low} to {high}"
            raise WrongValueError(message)
        return value

    return read


port = whole(0, _HIGHEST_PORT)


@takes(_string(f"|{_PRINTED}+:[0-9]+"))
def endpoint(value: object) -> str:
    """Return ``"host:port"``; accept the empty string."""
    host, _, number = text(value).rpartition(":")
    try:
        usable = bool(host) and number.isascii() and number.isdigit() and 0 < int(number) <= _HIGHEST_PORT
    except ValueError:  # Python converts at most 4,300 digits
        usable = False
    if value and not usable:
        message = 'must be "host:port"'
        raise WrongValueError(message)
    return text(value)


@takes(_string(_DURATION.pattern), _written_duration)
def duration(value: object) -> float:
    """Return the seconds of ``"500ms"``, ``"2s"``, ``"5m"``, ``"1h"`` or ``"1d"``, at most a year."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        message = 'must be a duration such as "500ms", "2s", "5m" or "1h"'
        raise WrongValueError(message)
    seconds = float(found[1]) * _UNITS[found[2]]
    if seconds > _LONGEST_DURATION:
        message = "must be at most 365d"
        raise WrongValueError(message)
    return seconds


@takes({**duration.json_schema, "not": {"pattern": "^[0.]+[a-z]+$"}}, _written_duration)
def positive_duration(value: object) -> float:
    """Return a duration in seconds, greater than zero."""
    seconds = duration(value)
    if seconds <= 0:
        message = "must be greater than zero"
        raise WrongValueError(message)
    return seconds


@takes(_string(_SIZE.pattern), _written_size)
def size(value: object) -> int:
    """Return the bytes of ``"500 MiB"`` or ``"2 GiB"``, at most 1048576 TiB."""
    found = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if not found:
        message = 'must be a size such as "500 MiB" or "2 GiB"'
        raise WrongValueError(message)
    length = float(found[1]) * _BYTES[found[2]]
    if length > _LARGEST_SIZE:  # also infinity, which hundreds of digits make
        message = f"must be at most {_LARGEST_SIZE // _BYTES['TiB']} TiB"
        raise WrongValueError(message)
    return int(length)


@takes(_or_empty(positive_duration.json_schema), lambda seconds: "" if seconds is None else _written_duration(seconds))
def optional_duration(value: object) -> float | None:
    """Return a duration in seconds, or None for the empty string."""
    return None if value == "" else positive_duration(value)


@takes(_string(f"|{_UMASK.pattern}"), lambda umask: "" if umask is None else f"{umask:03o}")
def optional_umask(value: object) -> int | None:
    """Return the number of an octal string whose digit for the owner is 0, or None for the empty string."""
    if value == "":
        return None
    if not isinstance(value, str) or not _UMASK.fullmatch(value):
        # The agent could neither check nor remove a file that its owner may not read.
        message = 'must be an octal string such as "002" or "0027", whose digit for the owner is 0'
        raise WrongValueError(message)
    return int(value, 8)


@takes(_string(f"/{_PRINTED}*"))
def absolute_path(value: object) -> str:
    """Return a path that starts with ``/``, without ``.``, ``..`` and doubled slashes, which SQLite refuses."""
    if not text(value).startswith("/"):
        message = "must be an absolute path"
        raise WrongValueError(message)
    path = "/" + posixpath.normpath(text(value)).lstrip("/")
    named = os.fsencode(path)
    if len(named) > _LONGEST_PATH or max(map(len, named.split(b"/"))) > _LONGEST_NAME:
        message = f"must have at most {_LONGEST_PATH} bytes, and at most {_LONGEST_NAME} in each name"
        raise WrongValueError(message)
    return path


@takes(_or_empty(absolute_path.json_schema))
def optional_absolute_path(value: object) -> str:
    """Return a path that starts with ``/``, or the empty string."""
    return "" if value == "" else absolute_path(value)


@takes({**_string(rf"[^/\x00-\x1f\x7f]{_PRINTED}*"), "not": {"pattern": r"(^|/)(\.\.|\.git)(/|$)"}})
def inner_path(value: object) -> str:
    """Return a relative path in normal form that stays inside its directory; ``.`` is the directory itself."""
    parts = [part for part in text(value).split("/") if part not in ("", ".")]
    if not value:
        message = 'must not be empty; "." is the release itself'
        raise WrongValueError(message)
    if text(value).startswith("/") or ".." in parts or ".git" in parts:
        message = 'must be a relative path without ".."'
        raise WrongValueError(message)
    return "/".join(parts) or "."


@takes({"type": "array", "items": {"allOf": [{"not": {"const": "."}}, inner_path.json_schema]}, "uniqueItems": True})
def inner_paths(value: object) -> tuple[str, ...]:
    """Return a list of inner paths, none of them ``.``, none inside another."""
    if not isinstance(value, list):
        message = 'must be a list of paths, such as ["var/uploads"]'
        raise WrongValueError(message)
    paths = tuple(inner_path(item) for item in value)
    if "." in paths or overlapping(paths):
        message = "must name distinct paths inside the release, none within another"
        raise WrongValueError(message)
    return paths


@takes(_or_empty({"allOf": [inner_path.json_schema, {"not": {"pattern": r"^\.$|[*?\[\]].*/[^/.]"}}]}))
def inner_pattern(value: object) -> str:
    """Return an inner path whose last name may be a shell pattern, or the empty string for none."""
    if value == "":
        return ""
    path = inner_path(value)
    if path == "." or re.search(r"[*?\[\]]", posixpath.dirname(path)):
        message = 'must be a path such as "supervisor.d/*.conf": a pattern in its last name, and in no other'
        raise WrongValueError(message)
    return path


def joined(place: str, path: str) -> str:
    """Return an inner path of a place that is an inner path itself."""
    return path if place == "." else place if path == "." else f"{place}/{path}"


def each(read: Reader[str]) -> Reader[tuple[str, ...]]:
    """Make a reader of lists whose items ``read`` reads."""

    @takes({"type": "array", "items": read.json_schema})
    def read_list(value: object) -> tuple[str, ...]:
        if not isinstance(value, list):
            message = "must be a list of texts"
            raise WrongValueError(message)
        return tuple(map(read, value))

    return read_list


def overlapping(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of inner paths that are equal or of which one contains the other."""

    def within(inner: str, outer: str) -> bool:
        return outer in (".", inner) or inner.startswith(outer + "/")

    return [(a, b) for i, a in enumerate(paths) for b in paths[i + 1 :] if within(a, b) or within(b, a)]


@takes(
    {"type": "object", "propertyNames": {"pattern": f"^(?:{_VARIABLE.pattern})$"}, "additionalProperties": text.json_schema},
    dict,
)
def environment(value: object) -> tuple[tuple[str, str], ...]:
    """Return the names and values of a table of environment variables, by name."""
    if not isinstance(value, dict) or not all(_VARIABLE.fullmatch(str(name)) for name in value):
        message = 'must be a table of environment variables, such as { PORT = "{port}" }'
        raise WrongValueError(message)
    return tuple(sorted((name, text(given)) for name, given in value.items()))


def templated(read: Reader[str], *placeholders: str) -> Reader[str]:
    """Make a reader of texts with placeholders for numbers, such as ``{port}``; ``read`` checks the rest."""
    filled_in = {**read.json_schema, "pattern": "|".join(map(re.escape, placeholders))}

    @takes({"anyOf": [read.json_schema, filled_in]})
    def read_template(value: object) -> str:
        filled = value
        for placeholder in placeholders if isinstance(value, str) else ():
            filled = str(filled).replace(placeholder, "1")
        read(filled)
        return str(value)

    return read_template


def url(*schemes: str) -> Reader[str]:
    """Make a reader of URLs without credentials, and of the empty string."""
    begins = f"(?:{'|'.join(schemes)})://"

    @takes({**_string(f"|{begins}{_PRINTED}+"), "not": {"pattern": "@"}})
    def read(value: object) -> str:
        if isinstance(value, str) and "@" in value:
            # This check comes first, because any other message would show the value.
            message = "must not hold credentials; they come from the environment or a file"
            raise SecretInFileError(message)
        address = text(value)
        if not address:
            return address
        try:
            parts = urlsplit(address)
            usable = re.match(begins, address) and bool(parts.netloc or parts.path) and (parts.port or True)
        except ValueError:
            usable = False
        if not usable:
            message = "must be a URL: " + " or ".join(f"{s}://…" for s in schemes)
            raise WrongValueError(message)
        return address

    return read
