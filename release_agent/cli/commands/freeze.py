"""``release-agent freeze``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.arguments import duration, reason
from release_agent.cli.call import add_by, asked_by, trigger
from release_agent.errors import Exit
from release_agent.model import Freeze, Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    'release-agent freeze "the database moves" --until 2h': "refuse deployments and rollbacks for two hours",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the reason, the duration and the person."""
    parser.add_argument("why", type=reason, help="show this reason in each refusal")
    parser.add_argument(
        "--until", type=duration, metavar="TIME", help="end the freeze after this long, such as 2h (default: `unfreeze` ends it)"
    )
    add_by(parser)


def run(call: Call) -> int:
    """Refuse requested deployments and rollbacks from now on."""
    frozen = Freeze.now(call.arguments.why, asked_by(call.arguments), call.arguments.until)
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        context.journal.freeze(frozen)
        context.log.info("deployments.frozen", **frozen.to_json())
    call.answer({"frozen": frozen.to_json()}, f"deployments are frozen {frozen.describe()}")
    return Exit.OK
