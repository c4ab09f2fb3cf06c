"""How a run ends that nobody foresaw."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from release_agent.deploy.agent import Agent
from release_agent.model import Request
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration

if TYPE_CHECKING:
    from release_agent.journal.journal import StateDatabase
    from release_agent.store.root import Root


class BrokenSource:
    """Repositories behind an adapter that has a bug."""

    def tags(self) -> set[str]:
        raise RuntimeError("nobody expects this")  # noqa: EM101, TRY003


def test_run_that_ends_by_an_unexpected_error_is_closed_in_the_history(root: Root, journal: StateDatabase) -> None:
    parts = Parts(configuration("[consul]\nenabled = false\n"), SystemClock(), {})

    with pytest.raises(RuntimeError):
        Agent(parts.context(root, journal, BrokenSource())).deploy(Request("d-1"))  # type: ignore[arg-type]

    assert journal.unfinished() == []
    (entry,) = journal.history()
    assert (entry["outcome"], entry["error"]["code"]) == ("error", "bug")
    assert "RuntimeError: nobody expects this" in entry["error"]["message"]
