"""The code names each environment variable once, in the list, and the documentation names exactly these."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import release_agent
from release_agent.system.logs import Redactor
from release_agent.variables import WITHHELD, Exposure, Variable
from support.markdown import page, pages

SOURCE = Path(release_agent.__file__).parent
OURS = re.compile(r"(?:RELEASE|SUDO|SUPERVISOR|CONSUL|XDG|ROLLOUT|SSL)_[A-Z_]+|NO_COLOR|TERM")
# docs/reference/consul.md says of it that it is not read; docs/reference/hooks.md shows how RELEASE_COMMIT_NAME looks for a
# repository; RELEASE_UID is an argument of the image's build.
ONLY_IN_DOCS = {"CONSUL_NAMESPACE", "RELEASE_UID", "RELEASE_COMMIT_NAME", "RELEASE_COMMIT_MY_API"}


def strings_that_look_like_variables(file: Path) -> set[str]:
    text = file.read_text(encoding="utf-8")
    tree = ast.parse(text if OURS.search(text) else "")
    strings = {node.value for node in ast.walk(tree) if isinstance(node, ast.Constant) and isinstance(node.value, str)}
    return {text for text in strings if OURS.fullmatch(text)}


def names_that_are_asked_for(file: Path) -> set[str]:
    """The strings in ``environ.get("NAME")``, ``environ["NAME"]`` and ``getenv("NAME")``."""
    found = set()
    text = file.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(text if re.search("environ|getenv", text) else "")):
        called = node.func if isinstance(node, ast.Call) else node.value if isinstance(node, ast.Subscript) else None
        key = node.args[0] if isinstance(node, ast.Call) and node.args else getattr(node, "slice", None)
        of_the_environment = isinstance(called, ast.Name | ast.Attribute) and re.search(
            r"environ\b(\.get)?$|getenv$", ast.unparse(called)
        )
        if of_the_environment and isinstance(key, ast.Constant):
            found.add(key.value)
    return found


def test_no_module_has_the_name_of_a_variable_but_the_list() -> None:
    elsewhere = [file for file in SOURCE.rglob("*.py") if file != SOURCE / "variables.py"]

    assert {str(file): names for file in elsewhere if (names := strings_that_look_like_variables(file))} == {}
    assert {str(file): names for file in elsewhere if (names := names_that_are_asked_for(file))} == {}


def test_the_documentation_names_every_variable_and_no_other() -> None:
    named = {name for one in pages() for name in OURS.findall(page(one).text)}

    assert named - ONLY_IN_DOCS == set(Variable)


@pytest.mark.parametrize("variable", [one for one in Variable if (SOURCE / f"{one.reader.replace('.', '/')}.py").exists()])
def test_a_variables_reader_reads_it(variable: Variable) -> None:
    reader = SOURCE / f"{variable.reader.replace('.', '/')}.py"

    assert f"Variable.{variable.name}" in reader.read_text(encoding="utf-8")


def test_readers_are_modules_of_the_agent_hooks_or_consul_itself() -> None:
    outside = {one.reader for one in Variable if not (SOURCE / f"{one.reader.replace('.', '/')}.py").exists()}

    assert outside == {"hooks", "consul"}


def test_no_secret_is_shown_to_hooks_and_every_one_is_replaced_in_logs(tmp_path: Path) -> None:
    secrets = [one for one in Variable if one.exposure in (Exposure.SECRET, Exposure.SECRET_FILE)]
    file = tmp_path / "token"
    file.write_text("from-the-file\n")
    environ = {one: str(file) if one.exposure is Exposure.SECRET_FILE else f"value-of-{one}" for one in secrets}

    shown = Redactor(environ)(" ".join([*environ.values(), "from-the-file"]))

    assert secrets
    assert set(secrets) < WITHHELD
    assert shown.split() == ["[secret]" if one.exposure is Exposure.SECRET else str(file) for one in secrets] + ["[secret]"]
