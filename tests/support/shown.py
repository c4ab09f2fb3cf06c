"""Compare the output on a page with the output of a command: the same lines in order, except for values that change."""

from __future__ import annotations

import re

_OWN = {
    r"\b\d{8}T\d{6}Z-[0-9a-f]{6}\b": "RUN",
    r"\b(\d{6})-[0-9a-f]{12}\b": r"\1-DIGEST",
    r"\b\d+\.\d+ s\b": "SECONDS",
    r"(127\.0\.0\.1):\d+": r"\1:PORT",
    r"\b\d+ (by|requests)\b": r"N \1",
    # On a busy machine, a program with a mistake may live longer than startsecs.
    r"\b(FATAL \(Exited too quickly\)|EXITED \(Bad exit code \d+\))": "ENDED",
}


def missing(shown: str, printed: str) -> list[str]:
    """Return the lines of a page that a command did not print, in their order."""
    there = iter(_lines(printed))
    return [line for line in _lines(shown) if line not in there]


def _lines(text: str) -> list[str]:
    for own, name in _OWN.items():
        text = re.sub(own, name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip()]
