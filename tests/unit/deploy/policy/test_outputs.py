"""Two runs of a build hook with the same inputs have the same key."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from release_agent.config.sections import BuildHook
from release_agent.deploy.policy.outputs import counting, inputs, key
from support.configuration import MINIMAL, configuration, problems_of

HOOK = BuildHook(run="npm ci", timeout=600, cache=("lock",), makes=("node_modules",))
SAME: dict[str, Any] = {"umask": 0o22, "inputs": {"lock": ["file", 0o644, "1"]}, "variables": {}, "surroundings": [["x86_64"]]}


def test_same_inputs_have_the_same_key_whatever_the_order_of_variables() -> None:
    one, other = {"A": "1", "B": "2"}, {"B": "2", "A": "1"}

    assert key(HOOK, **SAME | {"variables": one}) == key(HOOK, **SAME | {"variables": other})


@pytest.mark.parametrize(
    "changed",
    [
        {"umask": 0o77},
        {"inputs": {"lock": ["file", 0o755, "1"]}},
        {"inputs": {"lock": ["file", 0o644, "2"]}},
        {"inputs": {"lock": None}},
        {"variables": {"NODE_ENV": "production"}},
        {"surroundings": [["aarch64"]]},
        {"hook": replace(HOOK, run="npm ci ")},
        {"hook": replace(HOOK, makes=("node_modules", "more"))},
        {"hook": replace(HOOK, cwd="api")},
    ],
    ids=str,
)
def test_any_other_input_has_another_key(changed: dict[str, Any]) -> None:
    assert key(changed.pop("hook", HOOK), **SAME | changed) != key(HOOK, **SAME)


def test_time_limit_is_no_input() -> None:
    assert key(replace(HOOK, timeout=1), **SAME) == key(HOOK, **SAME)


def test_variables_of_the_session_and_the_run_do_not_count_unless_the_command_names_them() -> None:
    environment = {
        "NODE_ENV": "production",
        "PATH": "/bin",
        "HOME": "/root",
        "RELEASE_ROOT": "/srv/api",
        "TERM": "xterm",
        "SSH_TTY": "/dev/pts/1",
        "SUPERVISOR_ENABLED": "1",
        "RELEASE_ID": "1",
        "RELEASE_REVISION": "v1",
    }

    assert sorted(counting("make", environment)) == ["HOME", "NODE_ENV", "PATH", "RELEASE_ROOT"]
    assert "RELEASE_REVISION" in counting('make VERSION="${RELEASE_REVISION#v}"', environment)


def test_files_that_the_command_names_are_inputs_but_not_what_it_makes() -> None:
    hook = replace(HOOK, makes=(".venv",))
    words = ["./install", "lock", ".venv/bin/python", "/usr/bin/make", "../other", "-r", "a/b"]

    assert inputs(hook, words) == ["lock", "-r", "a/b", "install"]
    assert inputs(hook, ["cd", "./api", "./install"], ["./api"]) == [
        "lock",
        "api",
        "api/api",
        "api/cd",
        "api/install",
        "cd",
        "install",
    ]


@pytest.mark.parametrize(
    ("hook", "problem"),
    [
        ('cache = ["a"]', "hooks.build[0]: must have both cache and makes, or neither"),
        ('makes = ["a"]', "hooks.build[0]: must have both cache and makes, or neither"),
        ('cache = ["a/b"]\nmakes = ["a"]', 'hooks.build[0].makes: "a/b" and "a" overlap'),
        ('cache = ["a"]\nmakes = ["/b"]', "hooks.build[0].makes: must be a relative path"),
        ('cache = ["a"]\nmakes = ["../b"]', "hooks.build[0].makes: must be a relative path"),
        ('cache = ["a"]\nmakes = [".git/b"]', "hooks.build[0].makes: must be a relative path"),
        ('cache = ["a"]\nmakes = ["."]', "hooks.build[0].makes: must name distinct paths"),
        ('cache = ["a"]\nmakes = ["var/log"]', 'hooks.build.makes: "var/log" and "var" overlap'),
        ('cache = ["a"]\nmakes = ["b"]\n[[hooks.build]]\nrun = "x"\ncache = ["a"]\nmakes = ["b/c"]', '"b" and "b/c" overlap'),
    ],
)
def test_cache_that_cannot_be_is_refused(hook: str, problem: str) -> None:
    problems = problems_of(f'{MINIMAL}[shared]\ndirectories = ["var"]\n[[hooks.build]]\nrun = "make"\n{hook}\n')

    assert any(problem in found for found in problems), problems


def test_command_that_differs_in_each_release_is_refused() -> None:
    text = f'{MINIMAL}[[hooks.build]]\nrun = "./configure --prefix=$RELEASE_PATH"\ncache = ["a"]\nmakes = ["b"]\n'

    assert problems_of(text) == ["hooks.build[0].run: must not use RELEASE_PATH with makes: its value differs for each release"]


@pytest.mark.parametrize("stage", ["before_publish", "after_deploy"])
def test_only_build_hooks_have_a_cache(stage: str) -> None:
    (problem, _) = problems_of(f'{MINIMAL}[[hooks.{stage}]]\nrun = "make"\ncache = ["a"]\nmakes = ["b"]\n')

    assert "cache: is not a key here" in problem


@pytest.mark.parametrize(("text", "size"), [("2 GiB", 2 << 30), ("0 MiB", 0), ("1.5KiB", 1536), ("1 TiB", 1 << 40)])
def test_sizes_are_read_in_bytes(text: str, size: int) -> None:
    assert configuration(f'[release]\ncache_size = "{text}"').release.cache_size == size


@pytest.mark.parametrize("value", ['"2 GB"', "2", '"-1 MiB"', '""', '"many"'])
def test_size_without_a_known_unit_is_refused(value: str) -> None:
    (problem,) = problems_of(f"{MINIMAL}[release]\ncache_size = {value}")

    assert 'must be a size such as "500 MiB" or "2 GiB"' in problem
