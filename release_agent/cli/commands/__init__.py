"""The commands. Each has a module of its name in this folder, which is imported only when that command is chosen.

Such a module has ``run(call)``, which returns the exit code, and ``EXAMPLES`` for its help (command lines with their effects).
If the command takes arguments, it also has ``add_arguments(parser)``.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType


class Command(NamedTuple):
    """A command's line of ``--help``; ``json``: the command itself takes ``--json``, not only its verbs."""

    help: str
    json: bool = True


# In the order of `release-agent --help` and of docs/reference/commands.md.
COMMANDS = {
    "init": Command("set up this container: write the missing configuration and supervisor sections", json=False),
    "deploy": Command("build and publish a revision, restart the services and prove them healthy; roll back if that fails"),
    "stage": Command("build and rehearse a revision for a later deployment; publish nothing"),
    "rollback": Command("roll back to the release that was live before, or to the named one"),
    "boot": Command("finish or undo a killed run, deploy if no release is live, start stopped services; supervisord runs it"),
    "monitor": Command("probe the live release, renew Consul's check, send queued reports; supervisord runs it"),
    "status": Command("show the live release and its health"),
    "history": Command("list the deployments, newest first"),
    "releases": Command("list the kept releases"),
    "pin": Command('set the revision that [revision] follow = "pin" deploys'),
    "unpin": Command("remove the pinned revision"),
    "freeze": Command("refuse deployments and rollbacks until a time or until `unfreeze`, with a reason"),
    "unfreeze": Command("end a freeze"),
    "verify": Command("compare a release's files with its commit"),
    "prune": Command("remove the releases beyond [app] keep"),
    "protect": Command("keep a release from pruning"),
    "unprotect": Command("end the protection of a release"),
    "remove": Command("remove one release"),
    "doctor": Command("check the whole set-up and show a fix for each fault"),
    "rollout": Command("deploy a revision across a fleet", json=False),
    "config": Command("check a release-agent.toml or release.toml, or print the JSON Schema of one", json=False),
    "explain": Command("explain an error code: its cause and its fix"),
    "completion": Command("print a script that lets a shell complete commands, options, tags and releases", json=False),
}


def load(name: str) -> ModuleType:
    """Import the module of a command in COMMANDS."""
    return import_module(f"{__name__}.{name}")
