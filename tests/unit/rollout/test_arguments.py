"""The arguments of a rollout."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

import pytest

from release_agent.rollout import arguments

if TYPE_CHECKING:
    from release_agent.rollout.options import Options


def options(*words: str) -> Options:
    parser = argparse.ArgumentParser()
    arguments.add(parser)
    return arguments.options(parser.parse_args(["start", "v1.4.2", "10.0.0.11", *words]))


def test_no_bake_is_a_choice() -> None:
    assert options("--bake", "0").bake == 0


@pytest.mark.parametrize("option", ["--progress-deadline", "--deadline"])
def test_no_time_at_all_for_hosts_is_wrong_usage(option: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        options(option, "0")

    assert ended.value.code == 2
    assert f"argument {option}: " in capsys.readouterr().err
