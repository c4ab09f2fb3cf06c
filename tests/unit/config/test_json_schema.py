"""The JSON Schemas accept and refuse the same as the readers, as far as JSON Schema can."""

from __future__ import annotations

import tomllib
from dataclasses import fields
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from jsonschema import Draft7Validator

from release_agent.config import json_schema, schema
from release_agent.config.check import FileKind
from release_agent.config.readers import WrongValueError
from support.environment import PROJECT
from support.markdown import page, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

    from release_agent.config.readers import Reader

VALIDATORS = {kind: Draft7Validator(json_schema.of(kind)) for kind in FileKind}
FILES = [*PROJECT.glob("examples/*/**/release-agent.toml"), *PROJECT.glob("examples/*/**/release.toml")]
EXAMPLES = [
    (name, example) for name in pages() for example in page(name).examples("toml") if not example.startswith("# fleet.toml")
]


def readers_of(cls: type, path: str = "") -> Iterator[tuple[str, Reader[Any]]]:
    """Every key with a value of its own, by its path, and what reads it."""
    for field in fields(cls):
        if field.metadata:
            full = f"{path}.{schema.key_of(field.name, field.metadata)}".lstrip(".")
            inner = field.metadata.get("table") or field.metadata.get("tables")
            yield from readers_of(inner, full) if inner else [(full, field.metadata["read"])]


# Each reader once, by the last key that it reads.
READERS = dict({id(read): (key, read) for key, read in readers_of(FileKind.AGENT.table)}.values())


NEAR = [
    *("", ".", "..", "a/b", "./a/", "..a", "/srv", "//srv/./x", "0s", "2s", "1.50m", "0.0ms", "1 GiB", "0.5KiB", "002", "0027"),
    *(
        "h:80",
        "h:080",
        "::1:80",
        "{port}",
        "{process_num}",
        "h:8{port}",
        "http://h/",
        "https://[::1]:8/?a",
        "http://u@h/",
        "http://h:{port}/",
    ),
]


def values(read: Reader[Any]) -> st.SearchStrategy[object]:
    """Values that the reader may take, or just not."""
    patterns = [str(part["pattern"]) for part in [read.json_schema, *parts(read.json_schema)] if "pattern" in part]
    texts = st.one_of([st.from_regex(pattern) for pattern in patterns] or [st.text(max_size=8)])
    near = st.sampled_from(NEAR)
    one = texts | near | st.integers(-2, 70000) | st.booleans() | st.sampled_from(read.json_schema.get("enum", [""]))
    return one | st.lists(texts | near, max_size=3) | st.dictionaries(texts | near, texts | near, max_size=2)


def parts(schema_of_one: dict[str, Any]) -> list[dict[str, Any]]:
    """The schemas within a schema."""
    found = [*schema_of_one.get("anyOf", []), *schema_of_one.get("allOf", [])]
    found += [schema_of_one[key] for key in ("items", "propertyNames") if key in schema_of_one]
    return found + [inner for one in found for inner in parts(one)]


@pytest.mark.parametrize("kind", FileKind)
def test_schema_is_one(kind: FileKind) -> None:
    Draft7Validator.check_schema(json_schema.of(kind))


@pytest.mark.parametrize("path", FILES, ids=str)
def test_example_file_is_valid_and_names_the_schema_it_is_valid_by(path: str) -> None:
    text = (PROJECT / path).read_text()
    kind = next(kind for kind in FileKind if kind.file == (PROJECT / path).name)

    assert [error.message for error in VALIDATORS[kind].iter_errors(tomllib.loads(text))] == []
    named = (PROJECT / path).parent / text.splitlines()[0].removeprefix("#:schema ")
    assert named.resolve() == PROJECT / "docs" / "schemas" / f"{kind.word}.json"


@pytest.mark.parametrize(("name", "example"), EXAMPLES)
def test_example_of_a_page_is_valid_as_far_as_it_goes(name: str, example: str) -> None:
    kind = FileKind.RELEASE if example.startswith("# release.toml") else FileKind.AGENT
    whole = "[app]" in example

    errors = [e for e in VALIDATORS[kind].iter_errors(tomllib.loads(example)) if whole or e.validator != "required"]

    assert [error.message for error in errors] == [], name


@pytest.mark.parametrize("key", READERS)
@settings(max_examples=60, deadline=None, derandomize=True)
@given(data=st.data())
def test_what_a_reader_takes_its_schema_takes_too(key: str, data: st.DataObject) -> None:
    read = READERS[key]
    value = data.draw(values(read))
    try:
        read(value)
    except WrongValueError:
        return

    assert Draft7Validator(read.json_schema).is_valid(value)


def test_defaults_in_the_schema_are_those_that_can_be_written() -> None:
    app = json_schema.of(FileKind.AGENT)["properties"]["app"]["properties"]  # type: ignore[index]
    service = json_schema.of(FileKind.RELEASE)["properties"]["service"]["items"]["properties"]  # type: ignore[index]

    assert app["keep"]["default"] == 5
    assert service["restart"]["default"] == "restart"
    assert service["rehearsal"]["properties"]["deadline"]["default"] == "30s"
    assert "default" not in app["name"]
    assert "default" not in service["after"]


@pytest.mark.parametrize(
    ("kind", "table", "wrong"),
    [
        (FileKind.RELEASE, {"helth": {}}, "Additional properties"),
        (FileKind.RELEASE, {"health": {"deadlin": "5s"}}, "Additional properties"),
        (FileKind.RELEASE, {"app": {}}, "Additional properties"),
        (FileKind.RELEASE, {"service": [{"name": "web", "cwd": "."}]}, "Additional properties"),
        (FileKind.RELEASE, {"service": [{}]}, "'name' is a required property"),
        (FileKind.RELEASE, {"service": {"name": "web"}}, "is not of type 'array'"),
        (FileKind.RELEASE, {"health": []}, "is not of type 'object'"),
        (FileKind.RELEASE, {"service": [{"name": "web", "restart": "signal:KILL"}]}, "is not one of"),
        (FileKind.RELEASE, {"hooks": {"build": [{"run": "x", "umask": "222"}]}}, "does not match"),
        (FileKind.AGENT, {}, "'app' is a required property"),
        (FileKind.AGENT, {"app": {"name": "a", "environment": "b", "root": "/c"}}, "'repository' is a required property"),
        (FileKind.AGENT, {"app": {"name": "a", "environment": "b", "root": "/c"}, "repository": []}, "[] should be non-empty"),
    ],
)
def test_what_the_readers_refuse_the_schema_refuses(kind: FileKind, table: dict[str, object], wrong: str) -> None:
    problems: list[schema.Problem] = []
    schema.read_table(kind.table, table, "", problems)

    assert problems
    assert any(wrong in error.message for error in VALIDATORS[kind].iter_errors(table))
