"""The documentation agrees with the code, and is complete."""

from __future__ import annotations

import ast
import configparser
import re
import tomllib
from collections import Counter
from dataclasses import MISSING, fields
from pathlib import Path, PurePath
from typing import TYPE_CHECKING, Any

import pytest

import release_agent
from release_agent import errors
from release_agent.config import load, readers, schema, sections
from release_agent.config.blueprint import HOOK_STAGES, ReleaseToml
from release_agent.deploy.environment import Occasion, Place, environment
from release_agent.errors import Code, Exit
from release_agent.model import Kind, Release, State, exit_of
from release_agent.variables import WITHHELD, Variable
from support.environment import PROJECT
from support.markdown import names, page, pages

if TYPE_CHECKING:
    from collections.abc import Iterator

SOURCE = Path(release_agent.__file__).parent
CODES = "docs/reference/exit-and-error-codes.md"
# Examples of a whole file, as opposed to a part of one or to a release.toml.
WHOLE = [(name, example) for name in pages() for example in page(name).examples("toml") if "[app]" in example]
PARTS = [
    (name, example)
    for name in pages()
    for example in page(name).examples("toml")
    if "[app]" not in example and not example.startswith("# fleet.toml")
]


def source() -> str:
    return "\n".join(path.read_text(encoding="utf-8") for path in sorted(SOURCE.rglob("*.py")))


# Configuration


def tables(cls: type, path: str = "") -> Iterator[tuple[str, type]]:
    """Every table of the file, as TOML names it, with its dataclass."""
    for field in fields(cls):
        key = schema.key_of(field.name, field.metadata) if field.metadata else ""
        inner = field.metadata.get("table") or field.metadata.get("tables")
        if inner:
            full = f"{path}.{key}" if path else key
            yield (f"[[{full}]]" if "tables" in field.metadata else f"[{full}]"), inner
            yield from tables(inner, full)


def keys(cls: type) -> dict[str, Any]:
    """The metadata of a table's keys; what is a table of the top level has a heading of its own."""
    return {schema.key_of(field.name, field.metadata): field.metadata for field in fields(cls) if field.metadata}


TABLES = dict(tables(sections.Config))


def headings() -> dict[str, str]:
    """The tables that docs/reference/configuration.md describes, and under which heading."""
    titles = page("docs/reference/configuration.md").headings()
    return {name: title for title in titles for name in names(title) if name.startswith("[")}


def test_every_table_of_the_configuration_is_documented_and_no_other() -> None:
    assert set(headings()) == set(TABLES)


@pytest.mark.parametrize("table", TABLES)
def test_every_key_of_a_table_is_documented_and_no_other(table: str) -> None:
    rows = page("docs/reference/configuration.md").section(headings()[table], whole=False).rows()

    assert [names(row[0])[0] for row in rows] == list(keys(TABLES[table]))


@pytest.mark.parametrize("table", TABLES)
def test_documented_default_is_the_one_that_applies(table: str) -> None:
    rows = page("docs/reference/configuration.md").section(headings()[table], whole=False).rows()
    for (name, shown, *_), metadata in zip(rows, keys(TABLES[table]).values(), strict=True):
        if metadata["default"] is MISSING:
            assert shown == "required", name
        elif "table" in metadata:
            assert (shown, metadata["default"]) == ("none", None)
        elif shown == "none":  # may be left out, and cannot be written
            with pytest.raises(readers.WrongValueError):
                metadata["read"](metadata["default"])
        else:
            value = tomllib.loads(f"it = {names(shown)[0]}")["it"]
            assert (metadata["read"](value) if "read" in metadata else tuple(value)) == metadata["default"], name


def test_release_toml_has_the_tables_that_its_section_names() -> None:
    first = page("docs/reference/configuration.md").section("release.toml").prose.split("\n\n")[0]

    assert {name for name in names(first) if name.startswith("[")} == {name for name, _ in tables(ReleaseToml) if "." not in name}


@pytest.mark.parametrize(("name", "example"), WHOLE)
def test_example_of_a_whole_file_loads(name: str, example: str) -> None:
    problems: list[schema.Problem] = []

    load.parse(tomllib.loads(example), problems)

    assert [str(problem) for problem in problems] == [], name


