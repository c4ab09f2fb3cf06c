"""Parse foreign TOML in a time that its size limits."""

from __future__ import annotations

import re
import tomllib
from typing import Any

# tomllib takes a time that grows with the square of the parts of a key: 13 s for 20,000 of them, which fit into 40 KB.
_MOST_DOTS = 300
_QUOTED = re.compile(r'"(?:\\.|[^"\\])*"|\'[^\']*\'')


def parse(text: str) -> dict[str, Any]:
    """Return the tables of a file; raises ValueError, or RecursionError if it is nested too deeply."""
    for number, line in enumerate(text.split("\n"), 1):
        if line.count(".") > _MOST_DOTS and _QUOTED.sub("", line).count(".") > _MOST_DOTS:
            message = f"a key has more than {_MOST_DOTS} parts (at line {number})"
            raise ValueError(message)
    return tomllib.loads(text)
