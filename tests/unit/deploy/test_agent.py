"""Unforeseen errors: how a run ends after one."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from release_agent.deploy.agent import Agent
from release_agent.model import Action, Request
from release_agent.system.clock import SystemClock
from release_agent.wiring import Parts
from support.configuration import configuration
from support.roots import install
from support.supervisors import supervising

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


class BrokenExaminer:
    """A look at the services that has a bug."""

    def look(self, *_: object) -> None:
        raise RuntimeError("nobody expects this")  # noqa: EM101, TRY003


def test_run_that_published_and_ends_by_an_unexpected_error_says_so_and_is_finished_by_boot(
    root: Root, journal: StateDatabase
) -> None:
    old, new = install(root, 1), install(root, 2)
    root.publish(new.name)
    config = configuration('[consul]\nenabled = false\n[health]\nstable_for = "0s"\n')
    with supervising([]) as url:
        parts = Parts(config, SystemClock(), {"SUPERVISOR_SERVER_URL": url})
        context = parts.context(root, journal, BrokenSource())  # type: ignore[arg-type]
        request = Request("d-1", Action.ROLLBACK, release=old.name)
        with pytest.raises(RuntimeError):
            Agent(replace(context, examiner=BrokenExaminer())).roll_back(request)  # type: ignore[arg-type]

        (entry,) = journal.history()
        assert (entry["outcome"], entry["error"]["code"]) == (None, "bug")
        assert (len(journal.unfinished()), "boot" in entry["error"]["hint"]) == (1, True)

        record, healthy = Agent(context).boot(Request("d-2"))

    assert (record.outcome, healthy) == ("unchanged", True)
    (entry,) = journal.history()
    assert (entry["outcome"], entry["error"], entry["release"]) == ("deployed", None, old.name)
