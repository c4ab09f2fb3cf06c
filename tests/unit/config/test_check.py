from __future__ import annotations

import json
import os
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from release_agent.config.check import FileKind, check
from support.configuration import APP, MINIMAL

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize(
    ("name", "text", "kind"),
    [
        ("release-agent.toml", "", FileKind.AGENT),
        ("release.toml", APP, FileKind.RELEASE),
        ("shop.toml", MINIMAL, FileKind.AGENT),
        ("shop.toml", "[consul]\nenabled = false\n", FileKind.AGENT),
        ("shop.toml", "[health]\ndeadline = '5s'\n", FileKind.RELEASE),
    ],
)
def test_file_is_recognised_by_its_name_or_else_by_what_is_in_it(tmp_path: Path, name: str, text: str, kind: FileKind) -> None:
    (tmp_path / name).write_text(text)

    assert check(tmp_path / name).kind is kind


def test_file_without_a_problem_has_none(tmp_path: Path) -> None:
    (tmp_path / "shop.toml").write_text(MINIMAL)

    assert check(tmp_path / "shop.toml").problems == ()


def test_every_problem_has_its_key_and_what_to_do(tmp_path: Path) -> None:
    (tmp_path / "release-agent.toml").write_text(f"{MINIMAL}[app.roott]\n[revision]\npoll = 'often'\n[[service]]\n")

    problems = check(tmp_path / "release-agent.toml").problems

    assert [(problem.path, problem.hint.split(":")[0]) for problem in problems] == [
        ("app.roott", 'write "root", or remove it'),
        ("revision.poll", "write another value"),
        ("service[0].name", "add it"),
    ]


def test_problems_between_keys_are_found_too(tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_text('[[service]]\nname = "web"\n[[service.probe]]\nhttp = "http://h/"\ntcp = "h:1"\n')

    (problem,) = check(tmp_path / "release.toml").problems

    assert str(problem) == "service[0].probe[0]: must have exactly one of http, tcp and exec"


def test_service_of_another_repository_may_be_named(tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_text('[[service]]\nname = "web"\nafter = ["db"]\n')

    assert check(tmp_path / "release.toml").problems == ()


@pytest.mark.parametrize("programs", ["", 'programs = "supervisor.d/*.conf"\n'])
@pytest.mark.parametrize(
    ("after", "circle"), [('["web"]', "web waits for web: a circle"), ('["db"]', "web waits for db waits for web: a circle")]
)
def test_services_of_one_file_that_wait_for_one_another_are_a_problem(
    tmp_path: Path, programs: str, after: str, circle: str
) -> None:
    services = f'[[service]]\nname = "web"\nafter = {after}\n[[service]]\nname = "db"\n'
    (tmp_path / "release.toml").write_text(programs + services)

    (problem,) = check(tmp_path / "release.toml").problems

    assert str(problem).startswith(f"service.after: {circle}")


def test_name_of_the_machine_that_checks_does_not_count(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RELEASE_AGENT_HOST", "not a host name")
    (tmp_path / "release-agent.toml").write_text(MINIMAL)

    assert check(tmp_path / "release-agent.toml").problems == ()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"[app", "is not TOML: "),
        (b"\xff", "is not TOML: "),
        (b"a = " + b"[" * 9999, "is not TOML: "),
        (None, "cannot be read: "),
    ],
)
def test_file_that_is_no_toml_or_is_missing_is_a_problem(tmp_path: Path, content: bytes | None, said: str) -> None:
    if content is not None:
        (tmp_path / "release.toml").write_bytes(content)

    checked = check(tmp_path / "release.toml")

    assert checked.kind is None
    assert checked.problems[0].text.startswith(said)


def test_release_toml_that_is_a_symlink_is_a_problem_because_a_deployment_refuses_it(tmp_path: Path) -> None:
    for name, kind in (("release.toml", FileKind.RELEASE), ("release-agent.toml", FileKind.AGENT)):
        (tmp_path / "elsewhere").mkdir(exist_ok=True)
        (tmp_path / "elsewhere" / name).write_text(MINIMAL if kind is FileKind.AGENT else "")
        (tmp_path / name).symlink_to(f"elsewhere/{name}")

    (problem,) = check(tmp_path / "release.toml").problems

    assert str(problem) == "is a symlink, and must be a regular file"
    assert check(tmp_path / "release-agent.toml").problems == ()


def test_pipe_in_place_of_a_file_is_a_problem(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "release.toml")

    assert len(check(tmp_path / "release.toml").problems) == 1


def run(place: Path, *arguments: str, config: str = "", in_use: str = "/nonexistent") -> subprocess.CompletedProcess[str]:
    named = ["--config", config] if config else []
    command = [sys.executable, "-P", "-m", "release_agent", *named, "config", *arguments]
    return subprocess.run(command, cwd=place, env={"RELEASE_AGENT_CONFIG": in_use}, check=False, capture_output=True, text=True)


def test_command_says_all_problems_of_all_files_and_ends_with_10(tmp_path: Path) -> None:
    (tmp_path / "release.toml").write_text("[health]\ndeadlin = '5s'\n")
    (tmp_path / "release-agent.toml").write_text(MINIMAL)

    done = run(tmp_path, "check", "release-agent.toml", "release.toml", "none.toml")

    assert done.returncode == 10
    assert done.stdout.splitlines() == [
        "release-agent.toml: a valid release-agent.toml",
        'release.toml: health.deadlin: is not a key here; did you mean "deadline"?',
        '  next: write "deadline", or remove it',
        "none.toml: cannot be read: No such file or directory",
        "  next: name a file that this user may read",
    ]


def test_command_without_a_file_checks_the_configuration_in_use(tmp_path: Path) -> None:
    (tmp_path / "one.toml").write_text(MINIMAL)
    (tmp_path / "other.toml").write_text("[health]\n")  # by its text a release.toml

    of_environment = run(tmp_path, "check", in_use="one.toml")
    of_option = run(tmp_path, "check", "--json", config="other.toml", in_use="one.toml")
    missing = run(tmp_path, "check")

    assert (of_environment.returncode, of_environment.stdout) == (0, "one.toml: a valid release-agent.toml\n")
    (checked,) = json.loads(of_option.stdout)
    assert (of_option.returncode, checked["file"], checked["kind"]) == (10, "other.toml", "agent")
    assert "app" in {problem["key"].partition(".")[0] for problem in checked["problems"]}
    assert (missing.returncode, missing.stdout.splitlines()[0]) == (10, "/nonexistent: cannot be read: No such file or directory")


def test_command_with_valid_files_ends_with_0(tmp_path: Path) -> None:
    (tmp_path / "release-agent.toml").write_text(MINIMAL)

    done = run(tmp_path, "check", "--json", "release-agent.toml")

    assert done.returncode == 0
    assert json.loads(done.stdout) == [{"file": "release-agent.toml", "kind": "agent", "problems": []}]


@pytest.mark.parametrize(
    ("given", "title"), [([], "release-agent.toml"), (["agent"], "release-agent.toml"), (["release"], "release.toml")]
)
def test_command_prints_the_schema(tmp_path: Path, given: list[str], title: str) -> None:
    done = run(tmp_path, "schema", *given)

    schema: dict[str, Any] = json.loads(done.stdout)
    assert schema["title"] == title
