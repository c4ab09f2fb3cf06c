"""Read members of JSON objects that an older or a newer agent may have written: notes, records, rollouts.

Only the standard library is imported: supervisord loads this module.
"""

from __future__ import annotations

from dataclasses import fields
from enum import StrEnum
from typing import TYPE_CHECKING, Any, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

E = TypeVar("E", bound=StrEnum)


def known_fields(kind: type, body: Mapping[str, Any]) -> dict[str, Any]:
    """Return the members of a JSON object that a dataclass has. A newer agent may have written further members.

    Raises TypeError unless ``body`` is an object whose plain members have the types of the dataclass.
    """
    known = [member for member in fields(kind) if member.name in body]
    for member in known:
        if not _PLAIN.get(str(member.type), _anything)(body[member.name]):
            message = f"{member.name} must be {member.type}, not {body[member.name]!r:.80}"
            raise TypeError(message)
    return {member.name: body[member.name] for member in known}


def _anything(_value: object) -> bool:
    return True


def _is_texts(value: object) -> bool:
    return isinstance(value, dict) and all(isinstance(text, str) for pair in value.items() for text in pair)


# What a value of JSON must be, by the annotation of its member; other annotations have readers of their own.
_PLAIN: dict[str, Callable[[object], bool]] = {
    "str": lambda value: isinstance(value, str),
    "str | None": lambda value: value is None or isinstance(value, str),
    "int": lambda value: isinstance(value, int),
    "bool": lambda value: isinstance(value, bool),
    "float": lambda value: isinstance(value, (int, float)),
    "dict[str, str]": _is_texts,
    "dict[str, str] | None": lambda value: value is None or _is_texts(value),
}


def known_member(value: str, otherwise: E) -> E:
    """Return a member of an enumeration by its value, or ``otherwise`` for a value that only a newer agent knows."""
    kind = type(otherwise)
    return kind(value) if value in list(kind) else otherwise
