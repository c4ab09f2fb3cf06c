"""``release-agent explain``, which needs no configuration."""

from __future__ import annotations

import argparse
import difflib
import posixpath
import re
import shutil
import textwrap
from typing import TYPE_CHECKING

from release_agent.cli.explanations import EXPLANATIONS
from release_agent.errors import Code, Exit

if TYPE_CHECKING:
    from release_agent.cli.call import Call

EXAMPLES = {
    "release-agent explain unhealthy": "say what this error code means",
}

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_WIDEST = 100
_TITLES = {"happened": "what happened", "why": "why", "to_do": "what to do"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the code."""
    parser.add_argument("code", type=_code, help="explain this error code, such as unhealthy")


def _code(text: str) -> Code:
    try:
        return Code(text)
    except ValueError:
        close = difflib.get_close_matches(text, list(Code), n=3, cutoff=0)
        message = f"{text!r} is no error code; the nearest are {', '.join(close)}"
        raise argparse.ArgumentTypeError(message) from None


def run(call: Call) -> int:
    """Print what an error code means: what happened, why, and what to do; returns 0."""
    code: Code = call.arguments.code
    explanation = EXPLANATIONS[code]
    told = {name: _plain(getattr(explanation, name)) for name in _TITLES}
    exits = [int(number) for number in explanation.exits]
    call.answer({"code": code, "exit": exits, **told}, _shown(code, exits, told))
    return Exit.OK


def _plain(text: str) -> str:
    """Return Markdown as text: the links name files of docs/, as seen from the page of the table."""

    def shown(link: re.Match[str]) -> str:
        page = posixpath.normpath(posixpath.join("docs/reference", link[2]))
        return page if link[1] == link[2] else f"{link[1]} ({page})"

    return _LINK.sub(shown, text)


def _shown(code: Code, exits: list[int], told: dict[str, str]) -> str:
    width = min(shutil.get_terminal_size().columns, _WIDEST)
    head = f"{code} (exit {' or '.join(map(str, exits))})" if exits else f"{code} (of one host in a rollout)"
    margin = " " * 15
    lines = [
        textwrap.fill(text, width, initial_indent=f"{_TITLES[name]:15}", subsequent_indent=margin, break_long_words=False)
        for name, text in told.items()
        if text
    ]
    return "\n".join([head, *lines])
