from __future__ import annotations

import json
from argparse import Namespace
from typing import TYPE_CHECKING

import pytest

from release_agent.cli.call import Call
from release_agent.cli.commands import explain
from release_agent.cli.explanations import EXPLANATIONS
from release_agent.cli.main import parser
from release_agent.errors import Code

if TYPE_CHECKING:
    from pathlib import Path


def explained(code: Code, capsys: pytest.CaptureFixture[str], *, as_json: bool = False) -> str:
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
        "why            The release ships none that could become it.",
        "what to do     Create it under `<root>/shared`.",
    ]


def test_links_of_an_explanation_name_the_page(capsys: pytest.CaptureFixture[str]) -> None:
    told = json.loads(explained(Code.CONSUL_UNREACHABLE, capsys, as_json=True))

    assert told["to_do"].startswith("Fix Consul or the token (the policy (docs/guides/consul.md#the-access-it-needs))")


def test_unknown_code_is_wrong_usage_and_the_nearest_are_named(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        parser().parse_args(["explain", "unhealty"])

    assert ended.value.code == 2
    assert "'unhealty' is no error code; the nearest are unhealthy, " in capsys.readouterr().err


def test_explanation_needs_no_configuration(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    arguments = parser().parse_args(["--config", str(tmp_path / "none.toml"), "explain", "busy"])

    assert arguments.run(Call(arguments)) == 0
    assert capsys.readouterr().out.startswith("busy (exit 11)")
