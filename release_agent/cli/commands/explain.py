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
    "release-agent explain unhealthy": "explain this error code",
    "release-agent explain 13": "list the error codes of this exit code",
}

_LINK = re.compile(r"\[([^\]]+)\]\(([^)]+)\)")
_SENTENCE_END = re.compile(r"(?<=\.) ")
_PAGE = "docs/reference/exit-and-error-codes.md"
_WIDEST = 100
_TITLES = {"happened": "what happened", "why": "why", "to_do": "what to do"}


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """Add the code."""
    parser.add_argument("code", type=_code, help="explain this error code, such as unhealthy, or this exit code, such as 13")


def _code(text: str) -> Code | Exit:
    try:
        return Exit(int(text)) if text.isdecimal() else Code(text)
    except ValueError:
        if text.isdecimal():
            message = f"{text} is not an exit code; the exit codes are {', '.join(map(str, map(int, Exit)))}"
            raise argparse.ArgumentTypeError(message) from None
        close = difflib.get_close_matches(text, list(Code), n=3, cutoff=0)
        message = f"{text!r} is not an error code; the nearest are {', '.join(close)}"
        raise argparse.ArgumentTypeError(message) from None


def run(call: Call) -> int:
    """Print the explanation of an error code, or the error codes of an exit code; returns 0."""
    code: Code | Exit = call.arguments.code
    if isinstance(code, Exit):
        _list(call, code)
    else:
        _explain(call, code)
    return Exit.OK


def _list(call: Call, exit_code: Exit) -> None:
    """Print the error codes that end with an exit code, each with the first sentence of what happened."""
    codes = {
        code: _SENTENCE_END.split(_plain(explanation.happened))[0]
        for code, explanation in EXPLANATIONS.items()
        if exit_code in explanation.exits
    }
    wide = max(map(len, codes), default=0)
    said = "\n".join(f"{code:<{wide}}  {happened}" for code, happened in codes.items())
    listed = [{"code": code, "happened": happened} for code, happened in codes.items()]
    call.answer(
        {"exit": int(exit_code), "codes": listed},
        said or f"no error code ends with exit {int(exit_code)}; {_PAGE} explains it",
    )


def _explain(call: Call, code: Code) -> None:
    """Print the explanation of an error code: what happened, its cause and its fix."""
    explanation = EXPLANATIONS[code]
    told = {name: _plain(getattr(explanation, name)) for name in _TITLES}
    exits = [int(number) for number in explanation.exits]
    call.answer({"code": code, "exit": exits, **told}, _shown(code, exits, told))


def _plain(text: str) -> str:
    """Return Markdown as text, with its links as paths in docs/."""

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
