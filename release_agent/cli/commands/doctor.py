"""``release-agent doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.cli.call import note, trigger
from release_agent.cli.doctor import FAULT, examine, findings
from release_agent.cli.doctor.supervised import Supervised
from release_agent.cli.doctor.user import become_deployer
from release_agent.config.load import chosen_path
from release_agent.errors import Exit, Failed
from release_agent.journal.database import set_aside
from release_agent.model import Request, new_id
from release_agent.services.starting import await_start

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call
    from release_agent.wiring import Parts

EXAMPLES = {
    "release-agent doctor": "check the set-up and show the faults",
    "release-agent doctor --repair": "rebuild a lost or broken journal, then check",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option to repair."""
    parser.add_argument("--repair", action="store_true", help="rebuild a lost or broken journal from the releases on disk")


def run(call: Call) -> int:
    """Check the whole set-up as the user that deploys, and print the findings; returns 30 if one is a fault."""
    parts = call.parts
    if call.arguments.repair:
        _repair(parts)
    await_start(parts.rpc(), call.clock, note)
    supervised = Supervised.ask(parts.services(), parts.environ)
    refused = become_deployer(supervised.deployer, parts.root().path)
    found = examine(parts, Path(chosen_path(call.arguments.config)), supervised, refused)
    call.answer([finding.to_json() for finding in found], findings(found))
    return Exit.FAULT_FOUND if any(finding.level == FAULT for finding in found) else Exit.OK


def _repair(parts: Parts) -> None:
    """Rebuild a journal that is lost, broken or not an agent's; an open for writing rebuilds the first two."""
    request = Request(new_id(), trigger=trigger())
    with parts.locked(request):
        try:
            with parts.journal() as journal:
                journal.require_understood()
                return
        except Failed:
            parts.log.warning("journal.set_aside", kept_as=str(set_aside(parts.root().database)))
    with parts.locked(request):
        pass
