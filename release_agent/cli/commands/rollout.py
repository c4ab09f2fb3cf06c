"""``release-agent rollout``, which needs no configuration."""

from __future__ import annotations

from typing import TYPE_CHECKING

from release_agent.rollout import arguments

if TYPE_CHECKING:
    import argparse

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent rollout start v1.4.2 --fleet fleet.toml --dry-run": "look at every host and show the plan",
    "release-agent rollout start v1.4.2 --fleet fleet.toml --revert": "deploy; roll back every host if the rollout stops",
    "release-agent rollout list": "show the rollouts and their ids",
}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the verbs of a rollout."""
    arguments.add(parser)


def run(call: Call) -> int:
    """Run one verb of a rollout; returns the exit code."""
    from release_agent.rollout import commands

    return commands.call(call.arguments)
