"""``release-agent prune``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.cli.call import trigger
from release_agent.deploy.pruning import prune, prune_cache
from release_agent.errors import Exit
from release_agent.model import Request, new_id

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent prune": "remove the releases beyond [app] keep",
    "release-agent prune --cache": "also remove the cached outputs of build hooks",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the option to empty the cache."""
    parser.add_argument("--cache", action="store_true", help="also remove all cached outputs of build hooks")


def run(call: Call) -> int:
    """Remove the releases beyond ``[app] keep`` and the parked release, and print their names."""
    with call.parts.locked(Request(new_id(), trigger=trigger())) as context:
        parked = context.store.remove_parked()
        removed = [*prune(context, park=False), *([parked] if parked else [])]
        cached = prune_cache(context, 0) if call.arguments.cache else 0
    said = [*removed, *([f"the outputs of {cached} build hook{'s' if cached > 1 else ''}"] if cached else [])]
    call.answer({"removed": removed, "cached": cached}, "removed " + ", ".join(said) if said else "nothing to remove")
    return Exit.OK
