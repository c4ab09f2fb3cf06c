"""The order of the services in a file of maestro-ng."""

from __future__ import annotations

from typing import TYPE_CHECKING

from support.maestro_files import problems_of, ranks, read, services

if TYPE_CHECKING:
    from pathlib import Path


def test_what_a_service_requires_comes_before_it_whatever_the_files_order(tmp_path: Path) -> None:
    targets = read(tmp_path, services({"front": "api, cache", "api": "db", "cache": "", "db": ""}))

    assert [(target.name, target.rank) for target in targets] == [
        ("cache-1", 0),
        ("db-1", 0),
        ("api-1", 1),
        ("front-1", 2),
    ]


def test_a_service_comes_after_what_it_requires_by_way_of_one_that_is_not_chosen(tmp_path: Path) -> None:
    text = services({"front": "api", "api": "db", "db": "disk", "disk": ""})

    assert ranks(read(tmp_path, text, "front", "db")) == {"db": 0, "front": 1}
    assert ranks(read(tmp_path, text, "front", "api", "disk")) == {"disk": 0, "api": 1, "front": 2}


def test_the_longest_way_decides_the_rank(tmp_path: Path) -> None:
    assert ranks(read(tmp_path, services({"d": "a, c", "a": "", "c": "b", "b": "a"}))) == {"a": 0, "b": 1, "c": 2, "d": 3}


def test_wants_info_makes_no_order_and_requires_nobody(tmp_path: Path) -> None:
    text = services({"a": "", "b": ""}).replace("requires: []", "wants_info: [b, elsewhere]", 1)

    assert ranks(read(tmp_path, text)) == {"a": 0, "b": 0}


def test_requires_that_goes_round_is_refused_every_round_of_it(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, services({"a": "b", "b": "c", "c": "a", "d": "d", "e": "a"}))

    assert len(problems) == 2
    assert "services.d.requires: is circular: d -> d" in problems
    (way,) = [problem.partition(": is circular: ")[2] for problem in problems if "d -> d" not in problem]
    assert way in ("a -> b -> c -> a", "b -> c -> a -> b", "c -> a -> b -> c")


def test_rounds_that_share_a_service_are_each_refused(tmp_path: Path) -> None:
    problems = problems_of(tmp_path, services({"a": "b, c", "b": "a", "c": "a"}))

    assert sorted("".join(sorted(set(problem.partition(": is circular: ")[2]) & set("abc"))) for problem in problems) == [
        "ab",
        "ac",
    ]


def test_a_round_among_services_that_are_not_chosen_is_refused_as_maestro_does(tmp_path: Path) -> None:
    (problem,) = problems_of(tmp_path, services({"a": "", "b": "b"}), "a")

    assert problem == "services.b.requires: is circular: b -> b"
