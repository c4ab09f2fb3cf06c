from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.config import schema
from release_agent.config.schema import Problem, WrongValueError

if TYPE_CHECKING:
    from collections.abc import Callable

http_url = schema.url("http", "https")
socket_url = schema.url("unix", "http")
letters = schema.matching("[a-z]+", "small letters")

GOOD = [
    (schema.boolean, True, True),
    (schema.boolean, False, False),
    (schema.text, "", ""),
    (schema.text, "Grüße, 世界", "Grüße, 世界"),
    (schema.required_text, " x", " x"),
    (letters, "abc", "abc"),
    (schema.one_of("tag", "pin"), "pin", "pin"),
    (schema.whole(1, 3), 1, 1),
    (schema.whole(1, 3), 3, 3),
    (schema.port, 65535, 65535),
    (schema.port, 0, 0),
    (schema.duration, "500ms", 0.5),
    (schema.duration, "2s", 2.0),
    (schema.duration, "1.5s", 1.5),
    (schema.duration, "5m", 300.0),
    (schema.duration, "1h", 3600.0),
    (schema.duration, "1d", 86400.0),
    (schema.duration, "0s", 0.0),
    (schema.positive_duration, "1ms", 0.001),
    (schema.optional_duration, "", None),
    (schema.optional_duration, "30s", 30.0),
    (schema.absolute_path, "/srv/api", "/srv/api"),
    (schema.inner_path, "var/uploads", "var/uploads"),
    (schema.inner_path, "./var//uploads/", "var/uploads"),
    (schema.inner_path, ".", "."),
    (schema.inner_path, "..data/x..y", "..data/x..y"),
    (schema.inner_path, ".gitignore", ".gitignore"),
    (schema.inner_paths, ["var/a", "var/b"], ("var/a", "var/b")),
    (schema.inner_paths, [], ()),
    (http_url, "", ""),
    (http_url, "http://127.0.0.1:8080/health?deep=1", "http://127.0.0.1:8080/health?deep=1"),
    (http_url, "https://[::1]:8443/", "https://[::1]:8443/"),
    (socket_url, "unix:///run/supervisor.sock", "unix:///run/supervisor.sock"),
]

BAD = [
    (schema.boolean, 1, "true or false"),
    (schema.boolean, "true", "true or false"),
    (schema.text, 7, "a string"),
    (schema.text, "a\nb", "without control characters"),
    (schema.text, "a\x7f", "without control characters"),
    (schema.required_text, "", "must not be empty"),
    (schema.required_text, "  ", "must not be empty"),
    (letters, "abc1", "small letters"),
    (letters, "abc\n", "small letters"),
    (letters, 5, "small letters"),
    (schema.one_of("tag", "pin"), "tags", '"tag" or "pin"'),
    (schema.whole(1, 3), 0, "from 1 to 3"),
    (schema.whole(1, 3), 4, "from 1 to 3"),
    (schema.whole(0, 3), True, "from 0 to 3"),
    (schema.whole(1, 3), 2.0, "from 1 to 3"),
    (schema.whole(1, 3), "2", "from 1 to 3"),
    (schema.port, 65536, "from 0 to 65535"),
    (schema.duration, 5, "a duration"),
    (schema.duration, "5", "a duration"),
    (schema.duration, "5 s", "a duration"),
    (schema.duration, "-5s", "a duration"),
    (schema.duration, "1h30m", "a duration"),
    (schema.duration, "٥s", "a duration"),  # noqa: RUF001 - a digit that is not 0 to 9
    (schema.positive_duration, "0s", "longer than nothing"),
    (schema.optional_duration, "0s", "longer than nothing"),
    (schema.absolute_path, "srv/api", "an absolute path"),
    (schema.absolute_path, "", "an absolute path"),
    (schema.inner_path, "", "must not be empty"),
    (schema.inner_path, "/etc", "a relative path"),
    (schema.inner_path, "../x", "a relative path"),
    (schema.inner_path, "a/../../x", "a relative path"),
    (schema.inner_path, ".git/hooks", "a relative path"),
    (schema.inner_path, "a/.git", "a relative path"),
    (schema.inner_paths, "var", "a list of paths"),
    (schema.inner_paths, ["."], "inside the release"),
    (schema.inner_paths, ["var", "var/uploads"], "none within another"),
    (schema.inner_paths, ["var", "./var/"], "distinct"),
    (schema.inner_paths, ["../x"], "a relative path"),
    (http_url, "ftp://host/", "http://… or https://…"),
    (http_url, "127.0.0.1:8080", "a URL"),
    (http_url, "http://", "a URL"),
    (http_url, "http://host:port/", "a URL"),
    (http_url, "http://host:99999/", "a URL"),
    (http_url, "http://[::1", "a URL"),
    (http_url, "http://host/\n", "without control characters"),
    (socket_url, "https://host/", "unix://… or http://…"),
]


