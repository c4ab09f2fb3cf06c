"""Make the JSON Schema of the files, for editors, from the dataclasses and readers that read them."""

from __future__ import annotations

from dataclasses import MISSING, fields
from typing import TYPE_CHECKING, Any

from release_agent.config.readers import WrongValueError
from release_agent.config.schema import key_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from release_agent.config.check import FileKind
    from release_agent.config.readers import JsonSchema, Reader

_DIALECT = "http://json-schema.org/draft-07/schema#"  # the newest draft that editors of TOML support


def of(kind: FileKind) -> JsonSchema:
    """Return the schema of a file."""
    return {"$schema": _DIALECT, "title": kind.file, **_table(kind.table)}


def _table(cls: type) -> JsonSchema:
    keys = {key_of(field.name, field.metadata): field.metadata for field in fields(cls) if field.metadata}
    properties = {key: {"description": metadata["doc"], **_value(metadata)} for key, metadata in keys.items()}
    required = [key for key, metadata in keys.items() if _is_required(metadata)]
    return {"type": "object", "properties": properties, "required": required, "additionalProperties": False}


def _value(metadata: Mapping[str, Any]) -> JsonSchema:
    if "table" in metadata:
        return _table(metadata["table"])
    if "tables" in metadata:
        least = {"minItems": 1} if _is_required(metadata) else {}
        return {"type": "array", "items": _table(metadata["tables"]), **least}
    read, default = metadata["read"], metadata["default"]
    if default is MISSING or not _can_be_written(read, default):
        return {**read.json_schema}
    return {**read.json_schema, "default": read.write(default)}


def _can_be_written(read: Reader[Any], default: object) -> bool:
    """Return whether a file can contain the default; some defaults stand for a missing key."""
    try:
        return bool(read(read.write(default)) == default)
    except WrongValueError:
        return False


def _is_required(metadata: Mapping[str, Any]) -> bool:
    """Return whether a file must contain the key; a missing table counts as an empty one."""
    if "table" in metadata and metadata["default"] is MISSING:
        return bool(_table(metadata["table"])["required"])
    return metadata["default"] is MISSING
