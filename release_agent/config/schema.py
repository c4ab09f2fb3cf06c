"""Read TOML tables into frozen dataclasses, collecting every problem on the way.

A dataclass field made with :func:`setting` carries its reader and its
documentation; :func:`read_table` walks the fields, so that the dataclass *is*
the schema and docs/reference/configuration.md can be checked against it.
"""

from __future__ import annotations

import difflib
from dataclasses import MISSING, dataclass, field, fields
from typing import TYPE_CHECKING, Any, TypeVar

from release_agent.config.readers import SecretInFileError, WrongValueError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from release_agent.config.readers import Reader

T = TypeVar("T")


@dataclass(frozen=True)
class Problem:
    """One problem of a file: its place (a dotted path) and the rule for the value; ``hint``: the fix."""

    path: str
    text: str
    hint: str = ""

    def __str__(self) -> str:
        """Return the problem as one line of an error."""
        return f"{self.path}: {self.text}" if self.path else self.text


def setting(read: Reader[Any], *, doc: str, default: object = MISSING, key: str = "", optional_in_code: bool = False) -> Any:
    """Declare a key read by ``read``, which raises :class:`WrongValueError`; without ``default`` it is required.

    ``optional_in_code``: the dataclass also has the default.
    """
    metadata = {"read": read, "doc": doc, "key": key, "default": default}
    return field(default=default, metadata=metadata) if default is None or optional_in_code else field(metadata=metadata)


def section(cls: type, *, doc: str) -> Any:
    """Declare a nested table, whose keys have defaults or are required."""
    return field(metadata={"table": cls, "doc": doc, "key": "", "default": MISSING})


def optional_section(cls: type, *, doc: str) -> Any:
    """Declare a nested table whose value is None if it is missing."""
    return field(default=None, metadata={"table": cls, "doc": doc, "key": "", "default": None})


def sections(cls: type, *, doc: str, key: str = "", required: bool = False) -> Any:
    """Declare an array of tables, ``[[key]]``."""
    return field(metadata={"tables": cls, "doc": doc, "key": key, "default": MISSING if required else ()})


def key_of(name: str, metadata: Any) -> str:
    """Return the key in the file for a dataclass field."""
    return str(metadata["key"] or name)


def read_table(cls: type[T], table: object, path: str, problems: list[Problem]) -> T:
    """Make a ``cls`` of a TOML table; adds every problem, and replaces a wrong value by a default."""
    if not isinstance(table, dict):
        problems.append(Problem(path, "must be a table"))
        table = {}
    # A field without metadata is not a key of the file.
    known = {key_of(f.name, f.metadata): f for f in fields(cls) if f.metadata}  # type: ignore[arg-type]
    problems += [_unknown(_join(path, unknown), unknown, list(known)) for unknown in sorted(set(table) - set(known))]
    values = {f.name: _read(f.metadata, table.get(key, MISSING), _join(path, key), problems) for key, f in known.items()}
    return cls(**values)


def _read(metadata: Any, value: Any, path: str, problems: list[Problem]) -> Any:
    if "table" in metadata and (value is not MISSING or metadata["default"] is MISSING):
        return read_table(metadata["table"], {} if value is MISSING else value, path, problems)
    if value is MISSING or ("tables" in metadata and value == []):
        if metadata["default"] is MISSING:
            problems.append(Problem(path, f"is missing: {metadata['doc']}", "add it"))
            return () if "tables" in metadata else ""
        return metadata["default"]
    if "tables" in metadata:
        return read_tables(metadata["tables"], value, path, problems)
    try:
        return metadata["read"](value)
    except WrongValueError as wrong:
        shown = "" if isinstance(wrong, SecretInFileError) else f", not {value!r}"
        problems.append(Problem(path, f"{wrong}{shown}", f"write another value: {metadata['doc']}"))
        return metadata["default"] if metadata["default"] is not MISSING else ""


def read_tables(cls: type[T], value: object, path: str, problems: list[Problem]) -> tuple[T, ...]:
    """Make a tuple of ``cls`` of a TOML array of tables."""
    if not isinstance(value, list):
        problems.append(Problem(path, f"must be an array of tables, [[{path}]]"))
        return ()
    return tuple(read_table(cls, table, f"{path}[{i}]", problems) for i, table in enumerate(value))


def _join(path: str, key: str) -> str:
    return f"{path}.{key}" if path else key


def _unknown(path: str, key: str, known: Sequence[str]) -> Problem:
    close = _closest(key, known)
    return Problem(path, "is not a key here" + nearest(key, known), f'write "{close}", or remove it' if close else "remove it")


def nearest(key: str, known: Sequence[str]) -> str:
    """Return the question "did you mean" for the known key nearest to an unknown one; empty if no key is known."""
    close = _closest(key, known)
    return f'; did you mean "{close}"?' if close else ""


def _closest(key: str, known: Sequence[str]) -> str:
    return next(iter(difflib.get_close_matches(key, known, n=1, cutoff=0)), "")
