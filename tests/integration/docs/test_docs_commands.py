"""docs/reference/commands.md has every command and option, and its JSON examples have the shape of the real output."""

from __future__ import annotations

import argparse
import json
import os
import re
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.cli.main import CommandParser, parser
from release_agent.errors import SERVICE_LOG_HINT
from release_agent.model import Record
from support import warm
from support.markdown import names, page
from support.repositories import Repository
from support.supervisors import supervising

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

TITLES = [title for title in page("docs/reference/commands.md").headings() if title.endswith("--json`")]
CONFIGURATION = """
[app]
name = "api"
environment = "production"
root = "{place}/root"
[[repository]]
name = "api"
path = "{place}/repository"
[hooks]
build = [{{ run = "echo building" }}]
[[service]]
name = "web"
restart = "none"
[health]
stable_for = "0s"
[supervisor]
url = "{url}"
[consul]
enabled = false
"""
PROCESS = {
    "group": "web",
    "name": "web",
    "state": 20,
    "statename": "RUNNING",
    "pid": 1,
    "spawnerr": "",
    "description": "",
    "start": 1,
    "stop": 0,
}
PROGRAM = {
    "group": "web",
    "name": "web",
    "command": "web",
    "startsecs": 1,
    "stopwaitsecs": 1,
    "autostart": False,
    "uid": 1,
    "startretries": 3,
    "exitcodes": [0],
}


def commands() -> dict[str, argparse.ArgumentParser]:
    (subparsers,) = [action for action in parser()._actions if isinstance(action, argparse._SubParsersAction)]
    found: dict[str, CommandParser] = dict(subparsers.choices)
    for command in found.values():
        command.complete()
    return dict(found)


def arguments(one: argparse.ArgumentParser) -> set[str]:
    """What a parser takes, as the documentation writes it."""
    taken = [a for a in one._actions if not isinstance(a, argparse._HelpAction | argparse._SubParsersAction)]
    return {action.option_strings[-1] if action.option_strings else action.dest.upper() for action in taken}


def verbs(one: argparse.ArgumentParser) -> dict[str, argparse.ArgumentParser]:
    return {
        verb: parser
        for action in one._actions
        if isinstance(action, argparse._SubParsersAction)
        for verb, parser in action.choices.items()
    }


def test_every_command_is_documented_and_no_other() -> None:
    found = re.findall(r"^`release-agent (\S+)`$", "\n".join(page("docs/reference/commands.md").headings()), re.MULTILINE)

    assert found == list(commands())


@pytest.mark.parametrize("command", commands())
def test_every_argument_of_a_command_is_documented_and_no_other(command: str) -> None:
    section = page("docs/reference/commands.md").section(f"`release-agent {command}`", whole=False)
    usage = next(line for line in section.text.splitlines() if line.startswith(f"`release-agent {command}"))
    described = {re.split("[ =]", names(row[0])[0])[0] for row in section.rows()} - set(verbs(commands()[command]))

    wanted = arguments(commands()[command])
    without_values = re.sub(r"(--[a-z-]+) [A-Z]+", r"\1", usage)
    assert set(re.findall(r"--[a-z-]+|\b[A-Z]{2,}\b", without_values)) == wanted
    assert described == wanted - {"--json"}


def test_every_verb_of_config_is_documented_with_its_arguments() -> None:
    rows = page("docs/reference/commands.md").section("`release-agent config`", whole=False).rows()
    documented = {names(row[0])[0].split()[0]: set(re.findall(r"--[a-z-]+|\b[A-Z]{2,}\b", row[0])) for row in rows}

    assert documented == {verb: arguments(one) for verb, one in verbs(commands()["config"]).items()}


def test_every_option_before_the_command_is_documented() -> None:
    intro = page("docs/reference/commands.md").section("Commands", whole=False)

    assert {names(row[0])[0].split()[0] for row in intro.rows()} == arguments(parser()) | {"--json"}


def test_every_json_example_is_json() -> None:
    examples = page("docs/reference/commands.md").examples("json")

    assert examples
    for example in examples:
        json.loads(example)


def test_record_example_has_the_keys_of_a_record() -> None:
    for example in page("docs/reference/commands.md").section("`deploy --json`").examples("json"):
        assert list(json.loads(example)) == list(Record("1").to_json())


