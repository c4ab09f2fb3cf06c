"""Read the documentation for its tests: headings, tables, examples, links."""

from __future__ import annotations

import re
from dataclasses import dataclass

from support.environment import PROJECT

_HEADING = re.compile(r"(#+) (.+)")
_LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
_SPAN = re.compile(r"`([^`]+)`")


@dataclass(frozen=True)
class Line:
    """One line of a page, and the language of its fenced block, if it is in a block or is a fence."""

    text: str
    language: str | None = None
    is_fence: bool = False


class Page:
    """One page, or one section of it."""

    def __init__(self, lines: list[Line]) -> None:
        self.lines = lines

    @property
    def text(self) -> str:
        return "\n".join(line.text for line in self.lines)

    @property
    def prose(self) -> str:
        """Return the text without its fenced blocks."""
        return "\n".join(line.text for line in self.lines if line.language is None)

    def headings(self) -> list[str]:
        return [title for _, title in self._headings().values()]

    def section(self, title: str, *, whole: bool = True) -> Page:
        """Return the section of a heading: up to the next heading of its level, or (not ``whole``) of any level."""
        headings = self._headings()
        start, level = next((i, level) for i, (level, found) in headings.items() if found == title)
        ends = (i for i, (found, _) in headings.items() if i > start and (found <= level or not whole))
        return Page(self.lines[start + 1 : next(ends, len(self.lines))])

    def rows(self) -> list[list[str]]:
        """Return the cells of all tables, without their heads."""
        found: list[list[str]] = []
        for text in self.prose.splitlines():
            if text.startswith("|-"):
                found.pop()  # the row above the rule is the head
            elif text.startswith("|"):
                found.append([cell.strip() for cell in text.strip("|").split("|")])
        return found

    def examples(self, language: str) -> list[str]:
        """Return the fenced blocks in a language, without the fences."""
        lines = [line for line in self.lines if line.language == language]
        fences = [i for i, line in enumerate(lines) if line.is_fence]
        return ["\n".join(line.text for line in lines[a + 1 : b]) for a, b in zip(fences[::2], fences[1::2], strict=True)]

    def links(self) -> list[str]:
        return _LINK.findall(self.prose)

    def anchors(self) -> set[str]:
        return {slug(title) for title in self.headings()}

    def _headings(self) -> dict[int, tuple[int, str]]:
        found = {i: _HEADING.fullmatch(line.text) for i, line in enumerate(self.lines) if line.language is None}
        return {i: (len(match[1]), match[2]) for i, match in found.items() if match}


def page(name: str) -> Page:
    """Read a page of the project."""
    lines: list[Line] = []
    language: str | None = None
    for text in (PROJECT / name).read_text(encoding="utf-8").splitlines():
        if not text.startswith("```"):
            lines.append(Line(text, language))
        elif language is None:
            language = text[3:]
            lines.append(Line(text, language, is_fence=True))
        else:
            lines.append(Line(text, language, is_fence=True))
            language = None
    assert language is None, f"{name}: a fenced block does not end"
    return Page(lines)


def pages() -> list[str]:
    """Return the names of all pages."""
    found = [*sorted((PROJECT / "docs").rglob("*.md")), *sorted((PROJECT / "examples").glob("**/README.md"))]
    return ["README.md", *(str(path.relative_to(PROJECT)) for path in found)]


def names(text: str) -> list[str]:
    """Return the words in backticks."""
    return _SPAN.findall(text)


def slug(title: str) -> str:
    """Return a heading's anchor."""
    return re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-")
