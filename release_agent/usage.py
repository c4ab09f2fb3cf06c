"""An argument parser whose help ends with examples."""

from __future__ import annotations

import argparse
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence


class HelpfulParser(argparse.ArgumentParser):
    """A parser whose help ends with examples: command lines, each with its effect."""

    def __init__(self, *, examples: Mapping[str, str] | None = None, **options: object) -> None:
        """Take argparse's own options besides ``examples``."""
        super().__init__(**options)  # type: ignore[arg-type]
        self.examples = examples or {}

    def complete(self) -> None:
        """Add the arguments that are made only on demand."""

    def all(self) -> Iterator[HelpfulParser]:
        """Return this parser and the parsers of all commands and verbs below it."""
        self.complete()
        yield self
        for action in self._actions:
            if action.nargs == argparse.PARSER and isinstance(action.choices, dict):
                for one in action.choices.values():
                    yield from one.all()

    def arguments(self) -> Sequence[argparse.Action]:
        """Return the arguments, without commands and verbs."""
        self.complete()
        return [action for action in self._actions if action.nargs != argparse.PARSER]

    def format_help(self) -> str:
        """Return the help, with the examples at its end."""
        shown = "".join(f"  {line}\n      {does}\n" for line, does in self.examples.items())
        return super().format_help() + (f"\nexamples:\n{shown}" if shown else "")
