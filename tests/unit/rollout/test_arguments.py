"""The arguments of ``release-agent rollout``."""

from __future__ import annotations

import pytest

from release_agent.cli.main import parser

START = ["rollout", "start", "v1.1.0", "host-1"]


@pytest.mark.parametrize("given", ["0", "0s"])
@pytest.mark.parametrize("option", ["--deadline", "--progress-deadline"])
def test_deadline_without_time_is_refused(option: str, given: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as refused:
        parser().parse_args([*START, option, given])

    assert refused.value.code == 2
    assert f"argument {option}" in capsys.readouterr().err


def test_bake_without_time_is_no_bake() -> None:
    assert parser().parse_args([*START, "--bake", "0"]).bake == 0.0
