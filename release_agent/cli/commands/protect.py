"""``release-agent protect``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.deploy.pruning import protect
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent protect 42": "keep the release with this number",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the release."""
    parser.add_argument("release", help="protect the release of this name, number or revision")


def run(call: Call) -> int:
    """Keep a release from pruning; raises NoTarget."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        release = protect(context, call.arguments.release, protected=True)
    said = f"{release.name} ({release.revision}) is protected until `release-agent unprotect {release.number}`"
    call.answer({"release": release.name, "protected": True}, said)
    return Exit.OK
