"""Help for people: an argument parser whose help ends with examples."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping


class HelpfulParser(argparse.ArgumentParser):
    """A parser whose help ends with examples: command lines, and what each does."""

    def __init__(self, *, examples: Mapping[str, str] | None = None, **options: object) -> None:
        """Take argparse's own options besides ``examples``."""
        super().__init__(**options)  # type: ignore[arg-type]
        self.examples = examples or {}

    def format_help(self) -> str:
        """Return the help, with the examples at its end."""
        shown = "".join(f"  {line}\n      {does}\n" for line, does in self.examples.items())
        return super().format_help() + (f"\nexamples:\n{shown}" if shown else "")
