"""The commands. Each is the module of its name in this folder, which is imported only when that command is chosen.

Such a module has ``run(call)``, which returns the exit code, ``EXAMPLES`` for its help (a command line, and what it does), and
``add_arguments(parser)`` if the command takes arguments.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    from types import ModuleType


class Command(NamedTuple):
    """What a command does, for ``--help``; ``json``: it takes ``--json`` itself, and its verbs do not."""

    help: str
    json: bool = True


# In the order of `release-agent --help` and of docs/reference/commands.md.
COMMANDS = {
    "init": Command("set up a container: write the configuration and supervisor's sections that are missing", json=False),
    "deploy": Command("build and publish a revision, restart the services and prove them healthy, or roll back"),
    "stage": Command("build and rehearse a revision for a later deployment; publish nothing"),
    "rollback": Command("roll back to the release that was live before, or to the named one"),
    "boot": Command("recover, deploy if no release is live, start stopped services; run when the container starts"),
    "monitor": Command("probe the live release, renew Consul's check, send queued reports; run by supervisord"),
    "status": Command("show the live release and its health"),
    "history": Command("list the deployments, newest first"),
    "releases": Command("list the kept releases"),
    "pin": Command('set the revision that [revision] follow = "pin" deploys'),
    "unpin": Command("forget the pinned revision"),
    "freeze": Command("refuse deployments and rollbacks for a while, with a reason"),
    "unfreeze": Command("end a freeze"),
    "verify": Command("compare a release's files with its commit"),
    "prune": Command("remove the releases beyond [app] keep"),
    "protect": Command("keep a release from pruning"),
    "unprotect": Command("let a protected release be pruned again"),
    "remove": Command("remove one release"),
    "doctor": Command("check the whole set-up and show how to fix each fault"),
    "rollout": Command("deploy a revision across a fleet", json=False),
    "config": Command("check a release-agent.toml or release.toml, or print the JSON Schema of one", json=False),
    "explain": Command("tell what an error code means, and what to do"),
    "completion": Command("print a script that lets a shell complete commands, options, tags and releases", json=False),
}


def load(name: str) -> ModuleType:
    """Import the module of a command in COMMANDS."""
    return import_module(f"{__name__}.{name}")