@pytest.mark.parametrize(("name", "example"), PARTS)
def test_example_of_a_part_is_right_as_far_as_it_goes(name: str, example: str) -> None:
    problems: list[schema.Problem] = []
    kind = ReleaseToml if example.startswith("# release.toml") else sections.Config

    schema.read_table(kind, tomllib.loads(example), "", problems)

    assert [str(problem) for problem in problems if "is missing" not in problem.text] == [], name


def test_there_are_examples_for_newcomers_and_in_the_reference() -> None:
    assert {name for name, _ in WHOLE} >= {"docs/install.md", "docs/reference/configuration.md"}


def test_example_of_the_reference_shows_every_key() -> None:
    (example,) = page("docs/reference/configuration.md").section("The whole file").examples("toml")
    shown: dict[type, set[str]] = {cls: set() for cls in TABLES.values()}

    def collect(cls: type, table: dict[str, Any]) -> None:
        for key, value in table.items():
            inner = keys(cls)[key].get("table") or keys(cls)[key].get("tables")
            if cls in shown:
                shown[cls].add(key)
            for item in value if isinstance(value, list) else [value]:
                if inner:
                    collect(inner, item)

    collect(sections.Config, tomllib.loads(example))

    assert shown == {cls: set(keys(cls)) for cls in shown}


# Exit codes, error codes


def test_every_exit_code_is_documented_and_no_other() -> None:
    assert [int(row[0]) for row in page(CODES).section("Exit codes").rows()] == list(Exit)


def test_every_outcome_stands_beside_its_exit_code() -> None:
    outcomes = {"deployed", "unchanged", "error", *(kind.outcome for kind in errors.ReleaseError.__subclasses__())}
    rows = page(CODES).section("Exit codes").rows()
    found = {word: int(row[0]) for row in rows for word in names(row[1]) if word in outcomes}

    assert found == {outcome: exit_of(outcome) for outcome in outcomes}


def code_rows() -> dict[str, list[str]]:
    return {names(row[0])[0]: row for row in page(CODES).section("Error codes").rows()}


def test_every_error_code_is_documented_and_no_other() -> None:
    assert list(code_rows()) == list(Code)


def test_documented_exit_codes_of_an_error_are_those_it_is_raised_with() -> None:
    raised: set[tuple[str, int]] = set()
    texts = [text for path in SOURCE.rglob("*.py") if "Code." in (text := path.read_text(encoding="utf-8"))]
    nodes = (node for text in texts for node in ast.walk(ast.parse(text)))
    for call in (node for node in nodes if isinstance(node, ast.Call) and node.args):
        kind = getattr(errors, call.func.id, None) if isinstance(call.func, ast.Name) else None
        if isinstance(kind, type) and issubclass(kind, errors.ReleaseError):
            named = [n.attr for n in ast.walk(call.args[0]) if isinstance(n, ast.Attribute) and n.attr in Code.__members__]
            raised |= {(Code[name], kind.exit_code) for name in named}

    # A host of a fleet has a code without ending the rollout by it.
    documented = {(code, int(number)) for code, row in code_rows().items() if row[1] for number in row[1].split(", ")}
    assert raised <= documented
    # A failure after publishing is rolled back, and keeps its code: 20.
    assert {number for _, number in documented - raised} <= {Exit.ROLLED_BACK}


# Variables, events, modules, links


def test_every_variable_of_hooks_is_documented_and_no_other(tmp_path: Path) -> None:
    problems: list[schema.Problem] = []
    repository = {"name": "name", "path": "/repos/api"}
    table = {"app": {"name": "api", "environment": "test", "root": str(tmp_path)}, "repository": [repository]}
    parsed = load.parse(table, problems, {})
    release = Release("000001-0123456789ab", "v1.0.0", Kind.TAG, {"name": "0" * 40}, "f" * 64, State.BUILT, "")

    found = environment(parsed, {}, release, Occasion("1"), Place(tmp_path, tmp_path))

    rows = page("docs/reference/hooks.md").section("Variables").rows()
    assert sorted(names(row[0])[0] for row in rows if len(row) == 2) == sorted(found)
    of_two = [variable for variable in Variable if variable.reader in ("deploy.switch.leaving", "deploy.run")]
    assert [names(row[0])[0] for row in rows if len(row) == 3] == of_two


