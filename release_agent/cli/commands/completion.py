"""``release-agent completion``: print scripts that let a shell complete commands, and the words that those scripts need."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from release_agent import status
from release_agent.cli.call import say
from release_agent.errors import Code, Exit

if TYPE_CHECKING:
    import argparse
    from collections.abc import Iterable

    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent completion bash > /etc/bash_completion.d/release-agent": "complete in bash, from the next shell on",
    "release-agent completion fish > ~/.config/fish/completions/release-agent.fish": "complete in fish",
}
_SHELLS = ("bash", "zsh", "fish")
# A shell evaluates what it completes: a tag named `v1$(reboot)` must not reach it.
_HARMLESS = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/+@-]*")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the choice of a shell or of words."""
    parser.add_argument(
        "what",
        choices=[*_SHELLS, *_WORDS],
        help=f"print the script of a shell ({', '.join(_SHELLS)}), or the words that a script completes ({', '.join(_WORDS)})",
        metavar="what",
    )


def run(call: Call) -> int:
    """Print a script, or words, each on its own line; returns 0."""
    what = call.arguments.what
    say(_script(what) if what in _SHELLS else "\n".join(word for word in _WORDS[what](call) if _HARMLESS.fullmatch(word)))
    return Exit.OK


def _revisions(call: Call) -> Iterable[str]:
    with call.parts.source() as source:
        return sorted(source.tags(), reverse=True)


def _releases(call: Call) -> Iterable[str]:
    with call.parts.looking() as context:
        found = status.releases(context)
    return dict.fromkeys(word for release in found for word in (release["revision"], release["release"]))


def _deployments(call: Call) -> Iterable[str]:
    with call.parts.journal() as journal:
        return [entry["id"] for entry in journal.history(-1)]


_WORDS = {"revisions": _revisions, "releases": _releases, "deployments": _deployments}


def _script(shell: str) -> str:
    import shtab

    from release_agent.cli.main import parser

    whole = parser()
    for one in whole.all():
        for action in one.arguments():
            words = _words_of(one.prog, action)
            if words:
                vars(action)["complete"] = shtab.cmd(f"release-agent completion {words} 2>/dev/null")
            elif action.metavar in ("FILE", "PATH") or action.dest == "file":
                vars(action)["complete"] = shtab.FILE
            elif action.dest == "code":
                action.choices = list(Code)
    return str(shtab.complete(whole, shell))


def _words_of(prog: str, action: argparse.Action) -> str:
    """Return the kind of words that an argument takes, if this host knows them."""
    if action.dest in ("revision", "release"):
        return f"{action.dest}s"
    return "deployments" if (prog, action.dest) == ("release-agent history", "id") else ""
