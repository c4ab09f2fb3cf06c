"""Find the effects of a deployment, for ``deploy --dry-run`` and the plugin's ``release.check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent import text
from release_agent.deploy.check import check
from release_agent.errors import Exit

if TYPE_CHECKING:
    from release_agent.cli.call import Call
    from release_agent.model import Request


def dry_run(call: Call, request: Request, *, keep: bool) -> int:
    """Print what a deployment would do; ``keep``: hold the lock, and also write the answer into the journal for the plugin."""
    parts = call.parts
    with parts.log.of(request.id), parts.locked(request) if keep else parts.looking() as context:
        record, body = check(context, request)
        if keep:
            context.journal.answer(request.id, body)
    if record.error:
        return call.print_record(record)
    call.answer(body, text.check(body))
    return Exit.OK
