"""Find out what a deployment would do, for ``deploy --dry-run`` and the plugin's ``release.check``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent import text
from release_agent.deploy.deployment import Deployment
from release_agent.deploy.run import Run
from release_agent.errors import Exit, ReleaseError

if TYPE_CHECKING:
    from release_agent.cli.call import Call
    from release_agent.model import Request


def dry_run(call: Call, request: Request, *, keep: bool) -> int:
    """Print what a deployment would do; ``keep``: hold the lock, and write it into the journal for the plugin as well."""
    root = call.parts.root()
    with call.parts.locked(request) if keep else call.parts.looking() as context:
        run = Run(context, request, journaled=False)
        live = root.current()
        run.record.previous = live.name if live else None
        try:
            deployment = Deployment(run)
            plan = deployment.plan(deployment.resolve())
        except ReleaseError as error:
            run.end(error)
            body, code = run.record.to_json(), int(error.exit_code)
        else:
            run.close()
            size, files = (0, 0) if plan.kept else context.source.size(plan.target.commits)
            body, code = {**run.record.to_json(), "outcome": "checked", "build": plan.kept is None}, int(Exit.OK)
            body |= {"live": bool(plan.kept and live and plan.kept.name == live.name)}
            body |= {"needed_bytes": size, "files": files, "free_bytes": root.free()}
            body |= {"changes": context.source.changes(live.commits, plan.target.commits) if live else {}}
        if keep:
            context.journal.answer(request.id, body)
    if code:
        return call.print_record(run.record)
    call.answer(body, text.check(body))
    return code
