from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest

from release_agent.cli.call import Call
from release_agent.cli.commands import explain
from release_agent.cli.explanations import EXPLANATIONS
from release_agent.cli.main import parser
from release_agent.errors import Code, Exit

if TYPE_CHECKING:
    from pathlib import Path


def explained(code: Code | Exit, capsys: pytest.CaptureFixture[str], *, as_json: bool = False) -> str:
    assert explain.run(Call(Namespace(config="/nonexistent", code=code, json=as_json))) == 0
    return capsys.readouterr().out


def test_every_code_has_its_explanation() -> None:
    assert list(EXPLANATIONS) == list(Code)
    assert all(explanation.happened and explanation.to_do for explanation in EXPLANATIONS.values())


@pytest.mark.parametrize("code", Code)
def test_explanation_has_no_markup_that_a_terminal_cannot_follow(code: Code, capsys: pytest.CaptureFixture[str]) -> None:
    shown = explained(code, capsys)

    assert shown.startswith(code)
    assert "](" not in shown


def test_explanation_of_a_code_says_what_happened_why_and_what_to_do(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("COLUMNS", "80")

    assert explained(Code.SHARED_MISSING, capsys).splitlines() == [
        "shared-missing (exit 13)",
        "what happened  A shared file does not exist.",
        "why            The release has no file that could become the shared file.",
        "what to do     Create the file under `<root>/shared`.",
    ]


def test_links_of_an_explanation_name_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(explained(Code.CONSUL_UNREACHABLE, capsys, as_json=True))

    assert told["to_do"].startswith("Fix Consul or the token (the policy (docs/guides/consul.md#the-access-it-needs))")


def test_unknown_code_is_wrong_usage_and_the_nearest_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["explain", "unhealty"])

    assert ended.value.code == 2
    assert "'unhealty' is not an error code; the nearest are unhealthy, " in capsys.readouterr().err


def test_exit_code_lists_the_error_codes_that_end_with_it_by_their_first_sentence(capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(Exit.REFUSED, capsys).splitlines()
    told = json.loads(explained(Exit.REFUSED, capsys, as_json=True))

    assert [line.split()[0] for line in lines] == [code for code, each in EXPLANATIONS.items() if Exit.REFUSED in each.exits]
    assert "not-pinned             Nothing is pinned." in lines
    assert told["exit"] == 12
    assert {"code": "not-pinned", "happened": "Nothing is pinned."} in told["codes"]
    assert len(told["codes"]) == len(lines)


@pytest.mark.parametrize("number", Exit)
def test_every_exit_code_has_an_answer_of_whole_sentences(number: Exit, capsys: pytest.CaptureFixture[str]) -> None:
    lines = explained(number, capsys).splitlines()
    codes = json.loads(explained(number, capsys, as_json=True))["codes"]

    assert all(each["happened"].endswith(".") for each in codes)
    assert len(lines) == max(1, len(codes))
    assert codes or lines == [f"no error code ends with exit {int(number)}; docs/reference/exit-and-error-codes.md explains it"]


@pytest.mark.parametrize("number", ["3", "99", "1" * 5000])
def test_unknown_exit_code_is_wrong_usage_and_all_are_named(number: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["explain", number])

    assert ended.value.code == 2
    assert "is not an exit code; the exit codes are 0, 1, 2, 10, 11, 12, 13, 14, 20, " in capsys.readouterr().err


def test_explanation_needs_no_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parser().parse_args(["--config", str(tmp_path / "none.toml"), "explain", "busy"])

    assert arguments.run(Call(arguments)) == 0
    assert capsys.readouterr().out.startswith("busy (exit 11)")
