"""Check the style of the project's texts as far as a machine can: find words to avoid in the texts of the code."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

RULES = {
    r"\bmend(?:s|ed|ing)?\b": "fix",
    r"\banew\b": "again",
    r"\bby (?:itself|themselves)\b": "automatically",
    r"\bon end\b": "in a row",
    r"\bat the (?:most|least)\b": "at most, at least",
    r"\bmeanwhile\b": "during",
    r", too\b": "also",
    r"\balone\b": "only",
    r"\b(?:is|are|was|were|be|been|not|found|stays?|becomes?) (?:well|sick)\b": "healthy, unhealthy",
    r"\b(?:take|takes|taken|took|put|puts|putting)(?: \w+){0,3} back\b": "roll back, restore",
    r"\b(?:begin|begins|begun|began|beginning)\b": "start",
    r"\broom\b": "space",
    r"[,;] else\b|\belse (?:the|a|an|it|if)\b": "otherwise",
    r"\b(?:is|are|was|were|be|been) (?:told|said|asked)\b": "the actor as the subject",
    r"(?:^|[.;:] )Where\b": "if, when",
    r"\bwhere (?:it|there|that|nothing|no|none|nobody|the|a|this|one|Consul|supervisor)\b": "if, when",
    r"\b[Ww]hat is live\b": "the live release",
    r"\b(?:but for|all but|nothing but)\b": "except",
    r"\bNothing(?: \w+){0,3} yet\.": "a sentence that says an effect, or none",
}
"""Patterns of words to avoid, and what to write instead."""

_RULES = [(re.compile(pattern, re.MULTILINE), instead) for pattern, instead in RULES.items()]
_CAPITAL = re.compile(r"\b[A-Z](?=[a-z])")


@dataclass(frozen=True)
class Text:
    """A text of the code: the line of its start, and its words."""

    line: int
    words: str


def faults(words: str) -> list[str]:
    """Return the words to avoid in a text, each with its replacement."""
    small = _CAPITAL.sub(lambda found: found[0].lower(), words)  # "Begin" counts, and BEGIN of SQL does not
    return [
        f"{found[0].strip()!r}: write {instead}"
        for pattern, instead in _RULES
        for found in pattern.finditer(small if pattern.pattern == pattern.pattern.lower() else words)
    ]


def texts(path: Path) -> Iterator[Text]:
    """Yield the docstrings, the messages (strings of several words) and the comments of a module."""
    source = path.read_text(encoding="utf-8")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield Text(node.lineno, node.value)
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT:
            yield Text(token.start[0], token.string)


def comments(path: Path) -> Iterator[Text]:
    """Yield the comments of a configuration file, on lines of their own."""
    for number, line in enumerate(path.read_text(encoding="utf-8").splitlines(), 1):
        if line.lstrip().startswith((";", "#")):
            yield Text(number, line)