@pytest.fixture
def supervisor_url() -> Iterator[str]:
    """A supervisor that has one service, which runs."""
    with supervising([PROGRAM], [PROCESS], pid=1) as url:
        yield url


def printed(place: Path, url: str) -> dict[str, Any]:
    """Return what each command prints, once two versions were deployed, in the order of the page."""
    repository = Repository(place / "repository")
    (place / "agent.toml").write_text(CONFIGURATION.format(place=place, url=url))
    for tag in ("v1.0.0", "v1.1.0"):
        repository.commit({"version": tag}, tag=tag)
        identity = ask(place, "deploy", "--json")["id"]
    (place / "release.toml").write_text("[health]\ndeadlin = '5s'\n")
    given = {"rollback": ["1"], "pin": ["v1.0.0"], "explain": ["would-go-back"]} | {"freeze": ["the database moves"]}
    given |= {
        "protect": ["1"],
        "unprotect": ["1"],
        "remove": ["1", "--previous"],
    }
    answers = {}
    for title in TITLES:
        filled = {"ID": identity, "FILE": str(place / "release.toml")}
        words = [filled.get(word, word) for word in names(title)[0].split()]
        if words[0] == "status":
            ask(place, "deploy", "--json")  # so that there is something behind
        if words[0] == "verify":
            (place / "root/current/version").write_text("changed")
        answers[title] = ask(place, words[0], *given.get(words[0], []), *words[1:])
    return answers


def ask(place: Path, *arguments: str) -> Any:
    environment = {"PATH": os.environ["PATH"], "HOME": str(place)}
    code, out, err = warm.run(["release-agent", "--config", place / "agent.toml", *arguments], environment, 60)
    assert code in (0, 10, 30), err
    return json.loads(out.splitlines()[-1])


def same_shape(example: Any, answer: Any, place: str = "") -> list[str]:
    """Return where keys or kinds differ; what is null or empty on one side is not compared."""
    if not example or not answer:
        return []
    if isinstance(example, dict) and isinstance(answer, dict):
        if list(example) != list(answer):
            return [f"{place}: {list(example)} is documented, {list(answer)} is printed"]
        return [wrong for key in example for wrong in same_shape(example[key], answer[key], f"{place}.{key}")]
    if isinstance(example, list) and isinstance(answer, list):
        return same_shape(example[0], answer[0], f"{place}[0]")
    number = isinstance(example, int | float) and isinstance(answer, int | float)
    return [] if number or type(example) is type(answer) else [f"{place}: {example!r} is documented, {answer!r} is printed"]


def test_examples_have_the_shape_of_what_the_commands_print(tmp_path: Path, supervisor_url: str) -> None:
    answers = printed(tmp_path, supervisor_url)
    examples = {title: json.loads(page("docs/reference/commands.md").section(title).examples("json")[0]) for title in TITLES}

    assert [wrong for title in TITLES for wrong in same_shape(examples[title], answers[title], title)] == []
    # What would not have been compared, were it empty.
    assert answers["`status --json`"]["services"]
    assert answers["`status --json`"]["previous"]
    assert answers["`verify --json`"]["drift"]
    assert answers["`history ID --json`"]["hooks"]


def test_every_command_has_an_example() -> None:
    # `init` asks a person; `monitor` and `completion` answer programs, each in its own language; `rollout` has a page of its own.
    assert {names(title)[0].split()[0] for title in TITLES} == set(commands()) - {"init", "monitor", "rollout", "completion"}


def test_hint_about_an_unhealthy_release_is_the_one_that_is_given() -> None:
    examples = page("docs/reference/commands.md").section("`deploy --json`").examples("json")
    hints = [error["hint"] for error in (json.loads(example)["error"] for example in examples) if error]

    assert hints == [SERVICE_LOG_HINT]


def test_error_of_a_command_has_the_documented_shape(tmp_path: Path) -> None:
    example = json.loads(page("docs/reference/commands.md").section("Errors of the other commands").examples("json")[0])
    command = [sys.executable, "-m", "release_agent", "--config", str(tmp_path / "none.toml"), "status", "--json"]

    done = subprocess.run(command, cwd=tmp_path, check=False, capture_output=True, text=True)

    assert done.returncode == 10
    assert same_shape(example, json.loads(done.stdout)) == []
