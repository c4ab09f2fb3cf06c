"""``release-agent doctor``."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.cli.doctor import FAULT, examine, findings
from release_agent.cli.doctor.supervised import Supervised
from release_agent.cli.doctor.user import become_deployer
from release_agent.config.load import chosen_path
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add whether to repair."""
    parser.add_argument("--repair", action="store_true", help="rebuild a lost or broken journal from the releases on disk")


def run(call: Call) -> int:
    """Check the whole set-up as the user that deploys, and print the findings; returns 30 if one is a fault."""
    if call.arguments.repair:
        with call.parts.locked(Request(new_id(), trigger=trigger())):
            pass  # opening the journal to write it rebuilds one that is lost or broken
    parts = call.parts
    supervised = Supervised.ask(parts.services(), parts.environ)
    refused = become_deployer(supervised.deployer, parts.root().path)
    found = examine(parts, Path(chosen_path(call.arguments.config)), supervised, refused)
    call.answer([finding.to_json() for finding in found], findings(found))
    return Exit.FAULT_FOUND if any(finding.level == FAULT for finding in found) else Exit.OK