@pytest.mark.parametrize(("read", "value", "meant"), GOOD)
def test_a_good_value_is_read(read: Callable[[Any], object], value: object, meant: object) -> None:
    found = read(value)

    assert found == meant
    assert type(found) is type(meant)


@pytest.mark.parametrize(("read", "value", "right"), BAD)
def test_a_bad_value_is_refused_with_what_would_be_right(read: Callable[[Any], object], value: object, right: str) -> None:
    with pytest.raises(WrongValueError) as refused:
        read(value)

    assert right in str(refused.value)


def test_overlapping_paths_are_found_in_pairs_and_namesakes_are_not() -> None:
    assert schema.overlapping(["a", "a/b", "ab", "c/d"]) == [("a", "a/b")]
    assert schema.overlapping(["a/b", "a"]) == [("a/b", "a")]
    assert schema.overlapping(["x", "."]) == [("x", ".")]
    assert schema.overlapping(["a", "a"]) == [("a", "a")]


@dataclass(frozen=True)
class Leaf:
    name: str = schema.setting(schema.required_text, doc="its name")
    size: int = schema.setting(schema.whole(1, 9), default=5, doc="how big", key="how-big")
    kept: str = "not a key of the file"


@dataclass(frozen=True)
class Tree:
    leaf: Leaf = schema.section(Leaf, doc="the one leaf")
    leaves: tuple[Leaf, ...] = schema.sections(Leaf, key="more", doc="others")
    roots: tuple[Leaf, ...] = schema.sections(Leaf, required=True, doc="at least one")


def read(table: object) -> tuple[Tree, list[str]]:
    problems: list[Problem] = []
    tree = schema.read_table(Tree, table, "", problems)
    return tree, [str(problem) for problem in problems]


def test_a_table_becomes_its_dataclass() -> None:
    tree, problems = read({"leaf": {"name": "a", "how-big": 7}, "more": [{"name": "b"}], "roots": []})

    assert tree == Tree(Leaf("a", 7), (Leaf("b", 5),), ())
    assert problems == []


def test_every_problem_has_its_dotted_path() -> None:
    _, problems = read({"leaf": {"how-big": 0}, "more": [{"name": "b"}, {"name": "", "colour": "red"}], "roots": {"name": "x"}})

    assert problems == [
        "leaf.name: is missing: its name",
        "leaf.how-big: must be a whole number from 1 to 9, not 0",
        'more[1].colour: is not a key here; did you mean "how-big"?',
        "more[1].name: must not be empty, not ''",
        "roots: must be an array of tables, [[roots]]",
    ]


def test_a_missing_section_is_read_as_an_empty_one() -> None:
    assert read({})[1] == ["leaf.name: is missing: its name", "roots: is missing: at least one"]


def test_something_else_in_place_of_a_table_is_said_so() -> None:
    assert read({"leaf": "a", "more": ["b"], "roots": []})[1][:3] == [
        "leaf: must be a table",
        "leaf.name: is missing: its name",
        "more[0]: must be a table",
    ]


def test_a_field_of_the_program_is_no_key_of_the_file() -> None:
    assert any(p.startswith("leaf.kept: is not a key here") for p in read({"leaf": {"name": "a", "kept": "x"}, "roots": []})[1])


def test_a_misspelt_key_is_answered_with_the_nearest() -> None:
    assert read({"leef": {}, "leaf": {"name": "a"}, "roots": []})[1] == ['leef: is not a key here; did you mean "leaf"?']
