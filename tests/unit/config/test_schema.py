from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest
from jsonschema import Draft7Validator

from release_agent.config import readers, schema
from release_agent.config.readers import WrongValueError

if TYPE_CHECKING:
    from collections.abc import Callable

    from release_agent.config.readers import Reader
    from release_agent.config.schema import Problem

http_url = readers.url("http", "https")
socket_url = readers.url("unix", "http")
letters = readers.matching("[a-z]+", "small letters")

GOOD = [
    (readers.boolean, True, True),
    (readers.boolean, False, False),
    (readers.text, "", ""),
    (readers.text, "Grüße, 世界", "Grüße, 世界"),
    (readers.required_text, " x", " x"),
    (letters, "abc", "abc"),
    (readers.one_of("tag", "pin"), "pin", "pin"),
    (readers.whole(1, 3), 1, 1),
    (readers.whole(1, 3), 3, 3),
    (readers.port, 65535, 65535),
    (readers.port, 0, 0),
    (readers.duration, "500ms", 0.5),
    (readers.duration, "2s", 2.0),
    (readers.duration, "1.5s", 1.5),
    (readers.duration, "5m", 300.0),
    (readers.duration, "1h", 3600.0),
    (readers.duration, "1d", 86400.0),
    (readers.duration, "365d", 365 * 86400.0),
    (readers.duration, "0s", 0.0),
    (readers.positive_duration, "1ms", 0.001),
    (readers.optional_duration, "", None),
    (readers.optional_duration, "30s", 30.0),
    (readers.size, "1024 TiB", 1 << 50),
    (readers.absolute_path, "/srv/api", "/srv/api"),
    (readers.inner_path, "var/uploads", "var/uploads"),
    (readers.inner_path, "./var//uploads/", "var/uploads"),
    (readers.inner_path, ".", "."),
    (readers.inner_path, "..data/x..y", "..data/x..y"),
    (readers.inner_path, ".gitignore", ".gitignore"),
    (readers.inner_paths, ["var/a", "var/b"], ("var/a", "var/b")),
    (readers.inner_paths, [], ()),
    (http_url, "", ""),
    (http_url, "http://127.0.0.1:8080/health?deep=1", "http://127.0.0.1:8080/health?deep=1"),
    (http_url, "https://[::1]:8443/", "https://[::1]:8443/"),
    (socket_url, "unix:///run/supervisor.sock", "unix:///run/supervisor.sock"),
]

