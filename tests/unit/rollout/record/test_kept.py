"""The record keeps the newest twenty rollouts of a fleet, and fewer if they have too many hosts."""

from __future__ import annotations

import pytest

from release_agent.rollout.record.port import most_kept


@pytest.mark.parametrize(
    ("sizes", "count"),
    [
        ([], 0),
        ([3], 1),
        ([3] * 25, 20),
        ([1000] * 25, 20),
        ([1001] * 25, 19),
        ([10_000] * 5, 2),
        ([40_000] * 5, 2),  # there is always one to go back to
        ([3, 3, 40_000, 3], 2),
    ],
)
def test_newest_twenty_are_kept_unless_they_have_too_many_hosts(sizes: list[int], count: int) -> None:
    assert most_kept(sizes) == count
