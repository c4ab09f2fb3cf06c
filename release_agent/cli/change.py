"""Run a deployment or a rollback under the lock and print its record."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from release_agent.cli.call import say
from release_agent.deploy.agent import Agent
from release_agent.model import Action

if TYPE_CHECKING:
    from release_agent.cli.call import Call
    from release_agent.config.sections import Revision
    from release_agent.model import Record, Request


def change(call: Call, request: Request) -> int:
    """Deploy or roll back, as the request says, and print the record; returns the exit code."""
    call.clock.listen()
    with call.parts.locked(request) as context:
        agent = Agent(context)
        record = agent.deploy(request) if request.action is Action.DEPLOY else agent.roll_back(request)
    code = call.print_record(record)
    if request.action is Action.ROLLBACK and not record.error:
        say(_what_comes_next(call.config.revision, record), sys.stderr if call.arguments.json else sys.stdout)
    return code


def _what_comes_next(revision: Revision, record: Record) -> str:
    """Return a note on the revision that the next bare deploy takes, and on how to stay with this one."""
    if revision.follow == "pin":
        return f"note: a bare deploy takes what is pinned; to stay here: release-agent pin {record.revision}"
    takes = {"branch": f"the tip of {revision.branch}", "rollout": "what the fleet last rolled out"}.get(
        revision.follow, "the newest tag"
    )
    return (
        f'note: a bare deploy would take {takes} again; to stay here, set [revision] follow = "pin" '
        f"and `release-agent pin {record.revision}`"
    )
