"""``release-agent verify``."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent import status, text
from release_agent.deploy.policy.line import known
from release_agent.errors import Code, Exit, NoTarget

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent verify": "compare the live release with its commit",
    "release-agent verify 42": "compare release 42 with its commit",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the release."""
    parser.add_argument("release", nargs="?", help="compare the release of this name, number or revision (default: the live one)")


def run(call: Call) -> int:
    """Compare a release with its commit and print the differences; returns 30 if there are any. Raises NoTarget."""
    parts, named = call.parts, call.arguments.release
    root = parts.root()
    release = known(root.releases(), named) if named is not None else root.current()
    if release is None:
        raise NoTarget(Code.RELEASE_UNKNOWN, "no release is live", hint="`release-agent releases` lists the kept releases")
    with parts.looking() as context:
        drift = status.drift(context, release)
    body = {"release": release.name, "revision": release.revision, "commits": release.commits, "drift": drift}
    call.answer(body, text.drift(body))
    return Exit.FAULT_FOUND if drift else Exit.OK
