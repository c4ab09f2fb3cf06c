"""The screens in docs/reference/commands.md equal the real ones. No test makes those of a rollout, which take a minute."""

from __future__ import annotations

import re
import runpy

from support.environment import PROJECT
from support.markdown import page

# What differs from run to run, the longest first.
_VARYING = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{6}|\d{6}-[0-9a-f]{12}|\b[0-9a-f]{12}\b|pid \d+|127\.0\.0\.1:\d+\S*.*|\d+ s ago")


def shape(screen: str) -> list[str]:
    return [" ".join(_VARYING.sub("…", line).split()) for line in screen.splitlines()]


def test_screens_of_status_and_history_are_what_a_host_shows() -> None:
    made = runpy.run_path(str(PROJECT / "scripts" / "screens"))["of_a_host"]()

    for name, screen in made.items():
        (shown,) = page("docs/reference/commands.md").section(f"`release-agent {name}`", whole=False).examples("text")
        assert shape(shown) == shape(screen)
