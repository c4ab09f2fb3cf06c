from __future__ import annotations

import argparse
import subprocess
import sys
from pathlib import Path

import pytest

from release_agent.cli import commands
from release_agent.cli.call import asked_by
from release_agent.cli.commands import COMMANDS, history
from release_agent.cli.main import parser


def test_every_module_of_the_folder_is_a_command_and_every_command_a_module() -> None:
    modules = {path.stem for path in Path(commands.__file__).parent.glob("*.py")} - {"__init__"}

    assert modules == set(COMMANDS)


@pytest.mark.parametrize("name", COMMANDS)
def test_every_command_can_be_run(name: str) -> None:
    assert callable(commands.load(name).run)


def imported_by(*arguments: str) -> set[str]:
    """The modules of the agent that a command has imported when it ends."""
    code = f"""
import atexit, sys
atexit.register(lambda: print(*[name for name in sys.modules if name.startswith("release_agent.")]))
from release_agent.cli.main import main
sys.argv = ["release-agent", *{list(arguments)}]
main()
"""
    done = subprocess.run([sys.executable, "-P", "-c", code], check=False, capture_output=True, text=True)
    return set(done.stdout.splitlines()[-1].split())


@pytest.mark.parametrize("name", ["deploy", "status", "doctor"])
def test_only_the_module_of_the_chosen_command_is_imported(name: str) -> None:
    # Without a configuration it ends as soon as it needs one.
    found = imported_by("--config", "/nonexistent", name)

    assert {module for module in found if module.startswith("release_agent.cli.commands.")} == {
        f"release_agent.cli.commands.{name}"
    }
    assert not {module for module in found if module.startswith("release_agent.rollout")}


@pytest.mark.parametrize("option", ["--version", "--help"])
def test_an_option_that_needs_no_command_imports_none(option: str) -> None:
    assert imported_by(option) == {
        "release_agent.cli",
        "release_agent.cli.commands",
        "release_agent.cli.main",
        "release_agent.usage",
        "release_agent.variables",
    }


@pytest.mark.parametrize(("given", "read"), [("3", 3), ("0", 0), ("9" * 5000, (1 << 63) - 1)])
def test_history_takes_any_number_as_its_limit(given: str, read: int) -> None:
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)

    assert parser.parse_args([f"--limit={given}"]).limit == read


@pytest.mark.parametrize("given", ["-1", "x", "", "1.5"])
def test_history_with_a_limit_that_is_no_number_of_deployments_is_wrong_usage(
    given: str, capsys: pytest.CaptureFixture[str]
) -> None:
    parser = argparse.ArgumentParser()
    history.add_arguments(parser)

    with pytest.raises(SystemExit) as ended:
        parser.parse_args(["--limit", given])

    assert ended.value.code == 2
    assert f"argument --limit: {given!r} is not a number of deployments" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "environ", "by"),
    [
        ([], {}, ""),
        ([], {"SUDO_USER": "ada"}, "ada"),
        (["--by", "bob"], {"SUDO_USER": "ada"}, "bob"),
        (["--by", ""], {"SUDO_USER": "ada"}, ""),
        (["--by", "a\nb\x1b\udc80"], {}, "a b??"),
        ([], {"SUDO_USER": "ada", "SUPERVISOR_PROCESS_NAME": "deploy"}, ""),  # who started supervisord
        (["--by", "nightly"], {"SUDO_USER": "ada", "SUPERVISOR_PROCESS_NAME": "deploy"}, "nightly"),
    ],
)
@pytest.mark.parametrize("command", ["deploy", "stage", "rollback"])
def test_who_asks_is_who_is_named_or_who_typed_it_through_sudo(
    command: str, words: list[str], environ: dict[str, str], by: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("SUDO_USER", "SUPERVISOR_PROCESS_NAME"):
        monkeypatch.delenv(name, raising=False)
    for name, value in environ.items():
        monkeypatch.setenv(name, value)

    assert asked_by(parser().parse_args([command, *words])) == by
