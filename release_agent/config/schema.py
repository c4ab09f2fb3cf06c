"""Read TOML tables into frozen dataclasses, collecting every problem on the way.

A dataclass field made with :func:`setting` carries its reader and its
documentation; :func:`read_table` walks the fields, so that the dataclass *is*
the schema and docs/configuration.md can be checked against it.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

_DURATION = re.compile(r"([0-9]+(?:\.[0-9]+)?)(ms|s|m|h|d)")
_UNITS = {"ms": 0.001, "s": 1, "m": 60, "h": 3600, "d": 86400}
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_HIGHEST_PORT = 65535


class WrongValueError(ValueError):
    """A value is not what it must be; its text says what would be right."""


class SecretInFileError(WrongValueError):
    """A value that must not be repeated in the message about it."""


@dataclass(frozen=True)
class Problem:
    """One thing wrong in a file: where (a dotted path) and what would be right."""

    path: str
    text: str

    def __str__(self) -> str:
        """As one line of an error."""
        return f"{self.path}: {self.text}"


def setting(read: Callable[[Any], object], *, doc: str, default: object = MISSING, key: str = "") -> Any:  # noqa: ANN401 - a dataclass field stands for a value of any type
    """Declare a key read by ``read``, which raises :class:`WrongValueError`; without ``default`` it is required."""
    metadata = {"read": read, "doc": doc, "key": key, "default": default}
    return field(default=None, metadata=metadata) if default is None else field(metadata=metadata)


def section(cls: type, *, doc: str) -> Any:  # noqa: ANN401 - as setting()
    """Declare a nested table; each key of it has a default of its own or is required."""
    return field(metadata={"table": cls, "doc": doc, "key": "", "default": MISSING})


def sections(cls: type, *, doc: str, key: str = "", required: bool = False) -> Any:  # noqa: ANN401 - as setting()
    """Declare an array of tables, ``[[key]]``."""
    return field(metadata={"tables": cls, "doc": doc, "key": key, "default": MISSING if required else ()})


def key_of(name: str, metadata: Any) -> str:  # noqa: ANN401 - a field's metadata mapping
    """Return the key in the file that a dataclass field stands for."""
    return str(metadata["key"] or name)


def read_table(cls: type[T], table: object, path: str, problems: list[Problem]) -> T:
    """Make a ``cls`` of a TOML table; problems are added, and a wrong value is replaced to go on looking."""
    if not isinstance(table, dict):
        problems.append(Problem(path, "must be a table"))
        table = {}
    # A field without metadata is not a key of the file.
    known = {key_of(f.name, f.metadata): f for f in fields(cls) if f.metadata}  # type: ignore[arg-type]
    problems += [
        Problem(_join(path, unknown), "is not a key here" + _nearest(unknown, list(known)))
        for unknown in sorted(set(table) - set(known))
    ]
    values = {f.name: _read(f.metadata, table.get(key, MISSING), _join(path, key), problems) for key, f in known.items()}
    return cls(**values)


def _read(metadata: Any, value: Any, path: str, problems: list[Problem]) -> Any:  # noqa: ANN401 - values of a TOML file
    if "table" in metadata:
        return read_table(metadata["table"], {} if value is MISSING else value, path, problems)
    if value is MISSING:
        if metadata["default"] is MISSING:
            problems.append(Problem(path, f"is missing: {metadata['doc']}"))
            return () if "tables" in metadata else ""
        return metadata["default"]
    if "tables" in metadata:
        return read_tables(metadata["tables"], value, path, problems)
    try:
        return metadata["read"](value)
    except WrongValueError as wrong:
        shown = "" if isinstance(wrong, SecretInFileError) else f", not {value!r}"
        problems.append(Problem(path, f"{wrong}{shown}"))
        return metadata["default"] if metadata["default"] is not MISSING else ""


def read_tables(cls: type[T], value: object, path: str, problems: list[Problem]) -> tuple[T, ...]:
    """Make a tuple of ``cls`` of a TOML array of tables."""
    if not isinstance(value, list):
        problems.append(Problem(path, f"must be an array of tables, [[{path}]]"))
        return ()
    return tuple(read_table(cls, table, f"{path}[{i}]", problems) for i, table in enumerate(value))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _nearest(key: str, known: Sequence[str]) -> str:
    close = difflib.get_close_matches(key, known, n=1, cutoff=0)
    return f'; did you mean "{close[0]}"?' if close else ""


# Readers: a value of the file to what the program works with, or WrongValueError.


def boolean(value: object) -> bool:
    """``true`` or ``false``."""
    if not isinstance(value, bool):
        message = "must be true or false"
        raise WrongValueError(message)
    return value


def text(value: object) -> str:
    """Return a string without control characters; may be empty."""
    if not isinstance(value, str) or _CONTROL.search(value):
        message = "must be a string without control characters"
        raise WrongValueError(message)
    return value


def required_text(value: object) -> str:
    """Return a string of at least one character."""
    if not text(value).strip():
        message = "must not be empty"
        raise WrongValueError(message)
    return text(value)


def matching(pattern: str, what: str) -> Callable[[object], str]:
    """Make a reader of strings that match ``pattern`` whole."""

    def read(value: object) -> str:
        if not isinstance(value, str) or not re.fullmatch(pattern, value):
            message = f"must be {what}"
            raise WrongValueError(message)
        return value

    return read


def one_of(*choices: str) -> Callable[[object], str]:
    """Make a reader of one word of several."""

    def read(value: object) -> str:
        if value not in choices:
            message = "must be " + " or ".join(f'"{c}"' for c in choices)
            raise WrongValueError(message)
        return str(value)

    return read


def whole(low: int, high: int) -> Callable[[object], int]:
    """Make a reader of whole numbers within ``low`` and ``high``, both included."""

    def read(value: object) -> int:
        if not isinstance(value, int) or isinstance(value, bool) or not low <= value <= high:
            message = f"must be a whole number from {low} to {high}"
            raise WrongValueError(message)
        return value

    return read


port = whole(0, _HIGHEST_PORT)


def endpoint(value: object) -> str:
    """Return ``"host:port"``; the empty string passes."""
    host, _, number = text(value).rpartition(":")
    if value and (not host or not number.isascii() or not number.isdigit() or not 0 < int(number) <= _HIGHEST_PORT):
        message = 'must be "host:port"'
        raise WrongValueError(message)
    return text(value)


def duration(value: object) -> float:
    """``"500ms"``, ``"2s"``, ``"5m"``, ``"1h"``, ``"1d"``: seconds."""
    found = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if not found:
        message = 'must be a duration such as "500ms", "2s", "5m" or "1h"'
        raise WrongValueError(message)
    return float(found[1]) * _UNITS[found[2]]


def positive_duration(value: object) -> float:
    """Return a duration in seconds that is longer than nothing."""
    seconds = duration(value)
    if seconds <= 0:
        message = "must be longer than nothing"
        raise WrongValueError(message)
    return seconds


def optional_duration(value: object) -> float | None:
    """Return a duration in seconds, or None for the empty string."""
    return None if value == "" else positive_duration(value)


def absolute_path(value: object) -> str:
    """Return a path from ``/``."""
    if not text(value).startswith("/"):
        message = "must be an absolute path"
        raise WrongValueError(message)
    return text(value)


def inner_path(value: object) -> str:
    """Return a relative path that stays inside, normal form; ``.`` is the directory itself."""
    parts = [part for part in text(value).split("/") if part not in ("", ".")]
    if not value:
        message = 'must not be empty; "." is the release itself'
        raise WrongValueError(message)
    if text(value).startswith("/") or ".." in parts or ".git" in parts:
        message = 'must be a relative path without ".."'
        raise WrongValueError(message)
    return "/".join(parts) or "."


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


def overlapping(paths: Sequence[str]) -> list[tuple[str, str]]:
    """Return the pairs of inner paths of which one is, or contains, the other."""

    def within(inner: str, outer: str) -> bool:
        return outer in (".", inner) or inner.startswith(outer + "/")

    return [(a, b) for i, a in enumerate(paths) for b in paths[i + 1 :] if within(a, b) or within(b, a)]


def url(*schemes: str) -> Callable[[object], str]:
    """Make a reader of URLs that hold no credentials; the empty string passes."""

    def read(value: object) -> str:
        if isinstance(value, str) and "@" in value:
            # Before anything else is said of it: what is wrong must not be shown.
            message = "must not hold credentials; they come from the environment or a file"
            raise SecretInFileError(message)
        address = text(value)
        if not address:
            return address
        try:
            parts = urlsplit(address)
            usable = parts.scheme in schemes and bool(parts.netloc or parts.path) and (parts.port or True)
        except ValueError:
            usable = False
        if not usable:
            message = "must be a URL: " + " or ".join(f"{s}://…" for s in schemes)
            raise WrongValueError(message)
        return address

    return read