def test_every_variable_of_a_services_commands_is_documented_and_no_other() -> None:
    rows = page("docs/reference/hooks.md").section("Commands of a service").rows()

    documented = [names(row[0])[0] for row in rows if names(row[0])[0].startswith("RELEASE_")]
    assert documented == [variable for variable in Variable if variable.reader == "deploy.switch.traffic"]


def test_every_variable_withheld_from_hooks_is_documented() -> None:
    assert set(names(page("docs/reference/hooks.md").section("Variables").prose)) >= WITHHELD


def test_every_stage_of_hooks_is_documented_in_order() -> None:
    assert (
        tuple(names(row[0])[0] for row in page("docs/reference/hooks.md").section("Stages").rows()[: len(HOOK_STAGES)])
        == HOOK_STAGES
    )


def test_every_consul_variable_that_is_read_is_documented_and_no_other() -> None:
    read = {variable for variable in Variable if variable.reader == "consul.connection"}
    rows = page("docs/reference/consul.md").section("Variables").rows()

    assert {name for row in rows for name in names(row[0])} == read


def test_every_log_event_is_documented_and_no_other() -> None:
    logged = set(re.findall(r'\b(?:info|warning|say)\(\s*"([a-z]+\.[a-z_]+)"', source()))

    assert {names(row[0])[0] for row in page("docs/reference/logs-and-metrics.md").section("Logs").rows()} == logged


def test_every_room_is_in_the_architecture_and_no_other() -> None:
    section = page("docs/architecture.md").section("The rooms")
    rooms = {path.parent.name for path in SOURCE.glob("*/__init__.py")} | {path.stem for path in SOURCE.glob("*.py")}
    inner = {(path.parent.parent.name, path.parent.name) for path in SOURCE.glob("*/*/__init__.py")} - {("cli", "commands")}

    described = {names(row[0])[0]: row[1] for row in section.rows()}
    assert set(described) == rooms - {"__init__", "__main__"}
    assert {(room, inside) for room, inside in inner if inside not in names(described[room])} == set()


def test_no_class_name_stands_for_two_things() -> None:
    counted = Counter(re.findall(r"^class (\w+)", source(), re.MULTILINE))

    assert [name for name, times in counted.items() if times > 1] == []


@pytest.mark.parametrize("name", pages())
def test_every_link_leads_somewhere(name: str) -> None:
    for link in page(name).links():
        path, _, anchor = link.partition("#")
        if "://" not in link:
            target = (PROJECT / name).parent / path if path else PROJECT / name
            assert target.exists(), link
            assert not anchor or anchor in page(str(target.resolve().relative_to(PROJECT.resolve()))).anchors(), link


def test_shipped_supervisor_files_have_what_the_plugin_needs_where_it_is_read() -> None:
    """supervisord follows [include], supervisorctl does not."""
    read: dict[str, configparser.RawConfigParser] = {}
    for name in ("plugin.conf", "supervisord.conf"):
        read[name] = configparser.RawConfigParser(inline_comment_prefixes=(";",))
        read[name].read(PROJECT / "supervisor.d" / name)
    examples = configparser.RawConfigParser()
    shown = (page("docs/install.md").section("The plugin"), page("docs/guides/programs.md").section("Let supervisord take them"))
    for example in (example for section in shown for example in section.examples("ini")):
        examples.read_string(example)

    assert read["plugin.conf"].sections() == ["rpcinterface:release"]
    assert dict(read["plugin.conf"]["rpcinterface:release"]) == dict(examples["rpcinterface:release"])
    assert dict(read["supervisord.conf"]["ctlplugin:release"]) == dict(examples["ctlplugin:release"])
    assert examples["include"]["files"] in read["supervisord.conf"]["include"]["files"].split()
    assert PurePath(examples["rpcinterface:release"]["programs"]).match(examples["include"]["files"])


def test_tests_that_the_page_about_reliability_names_are_there() -> None:
    named = [name for row in page("docs/reliability.md").rows() for name in names(row[2])]

    assert len(named) > 15
    assert [name for name in named if not (PROJECT / name).is_file()] == []
