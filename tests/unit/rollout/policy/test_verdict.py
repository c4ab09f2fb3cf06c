from __future__ import annotations

import pytest

from release_agent.rollout.host.model import HostStatus
from release_agent.rollout.policy.verdict import verdict

OURS, THEIRS = {"api": "b" * 40}, {"api": "c" * 40}


@pytest.mark.parametrize(
    ("release", "commits", "health", "code"),
    [
        ("000002-bbbbbbbbbbbb", OURS, "passing", ""),
        # Another release of the same commits
        ("000003-bbbbbbbbbbbb", OURS, "passing", ""),
        ("000003-cccccccccccc", THEIRS, "passing", "overtaken"),
        (None, {}, "critical", "overtaken"),
        ("000002-bbbbbbbbbbbb", OURS, "critical", "host-sick"),
    ],
)
def test_host_that_runs_something_else_or_is_not_well_at_the_end_is_named(
    release: str | None, commits: dict[str, str], health: str, code: str
) -> None:
    error = verdict(HostStatus("api", "test", release, "v2", commits, health), OURS)

    assert (error.code if error else "") == code
