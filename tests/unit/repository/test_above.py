"""The attributes and ignored names from the directories above a part of a repository."""

from __future__ import annotations

import pytest

from release_agent.repository.above import attributes, excludes

WAY = ["services", "api"]


@pytest.mark.parametrize(
    ("line", "below"),
    [
        ("*.bat eol=crlf", '"*.bat" eol=crlf'),
        ("services/api/x text", '"/x" text'),
        ("/services/api/x text", '"/x" text'),
        ("services/web/x text", ""),
        ("services/*/x text", '"/x" text'),
        ("services/** text", '"/**" text'),
        ("**/x text", '"/**/x" text'),
        ("**/api/x text", '"/**/api/x" text\n"/x" text'),
        ("s[a-f]rvices/[!b]pi/x text", '"/x" text'),
        ("s[[:alpha:]]rvices/a\\pi/x text", '"/x" text'),
        ("s[rvices/api/x text", ""),
        ("[z-a]/api/x text", ""),
        ('"services/api/a \\"b\\"" text', '"/a \\"b\\"" text'),
        ("services/api text", ""),
        ("services/ text", ""),
        ("!x text", ""),
        ("# x text", ""),
        ("x", ""),
        ("", ""),
        ("[attr]windows eol=crlf", "[attr]windows eol=crlf"),
    ],
)
def test_attributes_from_above_are_about_the_files_of_the_part(line: str, below: str) -> None:
    assert attributes([(line, WAY)]) == (f"{below}\n" if below else "")


def test_macros_are_those_of_the_topmost_file() -> None:
    assert attributes([("", WAY), ("[attr]windows eol=crlf\napi/x windows", ["api"])]) == '"/x" windows\n'


@pytest.mark.parametrize(
    ("line", "below"),
    [
        ("*.pyc", "*.pyc"),
        ("tmp/", "tmp/"),
        ("/services/*/log/", "/log/"),
        ("!/services/api/tmp", "!/tmp"),
        ("services/api", "/*"),
        ("api/", "/*"),
        ("services/web", ""),
        ("# a remark", ""),
        ("", ""),
    ],
)
def test_ignored_names_from_above_are_those_of_the_part(line: str, below: str) -> None:
    assert excludes([(line, WAY)]) == (f"{below}\n" if below else "")
