"""A walk along the history of a public package; ``benchmarks/histories`` walks along larger ones."""

from __future__ import annotations

import os
import subprocess
from typing import TYPE_CHECKING

import pytest

from support.histories import Follower, History, orders
from support.packages import history_of
from support.repositories import source_of

if TYPE_CHECKING:
    from pathlib import Path

RELEASES = 8


@pytest.fixture(scope="module")
def history(tmp_path_factory: pytest.TempPathFactory) -> History:
    try:
        return history_of("itsdangerous", RELEASES, tmp_path_factory.mktemp("packages"))
    except (subprocess.SubprocessError, StopIteration):
        if os.environ.get("CI") == "true":
            raise
        pytest.skip("NOT RUN: pip reaches no registry of packages from here")


# One test: three would fetch the packages three times, in as many processes.
def test_every_step_along_a_real_history_in_any_order_is_a_fresh_checkout(history: History, tmp_path: Path) -> None:
    assert len(history.commits) == RELEASES
    for order, (first, *others) in orders(history.commits, seed=7).items():
        place = tmp_path / order
        place.mkdir()
        follower = Follower(history, source_of(place / "scratch", api=history.repository), place / "release")
        follower.start(first)
        for commit in others:
            assert follower.go(commit) == [], order
        assert follower.ways == {"difference": len(others)}
