"""The sections of a release's programs are written as they were read: no key of a section can start another section."""

from __future__ import annotations

from release_agent.config.programs import ProgramFile
from release_agent.plugin.programs import sections


def test_a_key_that_its_value_makes_the_head_of_a_section_is_no_key() -> None:
    text = "[program:a]\ncommand=x\n[x=%(here)s\n"

    _, problems = sections.read([ProgramFile("all.conf", text)], "/srv/app[1]/current", ())

    assert [str(problem) for problem in problems] == ["all.conf [program:a] '[x': is not a key of supervisor's"]
