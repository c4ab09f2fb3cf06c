"""The pages about rollouts have every verb and option, and their tables of examples are true."""

from __future__ import annotations

import argparse
import re
import tomllib

import pytest

from release_agent.cli.main import parser
from release_agent.rollout import arguments
from release_agent.rollout.console import text
from release_agent.rollout.console.progress import Progress
from release_agent.rollout.inventory import hosts
from release_agent.rollout.model import Host, HostStage, Phase
from release_agent.rollout.options import Options, amount
from release_agent.rollout.policy.budgets import over_budget
from release_agent.rollout.policy.waves import assign_waves
from support.clocks import FakeClock
from support.markdown import Line, Page, names, page
from support.rollouts import a_wave

FLEET = page("docs/guides/fleet.md")
REFERENCE = page("docs/reference/fleet.md")


def rows_with(column: str) -> list[list[str]]:
    """The rows of the one table of the section about waves and budgets that has a column."""
    tables = FLEET.section("Set waves and budgets").prose.split("\n\n")
    (found,) = [text for text in tables if f"| {column} |" in text.partition("\n")[0]]
    return Page([Line(text) for text in found.splitlines()]).rows()


def _verbs() -> dict[str, argparse.ArgumentParser]:
    rollout = argparse.ArgumentParser()
    arguments.add(rollout)
    (subparsers,) = [a for a in rollout._actions if isinstance(a, argparse._SubParsersAction)]
    return dict(subparsers.choices)


def _options(one: argparse.ArgumentParser) -> set[str]:
    return {a.option_strings[-1] for a in one._actions if a.option_strings} - {"--help"}


def test_every_verb_is_documented_and_no_other() -> None:
    rows = REFERENCE.section("Verbs").rows()

    assert sorted(names(row[0])[0] for row in rows) == sorted(_verbs())


def test_every_option_of_a_start_is_documented_and_no_other() -> None:
    tables = [*REFERENCE.section("Hosts").rows(), *REFERENCE.section("Options of start").rows()]
    documented = {word.split()[0] for row in tables for word in names(row[0])[:1] if word.startswith("--")}

    assert documented == _options(_verbs()["start"])


def test_documented_defaults_are_those_that_apply() -> None:
    taken = vars(parser().parse_args(["rollout", "start", "v1", "host"]))
    for row in REFERENCE.section("Options of start").rows():
        option = names(row[0])[0].split()[0]
        if row[1]:
            given = vars(parser().parse_args(["rollout", "start", "v1", "host", option, names(row[1])[0]]))
            assert given == taken, option


def test_defaults_in_the_help_are_those_that_apply() -> None:
    given = ["rollout", "start", "v1", "host"]
    shown = {
        a.option_strings[-1]: re.search(r"\(default: ([0-9][^)]*)\)", a.help or "")
        for a in _verbs()["start"]._actions
        if a.option_strings
    }
    defaults = {option: found[1].replace("%%", "%") for option, found in shown.items() if found}

    assert set(defaults) == {
        "--waves",
        "--parallel",
        "--bake",
        "--max-failed",
        "--max-unreachable",
        "--deadline",
        "--progress-deadline",
    }
    for option, value in defaults.items():
        assert vars(parser().parse_args([*given, option, value])) == vars(parser().parse_args(given)), option


@pytest.mark.parametrize("row", rows_with("`--waves`"))
def test_waves_of_the_table_are_those_that_are_made(row: list[str]) -> None:
    hosts = [Host(str(number), "", order=number) for number in range(int(row[0]))]

    assign_waves(hosts, [amount(part) for part in names(row[1])[0].split(",")])

    sizes = [sum(host.wave == wave for host in hosts) for wave in range(max(host.wave for host in hosts) + 1)]
    assert sizes == [int(size) for size in row[2].split(", ")]


@pytest.mark.parametrize("row", rows_with("budget"))
def test_budgets_of_the_table_stop_what_they_say(row: list[str]) -> None:
    total, failed = int(row[0]), int(row[2])
    hosts = [Host(str(n), "", stage=HostStage.FAILED if n < failed else HostStage.DONE) for n in range(total)]

    stops = over_budget(hosts, Options(max_failed=amount(names(row[1])[0])))

    assert bool(stops) == (row[3] == "stops")


def test_first_example_of_a_fleet_is_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    (example,) = FLEET.section("Start a rollout").examples("toml")
    file = tmp_path_factory.mktemp("fleet") / "fleet.toml"
    file.write_text(example)

    fleet = hosts.from_file(file)

    assert [target.name for target in fleet.targets] == ["api-1", "api-2"]
    assert (fleet.user, fleet.password_file) == ("agent", str(file.parent / "fleet-password"))


def test_example_of_a_host_has_every_key(tmp_path_factory: pytest.TempPathFactory) -> None:
    (example,) = FLEET.section("List the hosts").examples("toml")
    file = tmp_path_factory.mktemp("fleet") / "fleet.toml"
    file.write_text(example)

    (target,) = hosts.from_file(file).targets

    assert (target.name, target.service, target.zone) == ("api-2", "api", "b")
    assert set(tomllib.loads(example)["host"][0]) == {"name", "url", "service", "zone"}


def test_example_of_a_whole_system_is_one(tmp_path_factory: pytest.TempPathFactory) -> None:
    (example,) = FLEET.section("Roll out a whole system").examples("toml")
    file = tmp_path_factory.mktemp("fleet") / "fleet.toml"
    file.write_text(example)

    ranks = {target.service: target.rank for target in hosts.from_file(file).targets}

    assert ranks == {"registry": 0, "api": 1, "web": 2}


def test_example_shows_a_rollout_as_it_is_shown() -> None:
    (example,) = FLEET.section("Example: a rollout that is rolled back").examples("text")

    events = re.findall(r"^\S+Z  (\S+)", example, re.MULTILINE)
    assert events[0] == "rollout.started"
    assert events[-1] == "rollout.reverted"
    assert {"wave.started", "host.started", "host.deploying", "host.finished", "bake.started", "revert.started"} <= set(events)


def test_last_line_of_the_example_is_how_its_failed_host_is_shown() -> None:
    (example,) = FLEET.section("Example: a rollout that is rolled back").examples("text")
    (why,) = re.findall(r"host=host-4  stage=failed .*  code=hook-failed  why=(.*)", example)
    host = Host("host-4", "", app="api", stage=HostStage.FAILED, code="hook-failed", why=why)

    assert example.splitlines()[-1] == f"  {text.line(a_wave(5), host)}"


def test_screens_of_a_rollback_have_the_words_of_the_picture() -> None:
    *_, stopping, back, _ = FLEET.section("What a rollout shows on a terminal").examples("text")
    rollout, why = a_wave(8, revert=True), "1 of 8 hosts failed, and --max-failed allows 0"
    for host, stage in zip(rollout.hosts.values(), (*[HostStage.DONE] * 6, HostStage.FAILED, HostStage.DEPLOYING), strict=True):
        host.stage = stage
    rollout.stopping = why
    seen = Progress(rollout, FakeClock().now)

    assert stopping.splitlines()[1:3] == seen.notes()
    rollout.enter(Phase.REVERTING, why)
    assert back.splitlines()[1:2] == seen.notes()
    assert f"  {seen.summary().partition('  ')[0]}  " in back.splitlines()[-1]
