"""``release-agent unprotect``."""

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
    "release-agent unprotect 42": "let pruning remove release 42 again",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the release."""
    parser.add_argument("release", help="unprotect the release of this name, number or revision")


def run(call: Call) -> int:
    """End the protection of a release, so that ``keep`` counts it again; raises NoTarget."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        release = protect(context, call.arguments.release, protected=False)
    call.answer({"release": release.name, "protected": False}, f"{release.name} ({release.revision}) is not protected")
    return Exit.OK
