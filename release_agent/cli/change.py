"""Run a deployment or a rollback under the lock and print its record."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING

from release_agent import text
from release_agent.cli.call import say
from release_agent.deploy.agent import Agent
from release_agent.model import Action

if TYPE_CHECKING:
    from release_agent.cli.call import Call
    from release_agent.model import Request


def change(call: Call, request: Request) -> int:
    """Deploy, stage or roll back, as the request says, and print the record; returns the exit code."""
    call.clock.listen()
    with call.parts.locked(request) as context:
        agent = Agent(context)
        verbs = {Action.DEPLOY: agent.deploy, Action.STAGE: agent.stage, Action.ROLLBACK: agent.roll_back}
        record = verbs[request.action](request)
    code = call.print_record(record)
    if request.action is Action.ROLLBACK and not record.error:
        say(text.what_comes_next(call.config.revision.follow, record), sys.stderr if call.arguments.json else sys.stdout)
    return code