BAD = [
    (readers.boolean, 1, "true or false"),
    (readers.boolean, "true", "true or false"),
    (readers.text, 7, "a string"),
    (readers.text, "a\nb", "without control characters"),
    (readers.text, "a\x7f", "without control characters"),
    (readers.required_text, "", "must not be empty"),
    (readers.required_text, "  ", "must not be empty"),
    (letters, "abc1", "small letters"),
    (letters, "abc\n", "small letters"),
    (letters, 5, "small letters"),
    (readers.one_of("tag", "pin"), "tags", '"tag" or "pin"'),
    (readers.whole(1, 3), 0, "from 1 to 3"),
    (readers.whole(1, 3), 4, "from 1 to 3"),
    (readers.whole(0, 3), True, "from 0 to 3"),
    (readers.whole(1, 3), 2.0, "from 1 to 3"),
    (readers.whole(1, 3), "2", "from 1 to 3"),
    (readers.port, 65536, "from 0 to 65535"),
    (readers.duration, 5, "a duration"),
    (readers.duration, "5", "a duration"),
    (readers.duration, "5 s", "a duration"),
    (readers.duration, "-5s", "a duration"),
    (readers.duration, "1h30m", "a duration"),
    (readers.duration, "٥s", "a duration"),
    (readers.positive_duration, "0s", "greater than zero"),
    (readers.optional_duration, "0s", "greater than zero"),
    (readers.duration, "366d", "at most 365d"),
    (readers.positive_duration, "99999999999999999h", "at most 365d"),
    (readers.duration, "9" * 400 + "s", "at most 365d"),
    (readers.absolute_path, "srv/api", "an absolute path"),
    (readers.absolute_path, "", "an absolute path"),
    (readers.absolute_path, "/" + "a/" * 3000, "at most 1000 bytes"),
    (readers.absolute_path, "/srv/" + "ä" * 128, "at most 255 in each name"),
    (readers.inner_path, "", "must not be empty"),
    (readers.inner_path, "/etc", "a relative path"),
    (readers.inner_path, "../x", "a relative path"),
    (readers.endpoint, "127.0.0.1", '"host:port"'),
    (readers.endpoint, "127.0.0.1:65536", '"host:port"'),
    (readers.endpoint, "127.0.0.1:" + "8" * 5000, '"host:port"'),
    (readers.size, "2 GB", "a size such as"),
    (readers.size, "1048577 TiB", "at most 1048576 TiB"),
    (readers.size, "9" * 400 + " GiB", "at most 1048576 TiB"),
    (readers.inner_path, "a/../../x", "a relative path"),
    (readers.inner_path, ".git/hooks", "a relative path"),
    (readers.inner_path, "a/.git", "a relative path"),
    (readers.inner_paths, "var", "a list of paths"),
    (readers.inner_paths, ["."], "inside the release"),
    (readers.inner_paths, ["var", "var/uploads"], "none within another"),
    (readers.inner_paths, ["var", "./var/"], "distinct"),
    (readers.inner_paths, ["../x"], "a relative path"),
    (http_url, "ftp://host/", "http://… or https://…"),
    (http_url, "127.0.0.1:8080", "a URL"),
    (http_url, "http://", "a URL"),
    (http_url, "http://host:port/", "a URL"),
    (http_url, "http://host:99999/", "a URL"),
    (http_url, "http://[::1", "a URL"),
    (http_url, "http://bob@host/", "must not hold credentials"),
    (http_url, "HTTP://host/", "a URL"),
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


# What JSON Schema cannot say: the size of a number in a text, bytes, paths in relation to each other.
# Python, unlike other languages, lets \n stand before $.
UNSAYABLE = [
    (readers.whole(1, 3), 2.0),
    (letters, "abc\n"),
    (readers.duration, "366d"),
    (readers.positive_duration, "99999999999999999h"),
    (readers.duration, "9" * 400 + "s"),
    (readers.endpoint, "127.0.0.1:65536"),
    (readers.endpoint, "127.0.0.1:" + "8" * 5000),
    (readers.size, "1048577 TiB"),
    (readers.size, "9" * 400 + " GiB"),
    (readers.absolute_path, "/" + "a/" * 3000),
    (readers.absolute_path, "/srv/" + "ä" * 128),
    (readers.inner_paths, ["var", "var/uploads"]),
    (readers.inner_paths, ["var", "./var/"]),
    (http_url, "http://host:port/"),
    (http_url, "http://host:99999/"),
    (http_url, "http://[::1"),
    (http_url, "http://host/\n"),
]


@pytest.mark.parametrize(("read", "value", "meant"), GOOD)
def test_a_good_value_is_valid_by_the_schema_of_its_reader(read: Reader[Any], value: object, meant: object) -> None:
    assert Draft7Validator(read.json_schema).is_valid(value)
    assert read(read.write(meant)) == meant


@pytest.mark.parametrize(("read", "value", "right"), BAD)
def test_a_bad_value_is_refused_by_the_schema_unless_no_schema_can_say_it(read: Reader[Any], value: object, right: str) -> None:
    sayable = value not in [wrong for _, wrong in UNSAYABLE if type(wrong) is type(value)]

    assert Draft7Validator(read.json_schema).is_valid(value) is not sayable, right


def test_overlapping_paths_are_found_in_pairs_and_namesakes_are_not() -> None:
    assert readers.overlapping(["a", "a/b", "ab", "c/d"]) == [("a", "a/b")]
    assert readers.overlapping(["a/b", "a"]) == [("a/b", "a")]
    assert readers.overlapping(["x", "."]) == [("x", ".")]
    assert readers.overlapping(["a", "a"]) == [("a", "a")]


@dataclass(frozen=True)
class Leaf:
    name: str = schema.setting(readers.required_text, doc="its name")
    size: int = schema.setting(readers.whole(1, 9), default=5, doc="how big", key="how-big")
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
    tree, problems = read({"leaf": {"name": "a", "how-big": 7}, "more": [{"name": "b"}], "roots": [{"name": "c"}]})

    assert tree == Tree(Leaf("a", 7), (Leaf("b", 5),), (Leaf("c", 5),))
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


def test_required_tables_without_one_are_missing() -> None:
    assert read({"leaf": {"name": "a"}, "roots": [], "more": []})[1] == ["roots: is missing: at least one"]


def test_something_else_in_place_of_a_table_is_said_so() -> None:
    assert read({"leaf": "a", "more": ["b"], "roots": []})[1][:3] == [
        "leaf: must be a table",
        "leaf.name: is missing: its name",
        "more[0]: must be a table",
    ]


def test_a_field_of_the_program_is_no_key_of_the_file() -> None:
    assert any(p.startswith("leaf.kept: is not a key here") for p in read({"leaf": {"name": "a", "kept": "x"}, "roots": []})[1])


def test_a_misspelt_key_is_answered_with_the_nearest() -> None:
    _, problems = read({"leef": {}, "leaf": {"name": "a"}, "roots": [{"name": "c"}]})

    assert problems == ['leef: is not a key here; did you mean "leaf"?']
