"""A file of maestro-ng as text: its template, its YAML."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
import yaml

from release_agent.errors import Code, Misconfigured
from release_agent.rollout.inventory import maestro
from support.configuration import write
from support.maestro_files import HEAD, SHIPS, one, problems_of, read

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def test_packages_that_only_operators_need_are_asked_for_when_they_are_missing() -> None:
    with pytest.raises(Misconfigured) as refused:
        maestro.require_packages(find=lambda module: None if module == "yaml" else module)

    assert refused.value.code is Code.PACKAGES_MISSING
    assert "need PyYAML," in refused.value.message


def test_the_template_knows_the_environment_and_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SHIP", "one")
    text = one("{ship: {{ env.SHIP or 'two' }}}")

    assert read(tmp_path, text, environ={"SHIP": "three"})[0].url == "http://10.0.0.3:9001"
    assert read(tmp_path, text, environ={})[0].url == "http://10.0.0.2:9001"
    assert maestro.read(write(tmp_path / "f", text), [])[0].url == "http://10.0.0.1:9001"


@pytest.mark.parametrize(
    "ship",
    [
        "{{ env.SHIP or 'one' }}",
        "{{ env.SHIP|default('one') }}",
        "{{ env.get('SHIP', 'one') }}",
        "{% if env.SHIP %}two{% else %}one{% endif %}",
        "{% if env.SHIP is defined %}two{% else %}one{% endif %}",
        "{% if env.SHIP == 'x' %}two{% else %}one{% endif %}",
    ],
)
def test_a_variable_may_be_unset_where_the_template_provides_for_it(tmp_path: Path, ship: str) -> None:
    assert read(tmp_path, one(f"{{ship: {ship}}}"))[0].url == "http://10.0.0.1:9001"


@pytest.mark.parametrize(
    ("line", "problem"),
    [
        ("# {{ env.ZONE }}", "line 3: the environment variable ZONE is not set"),
        ("# {{ 'x' ~ env['ZONE'] }}", "line 3: the environment variable ZONE is not set"),
        ("# {{ env.ZONE.name }}", "line 3: the environment variable ZONE is not set"),
        ("# {{ [env.ZONE]|join }}", "line 3: the environment variable ZONE is not set"),
        ("# {{ zone }}", "line 3: 'zone' is undefined"),
        ("{% for zone in zones %}{% endfor %}", "line 3: 'zones' is undefined"),
        ("# {% if %}", "line 3: Expected an expression, got 'end of statement block'"),
        ("# {{ 1 / 0 }}", "line 3: ZeroDivisionError: division by zero"),
        ("# {{ ''.__class__ }}", "line 3: access to attribute '__class__' of 'str' object is unsafe."),
        ("# {% include 'broken' %}", "broken, line 2: "),
        ("# {% include 'unset' %}", "unset, line 1: 'zone' is undefined"),
        ("# {% include '../outside' %}", "line 3: ../outside"),
        ("# {% include 'missing' %}", "line 3: there is no file {beside}/missing"),
        ("# {% include 'pipe' %}", "line 3: cannot read {beside}/pipe: it is not a regular file"),
        ("# {% include 'endless' %}", "line 3: cannot read {beside}/endless: it is larger than 4194304 bytes"),
    ],
)
def test_what_a_template_stumbles_over_is_told_with_its_line(tmp_path: Path, line: str, problem: str) -> None:
    write(tmp_path / "broken", "\n{{ }\n")
    write(tmp_path / "unset", "{{ zone }}")
    os.mkfifo(tmp_path / "pipe")
    os.truncate(write(tmp_path / "endless", ""), 1 << 40)

    (found,) = problems_of(tmp_path, f"# a comment\n\n{line}\n{one('{ship: one}')}")

    assert found.startswith(problem.format(beside=tmp_path))


def _endless(path: Path) -> None:
    path.symlink_to("/dev/zero")


def _large(path: Path) -> None:
    path.touch()
    os.truncate(path, 1 << 40)


@pytest.mark.parametrize(
    ("make", "why"), [(os.mkfifo, "not a regular file"), (_endless, "not a regular file"), (_large, "larger than 4194304 bytes")]
)
def test_file_that_has_no_end_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], why: str) -> None:
    make(tmp_path / "maestro.yaml")

    with pytest.raises(Misconfigured, match=f"cannot read .*maestro.yaml: it is {why}") as refused:
        maestro.read(tmp_path / "maestro.yaml", [])

    assert refused.value.code is Code.INVENTORY_INVALID


def test_a_template_includes_and_imports_what_is_beside_it(tmp_path: Path) -> None:
    write(tmp_path / "ships.yaml", SHIPS)
    write(tmp_path / "names.j2", "{% set ship = 'two' %}")
    text = one("{ship: {{ names.ship }}}").replace(SHIPS, "{% import 'names.j2' as names %}\n{% include 'ships.yaml' %}\n")

    assert read(tmp_path, text)[0].url == "http://10.0.0.2:9001"


@pytest.mark.parametrize("libyaml", [True, False])
@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("a: 1\nb: [1\nc: 2\n", "line 3 of its rendered text: is not YAML: "),
        ("a: 1\nb: *c\n", "line 2 of its rendered text: is not YAML: found undefined alias"),
        ("a: 1\n---\nb: 1\n", "line 2 of its rendered text: is not YAML: but found another document"),
        ("a: !!python/name:os.system\n", "line 1 of its rendered text: is not YAML: could not determine a constructor"),
        ("a: \x00\n", "its rendered text: is not YAML: unacceptable character"),
        ("a: 2001-99-99\n", "its rendered text: is not YAML: month must be in 1..12"),
        ("", "its rendered text: must be a mapping"),
        ("- a\n", "its rendered text: must be a mapping"),
        ("text\n", "its rendered text: must be a mapping"),
    ],
)
def test_what_is_no_yaml_or_no_mapping_is_refused_with_libyaml_and_without(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, problem: str, *, libyaml: bool
) -> None:
    if not libyaml:
        monkeypatch.delattr(yaml, "CSafeLoader", raising=False)

    (found,) = problems_of(tmp_path, text)

    assert found.startswith(problem)


def test_a_key_that_is_there_twice_is_refused_not_lost(tmp_path: Path) -> None:
    text = one("{ship: one}") + "      web-1: {ship: two}\n"

    assert problems_of(tmp_path, text) == ['line 9 of its rendered text: "web-1" is a duplicate']


def test_yamls_references_and_merges_work(tmp_path: Path) -> None:
    text = f"""{HEAD}ships: {{demo: {{ip: &demo 192.168.10.2}}}}
_common: &common {{ship: demo, ports: {{rpc: {{exposed: 9001, external: [*demo, 19001]}}}}}}
services:
  web:
    instances:
      a: *common
      b: {{<<: *common, ports: {{rpc: '9001:19002'}}}}
"""
    assert [target.url for target in read(tmp_path, text)] == ["http://192.168.10.2:19001", "http://192.168.10.2:19002"]


def test_yaml_that_holds_itself_is_no_endless_loop(tmp_path: Path) -> None:
    assert problems_of(tmp_path, f"{HEAD}{SHIPS}services: &s {{web: *s}}\n") == ["services.web.instances: is missing"]
