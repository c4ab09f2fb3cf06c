"""``release-agent boot``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import add_wait_for
from release_agent.deploy.agent import Agent, boot_request
from release_agent.errors import Cancelled, Exit, Failed

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent boot": "start the live release, as at the start of the container",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the time to wait for the repositories."""
    add_wait_for(parser)


def run(call: Call) -> int:
    """Recover, deploy if no release is live, start stopped services; returns 0 if a healthy release is live, otherwise 21."""
    call.clock.listen()
    request = boot_request(call.arguments.wait_for)
    try:
        with call.parts.locked(request, wait=True) as context:
            record, healthy = Agent(context).boot(request)
    except Failed as trouble:  # an unusable root must not keep the live release from starting
        with call.parts.starting(request) as context:
            record, healthy = Agent(context).start(request, trouble)
    call.print_record(record)
    if healthy:
        return Exit.OK
    return Exit.CANCELLED if record.outcome == Cancelled.outcome else Exit.ROLLBACK_FAILED
